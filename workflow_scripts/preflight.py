"""Show everything that the audits of a run found, and stop it if something is wrong."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workflow_scripts.cache.digests import file_digest
from workflow_scripts.cache.writing import write_atomically
from workflow_scripts.cells.gene_choice import GeneChoice
from workflow_scripts.command import run_command, show_findings
from workflow_scripts.errors import ConfigError, DataError
from workflow_scripts.reporting.preflight_page import render_preflight
from workflow_scripts.settings.choices import CHOSEN_GENES, EMBED_KEY, ENSEMBLE, given_model
from workflow_scripts.settings.findings import Finding, from_dicts, has_errors
from workflow_scripts.settings.slices import Slice
from workflow_scripts.stage import Folder, Output, Store, stage

if TYPE_CHECKING:
    import pandas as pd

    from workflow_scripts.training.plan import TrainingPlan


@dataclass(frozen=True)
class AuditFiles:
    """What the audits of a run wrote.

    Attributes
    ----------
    cells_audit
        Audit of the cells (JSON).
    batches
        Groups of cells by technical batch (Parquet).
    all_genes
        Genes of the cells (text).
    splits_audit
        Audit of the splits (JSON).
    splits
        Split of each group (Parquet).
    features_audit
        Audit of the features (JSON).
    targets_audit
        Audit of what is predicted in place of the test split (JSON).
    target_features_audit
        Audit of its features (JSON).
    asked_cells_audit
        Audit of the cells that are predicted from (JSON), if they are others.
    asked_batches
        Their groups by technical batch (Parquet).
    """

    cells_audit: Path
    batches: Path
    all_genes: Path
    splits_audit: Path
    splits: Path
    features_audit: Path
    targets_audit: Path | None
    target_features_audit: Path | None
    asked_cells_audit: Path | None
    asked_batches: Path | None


@stage("preflight", kept=False)
def preflight(
    settings: Slice, given: AuditFiles, run: str, store: Store, record: Folder, passed: Output
) -> None:
    """Show everything that the audits of a run found, and stop it if something is wrong.

    Parameters
    ----------
    run
        Folder of the run, for messages.
    store
        Where the cells are packed to.
    record
        Folder that keeps the findings, whatever comes of it: findings.json and findings.html.
    passed
        Pass stamp, to write (JSON) if nothing is wrong.
    """
    import pandas as pd

    from workflow_scripts.cells.splits import used_targets
    from workflow_scripts.prediction.readiness import Asked, check_given_model
    from workflow_scripts.training.estimates import DataSizes
    from workflow_scripts.training.fit import estimate_and_check
    from workflow_scripts.training.plan import TrainingPlan
    from workflow_scripts.training.readiness import (
        cross_check,
        narrow_residual,
        set_groups,
        sets_per_epoch,
        split_coverage,
    )
    from workflow_scripts.training.start_readiness import check_initial_model

    audits = {
        "Cells": json.loads(given.cells_audit.read_text()),
        "Splits": json.loads(given.splits_audit.read_text()),
        "Features": json.loads(given.features_audit.read_text()),
    }
    found = {title: from_dicts(audit["findings"]) for title, audit in audits.items()}
    plan = TrainingPlan.of_size(settings)
    table, batches = pd.read_parquet(given.splits), pd.read_parquet(given.batches)
    genes = given.all_genes.read_text(encoding="utf-8").splitlines()
    targets = used_targets(table, audits["Cells"]["control"])
    choice = GeneChoice.from_slice(settings)
    chosen_before = settings[EMBED_KEY] == CHOSEN_GENES
    embedding_dim = audits["Cells"].get("embedding_dim")
    read = genes if choice.select == "all" else None
    model = given_model(settings["prediction.checkpoint"])
    found["Together"] = choice.audit(genes, targets, chosen_before=chosen_before)
    of_run = Asked(
        read,
        audits["Features"]["dimension"],
        plan.set_size,
        None if embedding_dim is None else settings[EMBED_KEY],
        embedding_dim,
    )
    models = dict.fromkeys(settings[ENSEMBLE], ENSEMBLE)
    if model is not None:
        models[model] = "prediction.checkpoint"
    splits = file_digest(given.splits)
    for path, key in models.items():
        found["Together"] += check_given_model(path, of_run, splits, key)
    if model is None:
        found["Together"] += [
            *cross_check(table, batches, audits["Features"], plan),
            *narrow_residual(plan, embedding_dim),
            *check_initial_model(
                plan,
                read,
                splits,
                n_genes=len(genes),
                feature_dim=audits["Features"]["dimension"],
                embedding_dim=embedding_dim,
            ),
        ]
    held = set(table["split"].astype(str))
    found["Prediction"] = _check_prediction(given, settings, plan, read, batches, held)
    n_sets = sets_per_epoch(set_groups(table, batches, by_batch=plan.by_batch), plan)
    estimate = None
    if model is None and n_sets and not any(has_errors(findings) for findings in found.values()):
        files = audits["Cells"]["datasets"].values()
        kinds = {file["values"] for entries in files for file in entries}
        sizes = DataSizes(
            n_cells=audits["Cells"]["n_cells"],
            n_values=audits["Cells"]["n_values"],
            n_genes=len(genes),
            n_read=choice.most_genes(genes, targets),
            feature_dim=audits["Features"]["dimension"],
            n_batches=int(batches["batch"].nunique()),
            holds="counts" if kinds == {"counts"} else "log1p",
            sets_per_epoch=n_sets,
            embedding_dim=embedding_dim,
        )
        try:
            estimate, more = estimate_and_check(settings, plan, sizes, store)
            found["Together"] += more
        except ConfigError as error:
            found["Together"].append(Finding("error", "model", str(error)))
    # Two audits may stumble over the same file.
    told: set[str] = set()
    for title, findings in found.items():
        found[title] = [finding for finding in findings if finding.message not in told]
        told.update(finding.message for finding in findings)
    together = [finding.to_dict() for finding in found["Together"]]
    coverage = split_coverage(table, audits["Features"])
    needs = None if estimate is None else estimate.to_dict()
    entries = {title: [f.to_dict() for f in each] for title, each in found.items()}
    content = {
        "run": run,
        "findings": entries,
        "claims": audits["Splits"]["claims"]["sentence"],
        "coverage": coverage,
        "estimate": needs,
    }
    page = render_preflight(run, entries, audits["Cells"], audits["Splits"], coverage, needs)
    write_atomically(record / "findings.json", json.dumps(content, indent=1) + "\n")
    write_atomically(record / "findings.html", page)

    findings = [finding for each in found.values() for finding in each]
    task = "training" if model is None else "prediction"
    counts = Counter(finding.severity for finding in findings)
    if counts["error"]:
        show_findings(findings)
        raise DataError(
            f"{run}: {counts['error']} problem(s) to fix before {task} starts; all "
            f"findings are in {record / 'findings.html'}"
        )
    print(f"{run}: ready for {task}")
    show_findings(findings)
    stamp = {"run": run, "findings": together, "coverage": coverage, "estimate": needs}
    passed.write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")


def _check_prediction(
    given: AuditFiles,
    settings: Slice,
    plan: TrainingPlan,
    read: Sequence[str] | None,
    batches: pd.DataFrame,
    splits: Collection[str],
) -> list[Finding]:
    """Find what would stop the prediction after hours of training."""
    import pandas as pd

    from workflow_scripts.cells.values import compare_sums
    from workflow_scripts.prediction.readiness import check_batches, check_prediction

    source = json.loads((given.asked_cells_audit or given.cells_audit).read_text())
    kinds = {file["values"] for files in source["datasets"].values() for file in files}
    findings = check_prediction(settings, read=read, kinds=kinds - {None}, splits=splits)
    sums = json.loads(given.cells_audit.read_text())["sums"] | source["sums"]
    compared = compare_sums(sums, settings["cells.values"])
    findings += compared if given.asked_cells_audit is not None else []
    for audit in (given.targets_audit, given.target_features_audit):
        if audit is not None:
            findings += from_dicts(json.loads(audit.read_text())["findings"])
    trains = given_model(settings["prediction.checkpoint"]) is None
    if trains and plan.model_kwargs.get("batch_encoder"):  # of a model that is there it is unknown
        drawn = batches if given.asked_batches is None else pd.read_parquet(given.asked_batches)
        controls = drawn["perturbation"].astype(str) == settings["data.kwargs.control_pert"]
        findings += check_batches(
            set(batches["batch"].astype(str)),
            set(drawn.loc[controls, "batch"].astype(str)),
            settings["prediction.unknown_batch"],
        )
    return findings


if __name__ == "__main__":
    run_command(preflight)
