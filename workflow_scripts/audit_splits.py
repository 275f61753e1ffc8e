"""Apply a split file to the cells there are: what trains, validates and tests.

By hand, on any split file, with keys of the config where they differ from its defaults.

Example:

    python -m workflow_scripts.audit_splits starter.toml data.kwargs.pert_col=target_gene

In a workflow, problems are recorded and not raised: `preflight` shows those of all audits together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow_scripts.cache.writing import publish_text, publishing
from workflow_scripts.cells.run_cells import cells_json
from workflow_scripts.cells.split_file import SplitFile, read_split_file
from workflow_scripts.cells.uses import register_run
from workflow_scripts.command import BY_HAND, command_parser, run_command, show_findings
from workflow_scripts.errors import ConfigError, DataError
from workflow_scripts.settings.findings import Finding, from_dicts, has_errors, printable
from workflow_scripts.settings.runs import resolve_by_hand
from workflow_scripts.settings.slices import Slice, read_settings

if TYPE_CHECKING:
    import pandas as pd

    from workflow_scripts.cells.splits import Splits


def main(arguments: Sequence[str]) -> None:
    """Read the split file and the groups of cells; write the split of each group and the audit."""
    parser = command_parser("python -m workflow_scripts.audit_splits", __doc__)
    hand = parser.add_argument_group("by hand")
    hand.add_argument("split_file", nargs="?", metavar="SPLIT_FILE", help="split file (TOML)")
    hand.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="key=value, for keys of the config"
    )
    workflow = parser.add_argument_group("in a workflow, all but --store")
    workflow.add_argument("--settings", type=Path, help="stage file of splits")
    workflow.add_argument("--groups", type=Path, help="groups of cells (Parquet)")
    workflow.add_argument("--twins", type=Path, help="equal cells (Parquet), for leaks")
    workflow.add_argument("--cells-audit", type=Path, help="audit of the cells (JSON)")
    workflow.add_argument(
        "--store", type=Path, help="where cells are packed to, to note there who uses them"
    )
    workflow.add_argument("--splits", type=Path, help="split of each group, to write (Parquet)")
    workflow.add_argument(
        "--split-file", dest="made", type=Path, help="split as applied, to write (TOML)"
    )
    workflow.add_argument("--audit", type=Path, help="what was found, to write (JSON)")
    given = parser.parse_args(arguments)
    if given.split_file is not None:
        _by_hand(given.split_file, given.overrides)
        return
    needed = ("settings", "groups", "twins", "cells_audit", "splits", "made", "audit")
    if any(getattr(given, name) is None for name in needed):
        parser.error("name a split file, or give all the options of a workflow")
    # Only now: --help and mistyped options needn't wait for these.
    import pandas as pd

    from workflow_scripts.cells.drawing import split_file_text
    from workflow_scripts.cells.splits import SplitSettings, splits_report

    stage = read_settings(given.settings)
    cells = json.loads(given.cells_audit.read_text())
    splits, plan = _split(pd.read_parquet(given.groups), pd.read_parquet(given.twins), cells, stage)
    files = {name: [entry["file"] for entry in found] for name, found in cells["datasets"].items()}
    report = splits_report(splits, SplitSettings.from_slice(stage))
    if given.store is not None:
        report["cells"] = given.store.name
        register_run(given.store, given.audit.parent, given.cells_audit.parent / "manifest.json")
    with publishing(given.splits) as beside:
        splits.table.to_parquet(beside, index=False)
    publish_text(given.made, split_file_text(splits.table, plan, files))
    publish_text(given.audit, json.dumps(report, indent=1) + "\n")
    _show(report, [])


def _split(
    groups: pd.DataFrame, twins: pd.DataFrame, cells: Mapping[str, Any], stage: Slice
) -> tuple[Splits, SplitFile]:
    """Apply the split file to the groups; return the splits, and what the file says."""
    from workflow_scripts.cells.leakage import leaks
    from workflow_scripts.cells.splits import Splits, SplitSettings, split_groups

    settings, path = SplitSettings.from_slice(stage), stage["data.kwargs.toml_config_path"]
    plan = SplitFile("no split file", {}, tuple(cells["datasets"]), {}, {})
    try:
        if path is not None:
            plan = read_split_file(Path(path))
        elif not settings.says_enough:
            raise ConfigError(
                "data.kwargs.toml_config_path is null; name the split file (TOML) that says what "
                "is held out, or have one drawn with splits.make.contexts"
            )
        splits = split_groups(groups, plan, settings, cells["knockdowns"])
    except ConfigError as error:
        finding = Finding("error", "split-file", str(error))
        splits = Splits(groups.assign(split="dropped"), [finding])
    splits.findings.extend(leaks(splits.table, twins))
    return splits, plan


def _by_hand(split_file: str, overrides: Sequence[str]) -> None:
    from workflow_scripts.cells.audit import audit_slice
    from workflow_scripts.cells.splits import SplitSettings, splits_report

    named = f"data.kwargs.toml_config_path={json.dumps(split_file)}"
    run = resolve_by_hand(BY_HAND, [named, *overrides])
    content = json.loads(cells_json(run))
    audit = audit_slice(content)
    stage = run.slice("splits")
    splits, _ = _split(audit.groups, audit.twins, audit.report, stage)
    for dataset, files in content["datasets"].items():
        print(f"dataset {dataset}: {', '.join(files.values()) or 'no file'}")
    report = splits_report(splits, SplitSettings.from_slice(stage))
    findings = _show(report, from_dicts(audit.report["findings"]))
    if has_errors(findings):
        raise DataError(f"{split_file}: a run would be stopped before training")


def _show(report: Mapping[str, Any], others: Sequence[Finding]) -> list[Finding]:
    for split, size in report["splits"].items():
        print(
            f"{split}: {size['n_cells']} cells, {size['n_perturbations']} perturbations in "
            f"{len(size['contexts'])} contexts"
        )
    print(printable(report["claims"]["sentence"]))
    said = {finding.message for finding in others}
    found = [one for one in from_dicts(report["findings"]) if one.message not in said]
    show_findings([*others, *found])
    return [*others, *found]


if __name__ == "__main__":
    run_command(main)
