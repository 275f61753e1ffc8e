"""Apply a split file to the cells there are: what trains, validates and tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow_scripts.cells.split_file import SplitFile, read_split_file
from workflow_scripts.cells.uses import register_run
from workflow_scripts.command import BY_HAND, run_command, show_findings
from workflow_scripts.errors import ConfigError, DataError
from workflow_scripts.settings.findings import Finding, from_dicts, has_errors, printable
from workflow_scripts.settings.slices import Slice
from workflow_scripts.stage import Folder, Output, Store, stage

if TYPE_CHECKING:
    import pandas as pd

    from workflow_scripts.cells.splits import Splits


def by_hand(arguments: Sequence[str]) -> None:
    """By hand, on any split file, with keys of the config that differ from its defaults.

    As in:

    python -m workflow_scripts.audit_splits starter.toml data.kwargs.pert_col=target_gene
    """
    from workflow_scripts.cells.audit import audit_slice
    from workflow_scripts.cells.run_cells import cells_json
    from workflow_scripts.cells.splits import SplitSettings, splits_report
    from workflow_scripts.settings.runs import resolve_by_hand

    split_file, *overrides = arguments
    named = f"data.kwargs.toml_config_path={json.dumps(split_file)}"
    run = resolve_by_hand(BY_HAND, [named, *overrides])
    content = json.loads(cells_json(run))
    audit = audit_slice(content)
    settings = run.slice("splits")
    splits, _ = _split(audit.groups, audit.twins, audit.report, settings)
    for dataset, files in content["datasets"].items():
        print(f"dataset {dataset}: {', '.join(files.values()) or 'no file'}")
    report = splits_report(splits, SplitSettings.from_slice(settings))
    findings = _show(report, from_dicts(audit.report["findings"]))
    if has_errors(findings):
        raise DataError(f"{split_file}: a run would be stopped before training")


@stage("splits", by_hand)
def audit_splits(
    settings: Slice,
    groups: Path,
    twins: Path,
    cells_audit: Path,
    store: Store,
    run: Folder,
    splits: Output,
    split_file: Output,
    audit: Output,
) -> None:
    """Apply a split file to the cells there are: what trains, validates and tests.

    What is wrong is recorded, not raised: preflight reports it together with everything else.

    Parameters
    ----------
    groups
        Groups of cells (Parquet).
    twins
        Cells with the values of another one (Parquet), for leaks.
    cells_audit
        Audit of the cells (JSON).
    store
        Where the cells are packed to; the run is registered there as a user.
    run
        Folder of the run.
    splits
        Split of each group, to write (Parquet).
    split_file
        Split as applied, to write (TOML).
    audit
        What was found, to write (JSON).
    """
    import pandas as pd

    from workflow_scripts.cells.drawing import split_file_text
    from workflow_scripts.cells.splits import SplitSettings, splits_report

    cells = json.loads(cells_audit.read_text())
    found, plan = _split(pd.read_parquet(groups), pd.read_parquet(twins), cells, settings)
    files = {name: [entry["file"] for entry in of] for name, of in cells["datasets"].items()}
    report = splits_report(found, SplitSettings.from_slice(settings))
    report["cells"] = store.name
    register_run(store, run, cells_audit.parent / "manifest.json")
    found.table.to_parquet(splits, index=False)
    split_file.write_text(split_file_text(found.table, plan, files), encoding="utf-8")
    audit.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    _show(report, [])


def _split(
    groups: pd.DataFrame, twins: pd.DataFrame, cells: Mapping[str, Any], slice_: Slice
) -> tuple[Splits, SplitFile]:
    """Apply the split file to the groups; return the splits, and what the file says."""
    from workflow_scripts.cells.leakage import leaks
    from workflow_scripts.cells.splits import Splits, SplitSettings, split_groups

    settings, path = SplitSettings.from_slice(slice_), slice_["data.kwargs.toml_config_path"]
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
    run_command(audit_splits)
