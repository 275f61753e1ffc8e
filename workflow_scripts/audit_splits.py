"""Apply a split file to the cells there are: what trains, validates and tests.

Problems are recorded, not raised: `preflight` shows those of all audits together.

Example: python -m workflow_scripts.audit_splits --settings results/demo/stages/splits.json
--groups groups.parquet --splits splits.parquet --audit splits_audit.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from workflow_scripts.cells.leakage import leaks
from workflow_scripts.cells.splits import Splits, SplitSettings, split_groups, splits_report
from workflow_scripts.command import run_command
from workflow_scripts.settings.errors import ConfigError
from workflow_scripts.settings.findings import Finding, from_dicts, render
from workflow_scripts.settings.finished import replacing, write_atomically
from workflow_scripts.settings.slices import read_settings
from workflow_scripts.settings.split_file import read_split_file


def main(arguments: Sequence[str]) -> None:
    """Read the split file and the groups of cells; write the split of each group and the audit."""
    parser = argparse.ArgumentParser(
        prog="python -m workflow_scripts.audit_splits", description=__doc__
    )
    parser.add_argument("--settings", type=Path, required=True, help="stage file of splits")
    parser.add_argument("--groups", type=Path, required=True, help="groups of cells (Parquet)")
    parser.add_argument("--twins", type=Path, help="equal cells (Parquet), for leaks")
    parser.add_argument("--splits", type=Path, required=True, help="splits to write (Parquet)")
    parser.add_argument("--audit", type=Path, required=True, help="audit to write (JSON)")
    given = parser.parse_args(arguments)

    stage = read_settings("splits", given.settings)
    settings = SplitSettings.from_slice(stage)
    split_file = stage["data.kwargs.toml_config_path"]
    groups = pd.read_parquet(given.groups)
    try:
        if split_file is None:
            raise ConfigError(
                "data.kwargs.toml_config_path is null; it must name the split file (TOML) that "
                "says what is held out"
            )
        splits = split_groups(groups, read_split_file(Path(split_file)), settings)
    except ConfigError as error:
        finding = Finding("error", "split-file", str(error))
        splits = Splits(groups.assign(split="dropped"), [finding])
    if given.twins is not None:
        splits.findings.extend(leaks(splits.table, pd.read_parquet(given.twins)))
    with replacing(given.splits) as beside:
        splits.table.to_parquet(beside, index=False)
    report = splits_report(splits, settings)
    write_atomically(given.audit, json.dumps(report, indent=1) + "\n")
    sizes = {split: part["n_cells"] for split, part in report["splits"].items()}
    print(f"splits: {sizes} cells", render(from_dicts(report["findings"])), sep="\n")


if __name__ == "__main__":
    run_command(main)
