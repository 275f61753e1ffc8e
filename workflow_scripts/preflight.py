"""Show everything that the audits of a run found, and stop it if something is wrong."""

from __future__ import annotations

import json

from workflow_scripts.cache.writing import write_atomically
from workflow_scripts.cells.audited import AuditFiles, read_audit
from workflow_scripts.cells.gene_choice import GeneChoice
from workflow_scripts.command import run_command, show_findings
from workflow_scripts.errors import DataError
from workflow_scripts.reporting.preflight_page import render_preflight
from workflow_scripts.settings.choices import CHOSEN_GENES, EMBED_KEY, given_model
from workflow_scripts.settings.findings import from_dicts, has_errors
from workflow_scripts.settings.slices import Slice
from workflow_scripts.stage import Folder, Output, Store, stage


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
    from workflow_scripts.cells.splits import used_targets
    from workflow_scripts.prediction.readiness import check_models, check_prediction
    from workflow_scripts.training.fit import estimate_and_check
    from workflow_scripts.training.plan import TrainingPlan
    from workflow_scripts.training.readiness import check_training, split_coverage

    splits_audit = read_audit(given.splits_audit)
    audits = {"Cells": given.of_cells, "Splits": splits_audit, "Features": given.of_features}
    found = {title: from_dicts(audit["findings"]) for title, audit in audits.items()}
    choice, plan = GeneChoice.from_slice(settings), TrainingPlan.of_size(settings)
    targets = used_targets(given.groups, given.of_cells["control"])
    chosen_before = settings[EMBED_KEY] == CHOSEN_GENES
    read = given.genes if choice.select == "all" else None
    trains = given_model(settings["prediction.checkpoint"]) is None
    found["Together"] = [
        *choice.audit(given.genes, targets, chosen_before=chosen_before),
        *check_models(settings, given, read),
        *(check_training(plan, given, read) if trains else []),
    ]
    found["Prediction"] = check_prediction(settings, given, read)
    estimate = None
    if trains and not any(map(has_errors, found.values())):
        n_read = choice.most_genes(given.genes, targets)
        estimate, more = estimate_and_check(settings, plan, given, n_read, store)
        found["Together"] += more

    # Two audits may find the same in a file.
    told: set[str] = set()
    for title, findings in found.items():
        found[title] = [finding for finding in findings if finding.message not in told]
        told.update(finding.message for finding in findings)
    entries = {title: [one.to_dict() for one in findings] for title, findings in found.items()}
    content = {
        "run": run,
        "findings": entries,
        "claims": splits_audit["claims"]["sentence"],
        "coverage": split_coverage(given.groups, given.of_features),
        "estimate": None if estimate is None else estimate.to_dict(),
    }
    page = record / "findings.html"
    write_atomically(record / "findings.json", json.dumps(content, indent=1) + "\n")
    write_atomically(page, render_preflight(content, given.of_cells, splits_audit))
    findings = [finding for each in found.values() for finding in each]
    task = "training" if trains else "prediction"
    errors = sum(finding.severity == "error" for finding in findings)
    if not errors:
        print(f"{run}: ready for {task}")
    show_findings(findings)
    if errors:
        raise DataError(
            f"{run}: {errors} problem(s) to fix before {task} starts; all findings are in {page}"
        )
    stamp = {**content, "findings": entries["Together"]}
    passed.write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_command(preflight)
