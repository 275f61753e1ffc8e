r"""Hold what a run is asked to predict, by a table or a file of cells, to the cells there are.

It writes what was found wrong instead of failing: preflight says it together with all the rest.

Example:

    python -m workflow_scripts.list_targets --settings results/mine/stages/targets.json \
        --groups cache/cells/…/groups.parquet --cells-audit cache/cells/…/cells_audit.json \
        --splits results/mine/splits.parquet --targets targets.parquet --audit targets_audit.json
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from workflow_scripts.cache.writing import publish_text, publishing
from workflow_scripts.cells.uses import register_run
from workflow_scripts.command import command_parser, run_command, show_findings
from workflow_scripts.prediction.target_list import TargetSettings, genes_lacking, resolve_targets
from workflow_scripts.settings.findings import Finding, from_dicts, listing
from workflow_scripts.settings.slices import read_settings


def main(arguments: Sequence[str]) -> None:
    """Read the table and the groups of cells; write what is predicted, and the audit."""
    parser = command_parser("python -m workflow_scripts.list_targets", __doc__)
    parser.add_argument("--settings", type=Path, required=True, help="stage file of targets")
    parser.add_argument(
        "--groups", type=Path, required=True, help="groups of the cells predicted from (Parquet)"
    )
    parser.add_argument("--cells-audit", type=Path, required=True, help="their audit (JSON)")
    parser.add_argument("--genes", type=Path, nargs="?", help="their genes (text)")
    parser.add_argument(
        "--run-genes",
        type=Path,
        nargs="?",
        help="genes that a model reads and they must have (text)",
    )
    parser.add_argument(
        "--splits", type=Path, required=True, help="split of each group of the run (Parquet)"
    )
    parser.add_argument(
        "--store", type=Path, help="where the cells are packed to, to note there who uses them"
    )
    parser.add_argument(
        "--targets", type=Path, required=True, help="what is predicted, to write (Parquet)"
    )
    parser.add_argument("--audit", type=Path, required=True, help="what was found, to write (JSON)")
    given = parser.parse_args(arguments)

    settings = TargetSettings.from_slice(read_settings(given.settings))
    audit = json.loads(given.cells_audit.read_text())
    table, findings = resolve_targets(settings, pd.read_parquet(given.groups))
    if settings.adata is not None:  # else the run's own audit has said it
        findings = [*from_dicts(audit["findings"]), *findings]
        if given.run_genes is not None and given.genes is not None:
            known, wanted = (
                path.read_text(encoding="utf-8").splitlines()
                for path in (given.genes, given.run_genes)
            )
            findings += genes_lacking(settings.adata, known, wanted)
    perturbed = table[table["perturbation"].astype(str) != settings.control]
    splits = pd.read_parquet(given.splits)
    trained = splits[splits["split"] == "train"]
    report: dict[str, object] = {
        "n_cells": int(perturbed["n_cells"].sum()),
        "scored": settings.table is None,
    }
    for column in ("perturbation", "context"):
        names = sorted(set(perturbed[column].astype(str)))
        report[f"{column}s"] = len(names)
        unseen = sorted(set(names) - set(trained[column].astype(str)))
        if unseen:
            text = f"{len(unseen)} of {len(names)} {column}s to predict aren't trained on"
            finding = Finding(
                "note", f"untrained-{column}s", f"{text}: {listing(unseen, 8)}", tuple(unseen)
            )
            findings.append(finding)
    if given.store is not None:
        report["cells"] = given.store.name
        register_run(given.store, given.audit.parent, given.cells_audit.parent / "manifest.json")
    with publishing(given.targets) as beside:
        table.to_parquet(beside, index=False)
    report["findings"] = [finding.to_dict() for finding in findings]
    publish_text(given.audit, json.dumps(report, indent=1) + "\n")
    print(f"{report['n_cells']} cells to predict in {report['contexts']} contexts")
    show_findings(findings)


if __name__ == "__main__":
    run_command(main)
