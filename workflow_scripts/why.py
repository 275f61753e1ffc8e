"""Say what a start of the workflow would run again, and because of what.

Nothing is run. Snakemake says which files it would make anew; the stage files and the frozen
config of each run say which keys have changed, and from what to what.

Example:

    python -m workflow_scripts.why --runs demo --overrides 'training.lr=1e-3'
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.cells.cross_validation import contexts_to_leave_out
from workflow_scripts.command import command_parser, json_with, run_command
from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.changes import changed_keys, changed_stage
from workflow_scripts.settings.findings import listing
from workflow_scripts.settings.run import Run
from workflow_scripts.settings.runs import resolve_runs
from workflow_scripts.settings.stages import STAGES

ROOT = Path(__file__).resolve().parents[1]

_STATUS: Mapping[str, str] = {
    "missing": "missing",
    "updated input files": "older than what it is made from",
    "set of input files changed": "made from other files",
    "params changed": "asked for otherwise",
    "code changed": "made by another command",
    "software environment definition changed": "made by other software",
    "rule changed to": "made by another rule",
    "incomplete": "not finished",
}
"""What Snakemake says of a file, in words."""


_BY_SIGNATURE = ("audit_cells", "pack_cells")
"""Rules whose parameters beside their settings are the signatures of files."""


@dataclass(frozen=True)
class FileState:
    """What Snakemake says of one file.

    Attributes
    ----------
    path, rule
        The file, and what makes it.
    inputs
        What it is made from.
    status
        Snakemake's word for it.
    """

    path: str
    rule: str
    inputs: tuple[str, ...]
    status: str


def main(arguments: Sequence[str]) -> None:
    """Ask Snakemake, and tell a person."""
    parser = command_parser("python -m workflow_scripts.why", __doc__)
    parser.add_argument("--runs", default="demo", help="as --config runs=… of snakemake")
    parser.add_argument(
        "--overrides", default="", help="as --config overrides=…; none if not given"
    )
    parser.add_argument(
        "--config",
        type=json_with("runs", "overrides"),
        metavar="JSON",
        help="all of --config of snakemake, in place of the two above",
    )
    given = parser.parse_args(arguments)
    config = given.config or {"runs": given.runs, "overrides": given.overrides}
    pending = list(_summary(config))
    runs = resolve_runs(ROOT / "config", config["runs"], config["overrides"], contexts_to_leave_out)
    if not pending:
        print("Nothing would run: everything is there, and made from what it is asked for.")
        return
    shared = [state for state in pending if _run_of(state, runs) is None]
    for line in _explain_shared(shared):
        print(line)
    for folder, run in runs.items():
        for line in explain(run, [state for state in pending if _run_of(state, runs) == folder]):
            print(line)


def explain(run: Run, pending: Sequence[FileState]) -> Iterator[str]:
    """Yield lines that say what would run of a run, and why.

    Parameters
    ----------
    run
        As it is asked for now.
    pending
        Its files that would be made anew.
    """
    found = {state.rule for state in pending} - set(_RECORD)
    rules = [rule for rule in STAGES if rule in found]
    if not pending:
        yield f"{run.folder}: nothing"
        return
    if not (Path(run.folder) / "config.yaml").exists():
        yield f"{run.folder}: everything, as nothing of it is there yet"
        return
    yield f"{run.folder}: {', '.join(rules) if rules else 'its record alone'}"
    said: set[str] = set()
    with_keys: set[str] = set()
    for state in pending:
        if state.rule != "freeze_stage":
            continue
        stage = Path(state.path).stem
        for change in changed_stage(run, stage, Path(state.path)):
            said.add(change.key)
            with_keys |= {rule for rule, one in STAGES.items() if one.slice == stage}
            yield f"  {stage}: {change.text}"
    if any(state.rule == "freeze_config" for state in pending):
        for change in changed_keys(run):
            if change.key not in said:
                yield f"  the record alone: {change.text}"
    for state in _first_of_each_rule(pending):
        if state.rule in _RECORD or state.status == "ok":
            continue
        yield f"  {state.rule}: {_reason(state)}"
    follow = [
        rule
        for rule in rules
        if rule not in with_keys
        and all(state.status == "ok" for state in pending if state.rule == rule)
    ]
    if follow:
        yield f"  {', '.join(follow)}: made from what runs before"


def _first_of_each_rule(pending: Sequence[FileState]) -> list[FileState]:
    found: dict[str, FileState] = {}
    for state in pending:
        if state.rule not in found or found[state.rule].status == "ok":
            found[state.rule] = state
    return list(found.values())


def _reason(state: FileState) -> str:
    if "params changed" in state.status and state.rule in _BY_SIGNATURE:
        files = [name for name in state.inputs if not name.endswith("/cells_audit.json")]
        return f"{'one of ' * (len(files) > 1)}{listing(files, 5)} is another file now"
    words = next((text for key, text in _STATUS.items() if key in state.status), state.status)
    if state.status == "updated input files" and (newer := _newer(state)):
        return f"{listing(newer, 5)} changed"
    return f"{state.path} is {words}"


def _newer(state: FileState) -> list[str]:
    """Return the inputs that are newer than a file."""
    path = Path(state.path)
    if not path.exists():
        return []
    made = path.stat().st_mtime_ns
    return [
        name
        for name in state.inputs
        if Path(name).exists() and Path(name).stat().st_mtime_ns > made
    ]


def _explain_shared(pending: Sequence[FileState]) -> Iterator[str]:
    """Yield lines on what belongs to no run: packed cells, the demo's files."""
    for state in _first_of_each_rule(pending):
        reason = "made from what runs before" if state.status == "ok" else _reason(state)
        yield f"{state.rule}: {reason}"


def _run_of(state: FileState, runs: Mapping[str, Run]) -> str | None:
    return next((folder for folder in runs if state.path.startswith(f"{folder}/")), None)


_RECORD = ("freeze_config", "freeze_stage")
"""Rules that write what is asked for; their reasons are the keys themselves."""


def _summary(config: Mapping[str, Any]) -> Iterator[FileState]:
    """Yield the files that Snakemake would make anew."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--detailed-summary", "--nolock", "--config"]
    command += [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in config.items()
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ConfigError(f"snakemake can't plan this:\n{done.stderr.strip()[-4000:]}")
    head, *lines = [line for line in done.stdout.splitlines() if "\t" in line]
    names = head.split("\t")
    for line in lines:
        row = dict(zip(names, line.split("\t"), strict=False))
        if row["plan"] == "update pending":
            inputs = tuple(filter(None, row["input-file(s)"].split(",")))
            yield FileState(row["output_file"], row["rule"], inputs, row["status"])


if __name__ == "__main__":
    run_command(main)
