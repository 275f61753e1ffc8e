"""List what a run is asked to predict in place of its test split."""

from __future__ import annotations

import json
from pathlib import Path

from workflow_scripts.cells.uses import register_run
from workflow_scripts.command import run_command, show_findings
from workflow_scripts.settings.findings import Finding, from_dicts, listing
from workflow_scripts.settings.slices import Slice
from workflow_scripts.stage import Folder, Output, Store, stage


@stage("targets")
def list_targets(
    settings: Slice,
    groups: Path,
    cells_audit: Path,
    splits: Path,
    genes: Path | None,
    run_genes: Path | None,
    store: Store,
    run: Folder,
    targets: Output,
    audit: Output,
) -> None:
    """List what a table or a file of cells asks for, and compare it with the cells there are.

    What is wrong is recorded, not raised: preflight reports it together with everything else.

    Parameters
    ----------
    groups
        Groups of the cells that are predicted from (Parquet).
    cells_audit
        Audit of those cells (JSON).
    splits
        Split of each group of the run (Parquet).
    genes
        Genes of the cells that are predicted from (text).
    run_genes
        Genes that the model reads and the cells must have (text).
    store
        Where the cells are packed to; the run is registered there as a user.
    run
        Folder of the run.
    targets
        What is predicted, to write (Parquet).
    audit
        What was found, to write (JSON).
    """
    import pandas as pd

    from workflow_scripts.prediction.target_list import genes_lacking, resolve_targets

    adata, control = settings["prediction.adata"], settings["data.kwargs.control_pert"]
    table, findings = resolve_targets(settings, pd.read_parquet(groups))
    if adata is not None:  # else the run's own audit has said it
        findings = [*from_dicts(json.loads(cells_audit.read_text())["findings"]), *findings]
        if run_genes is not None and genes is not None:
            known, wanted = (
                path.read_text(encoding="utf-8").splitlines() for path in (genes, run_genes)
            )
            findings += genes_lacking(adata, known, wanted)
    perturbed = table[table["perturbation"].astype(str) != control]
    groups_of_run = pd.read_parquet(splits)
    trained = groups_of_run[groups_of_run["split"] == "train"]
    report: dict[str, object] = {
        "n_cells": int(perturbed["n_cells"].sum()),
        "scored": settings["prediction.targets"] is None,
    }
    for column in ("perturbation", "context"):
        names = sorted(set(perturbed[column].astype(str)))
        report[f"{column}s"] = len(names)
        if unseen := sorted(set(names) - set(trained[column].astype(str))):
            text = (
                f"{len(unseen)} of {len(names)} {column}s to predict aren't trained on: "
                f"{listing(unseen, 8)}"
            )
            findings.append(Finding("note", f"untrained-{column}s", text, tuple(unseen)))
    report["cells"] = store.name
    register_run(store, run, cells_audit.parent / "manifest.json")
    report["findings"] = [finding.to_dict() for finding in findings]
    table.to_parquet(targets, index=False)
    audit.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"{report['n_cells']} cells to predict in {report['contexts']} contexts")
    show_findings(findings)


if __name__ == "__main__":
    run_command(list_targets)
