"""Show everything that the audits of a run found, and stop it where something is wrong.

Whatever comes of it, findings.json and findings.html are left in --record.

Example: python -m workflow_scripts.preflight --run results/demo --settings preflight.json --cells
cells_audit.json --splits splits_audit.json --split-table splits.parquet --features
features_audit.json --record results/demo/preflight --passed preflight.json
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from workflow_scripts.command import run_command
from workflow_scripts.reporting.preflight_page import render_preflight
from workflow_scripts.settings.errors import DataError
from workflow_scripts.settings.findings import Finding, from_dicts, in_order
from workflow_scripts.settings.finished import write_atomically
from workflow_scripts.settings.slices import read_settings
from workflow_scripts.training.readiness import cross_check, split_coverage

_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def main(arguments: Sequence[str]) -> None:
    """Read the audits, show and keep their findings, and write the pass stamp if all is well."""
    parser = argparse.ArgumentParser(
        prog="python -m workflow_scripts.preflight", description=__doc__
    )
    parser.add_argument("--run", required=True, help="folder of the run, for the message")
    parser.add_argument("--settings", type=Path, required=True, help="stage file of preflight")
    parser.add_argument("--cells", type=Path, required=True, help="audit of the cells")
    parser.add_argument("--splits", type=Path, required=True, help="audit of the splits")
    parser.add_argument("--split-table", type=Path, required=True, help="splits (Parquet)")
    parser.add_argument("--features", type=Path, required=True, help="audit of the features")
    parser.add_argument("--record", type=Path, required=True, help="folder that keeps the findings")
    parser.add_argument("--passed", type=Path, required=True, help="pass stamp to write (JSON)")
    given = parser.parse_args(arguments)

    audits = {
        "Cells": json.loads(given.cells.read_text()),
        "Splits": json.loads(given.splits.read_text()),
        "Features": json.loads(given.features.read_text()),
    }
    settings = read_settings("preflight", given.settings)
    table = pd.read_parquet(given.split_table)
    found = {title: from_dicts(audit["findings"]) for title, audit in audits.items()}
    set_size = settings["model.kwargs.cell_set_len"]
    found["Together"] = cross_check(table, audits["Features"], set_size)
    found = _said_once(found)
    coverage = split_coverage(table, audits["Features"])
    _keep(given, found, audits["Splits"]["claims"]["sentence"], coverage)

    findings = in_order([finding for each in found.values() for finding in each])
    counts = Counter(finding.severity for finding in findings)
    if counts["error"]:
        _show(findings)
        raise DataError(
            f"{given.run}: {counts['error']} problem(s) to mend before training starts; all "
            f"findings are in {given.record / 'findings.html'}"
        )
    print(f"{given.run}: ready to train")
    _show(findings)
    write_atomically(given.passed, json.dumps({"run": given.run, "findings": counts}) + "\n")


def _said_once(found: Mapping[str, Sequence[Finding]]) -> dict[str, list[Finding]]:
    """Leave out what an earlier audit has said: two of them may stumble over the same file."""
    said: set[str] = set()
    once: dict[str, list[Finding]] = {}
    for title, findings in found.items():
        once[title] = [finding for finding in findings if finding.message not in said]
        said.update(finding.message for finding in findings)
    return once


def _keep(
    given: argparse.Namespace,
    found: Mapping[str, Sequence[Finding]],
    claims: str,
    coverage: Mapping[str, Any],
) -> None:
    entries: Any = {title: [f.to_dict() for f in findings] for title, findings in found.items()}
    content = {"run": given.run, "findings": entries, "claims": claims, "coverage": coverage}
    page = render_preflight(given.run, entries, claims, coverage)
    write_atomically(given.record / "findings.json", json.dumps(content, indent=1) + "\n")
    write_atomically(given.record / "findings.html", page)


def _show(findings: Sequence[Finding]) -> None:
    """Print findings, in colour on a terminal; a terminal wraps them, a log keeps them whole."""
    console = Console(soft_wrap=True, highlight=False)
    for finding in findings:
        label = Text(f"{finding.severity}: ", style=_STYLES[finding.severity])
        console.print(label.append(finding.message, style="default"))


if __name__ == "__main__":
    run_command(main)
