"""Show everything that the audits of a run found, and stop it where something is wrong.

Example: python -m workflow_scripts.preflight --run results/demo --audit cells_audit.json
--audit splits_audit.json --audit features_audit.json --passed preflight.json
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.command import run_command
from workflow_scripts.settings.errors import DataError
from workflow_scripts.settings.findings import from_dicts, has_errors, render
from workflow_scripts.settings.finished import write_atomically


def main(arguments: Sequence[str]) -> None:
    """Read the audits, print their findings, and write the pass stamp if none is an error."""
    parser = argparse.ArgumentParser(
        prog="python -m workflow_scripts.preflight", description=__doc__
    )
    parser.add_argument("--run", required=True, help="folder of the run, for the message")
    parser.add_argument("--audit", type=Path, action="append", required=True, help="an audit")
    parser.add_argument("--passed", type=Path, required=True, help="pass stamp to write (JSON)")
    given = parser.parse_args(arguments)

    findings = [
        finding
        for audit in given.audit
        for finding in from_dicts(json.loads(audit.read_text())["findings"])
    ]
    # Two audits may stumble over the same file.
    findings = list(dict.fromkeys(findings))
    if has_errors(findings):
        count = sum(finding.severity == "error" for finding in findings)
        raise DataError(
            f"{given.run}: {count} problem(s) to mend before training starts\n{render(findings)}"
        )
    print(f"{given.run}: ready to train", render(findings), sep="\n")
    counts = Counter(finding.severity for finding in findings)
    write_atomically(given.passed, json.dumps({"run": given.run, "findings": counts}) + "\n")


if __name__ == "__main__":
    run_command(main)
