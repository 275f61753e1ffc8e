"""Say what a start of the workflow would run again, and because of what.

Nothing is run. What a run was asked for last stands in its stage files, and what is older than
what it is made from shows which jobs an earlier start didn't come to.

Example:

    python -m workflow_scripts.why --runs demo --overrides 'training.lr=1e-3'
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from workflow_scripts.cells.cross_validation import contexts_to_leave_out
from workflow_scripts.command import command_parser, run_command
from workflow_scripts.inputs import RunInputs
from workflow_scripts.settings.changes import changed_cells, changed_keys, changed_stage
from workflow_scripts.settings.findings import listing
from workflow_scripts.settings.runs import resolve_runs
from workflow_scripts.settings.stages import SHARED

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: Sequence[str]) -> None:
    """Compare what is asked for with what was, and tell a person."""
    parser = command_parser("python -m workflow_scripts.why", __doc__)
    parser.add_argument("--runs", default="demo", help="as --config runs=… of snakemake")
    parser.add_argument(
        "--overrides", default="", help="as --config overrides=…; none if not given"
    )
    parser.add_argument(
        "--config",
        type=json.loads,
        metavar="JSON",
        help="all of --config of snakemake, in place of the two above",
    )
    given = parser.parse_args(arguments)
    asked = given.config or {"runs": given.runs, "overrides": given.overrides}
    runs = resolve_runs(ROOT / "config", asked["runs"], asked["overrides"], contexts_to_leave_out)
    lines = [line for run in runs.values() for line in explain(RunInputs.of(run))]
    nothing = "Nothing would run: everything is there, and made from what it is asked for."
    print("\n".join(lines) or nothing)


def explain(run: RunInputs) -> Iterator[str]:
    """Yield lines that say what would run of a run, and why; none if nothing would."""
    folder, stages = Path(run.folder), run.stages
    if not (folder / "config.yaml").exists():
        yield f"{folder}: everything, as nothing of it is there yet"
        return
    changes = {
        stage.slice: [*changed_stage(run, stage.slice, folder / f"stages/{stage.slice}.json")]
        for rule, stage in stages.items()
        if rule not in SHARED
    }
    changes["cells"] = [change for path in run.cell_files for change in changed_cells(path)]
    reasons: dict[str, str] = {}
    pending: list[str] = []
    for rule, stage in stages.items():
        if missing := [path for path in run.made(rule) if not Path(path).exists()]:
            reasons[rule] = f"{missing[0]} is missing"
        elif newer := run.newer_inputs(rule):
            reasons[rule] = f"{listing(newer, 5)} changed"
        if rule in reasons or changes[stage.slice] or {*stage.after} & {*pending}:
            pending.append(rule)
    found = {change.key for of_slice in changes.values() for change in of_slice}
    record = [change for change in changed_keys(run) if change.key not in found]
    if pending or record:
        yield f"{folder}: {', '.join(pending) or 'its record alone'}"
    for name, of_slice in changes.items():
        yield from (f"  {name}: {change.text}" for change in of_slice)
    yield from (f"  the record alone: {change.text}" for change in record)
    yield from (f"  {rule}: {reason}" for rule, reason in reasons.items())
    follow = [r for r in pending if r not in reasons and not changes[stages[r].slice]]
    if follow:
        yield f"  {', '.join(follow)}: made from what runs before"


if __name__ == "__main__":
    run_command(main)
