"""Show how far runs are, while the workflow runs and afterwards.

Example, of the runs under results, and of one run until it is done:

    python -m workflow_scripts.progress
    python -m workflow_scripts.progress results/demo --watch

It reads the files that a run leaves and writes none: on a cluster, from any machine that sees them.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.command import command_parser, run_command
from workflow_scripts.errors import DataError
from workflow_scripts.failures import failure_of
from workflow_scripts.settings.slices import shown_config
from workflow_scripts.settings.stages import find_runs, stages_of
from workflow_scripts.settings.tables import Column, Table
from workflow_scripts.stage_states import (
    State,
    log_of,
    shared_work,
    stage_states,
    usual_seconds,
)
from workflow_scripts.training.following import TrainingProgress, training_progress
from workflow_scripts.training.pace import spell

TRAIN = "train"

COLUMNS = (
    Column("run", "Run"),
    Column("done", "Done"),
    Column("now", "Now"),
    Column("left", "Left"),
)


@dataclass(frozen=True)
class RunProgress:
    """How far a run is.

    Attributes
    ----------
    folder
        The run's.
    states
        Of its stages, in the order in which data flows.
    logs
        Of the same.
    max_steps
        Steps that it trains.
    training
        What its training says, if it has begun.
    """

    folder: Path
    states: Mapping[str, State]
    logs: Mapping[str, Path]
    max_steps: int
    training: TrainingProgress | None

    def named(self, state: State) -> list[str]:
        """Return the stages that are in a state."""
        return [name for name, found in self.states.items() if found is state]

    @property
    def state(self) -> State:
        """Of the whole run: it waits where something is left, and nothing of it runs or stopped."""
        for state in (State.WORKING, State.STOPPED, State.WAITING):
            if self.named(state):
                return state
        return State.DONE

    @property
    def now(self) -> str:
        """What it is at, in words."""
        stopped = [f"{name} stopped" for name in self.named(State.STOPPED)]
        if self.named(State.WORKING) or stopped:
            return "; ".join([", ".join(self.named(State.WORKING)), *stopped]).removeprefix("; ")
        return (
            f"next: {self.named(State.WAITING)[0]}"
            if self.state is State.WAITING
            else self.state.value
        )


def main(arguments: Sequence[str]) -> None:
    """Print the table of the runs, once or again and again."""
    parser = command_parser("python -m workflow_scripts.progress", __doc__)
    parser.add_argument(
        "runs",
        nargs="*",
        type=Path,
        metavar="RUN_FOLDER",
        help="run folders, or folders that hold them; results if none is given",
    )
    parser.add_argument(
        "--watch",
        nargs="?",
        type=float,
        const=5.0,
        metavar="SECONDS",
        help="look again after so many seconds (5), until everything is done",
    )
    given = parser.parse_args(arguments)
    for place in given.runs:
        if not place.is_dir():
            raise DataError(f"{place}: no such folder; name run folders, or what holds them")
    places = given.runs or [Path("results")]
    if given.watch is None:
        print(render(look(places), places))
        return
    from rich.console import Console

    screen = Console()
    while True:
        runs = look(places)
        screen.clear()  # on a terminal alone: a file gets one after the other
        print(render(runs, places), end="\n\n", flush=True)
        if runs and all(run.state is State.DONE for run in runs):
            return
        time.sleep(given.watch)


def look(places: Sequence[Path]) -> list[RunProgress]:
    """Return how far the runs are that places are, or hold."""
    found = []
    for run in find_runs(places):
        config = shown_config(run / "config.yaml")
        stages = stages_of(config)
        states = stage_states(run, stages)
        # What an earlier training said is of no interest where another one is to come.
        begun = states.get(TRAIN, State.WAITING) is not State.WAITING
        found.append(
            RunProgress(
                run,
                states,
                {name: log_of(run, name, stage) for name, stage in stages.items()},
                config["training"]["max_steps"],
                training_progress(run) if begun else None,
            )
        )
    return found


def render(runs: Sequence[RunProgress], places: Sequence[Path]) -> str:
    """Return what a person reads of the runs."""
    lines = [f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {_summary(runs, places)}"]
    lines += [f"at work for all: {log.stem} ({log})" for log in shared_work(Path())]
    left = seconds_left(runs)
    if runs:
        rows = [(os.fspath(run.folder), _done(run), run.now, left[run.folder].text) for run in runs]
        lines += ["", Table(COLUMNS, tuple(rows)).render("text").rstrip(), ""]
    for run in runs:
        if run.training is not None and TRAIN in run.named(State.WORKING):
            lines.append(f"{run.folder}: {training_line(run.training)}")
        for name in run.named(State.STOPPED):
            failure = failure_of(os.fspath(run.folder), name, run.logs[name])
            lines.append(f"{run.folder}: {name} stopped (log: {failure.log})")
            lines += [f"  {line}" for line in failure.message.splitlines()]
    at_once = sum(run.state is State.WORKING for run in runs)
    if len(runs) > 1 and at_once:
        whole = Left(
            sum(of_run.seconds for of_run in left.values()) / at_once,
            all(of_run.complete for of_run in left.values()),
        )
        lines.append(f"all of them: {whole.text or 'not known yet'}, with {at_once} at a time")
    return "\n".join(lines).rstrip()


def training_line(training: TrainingProgress) -> str:
    """Return how far a training is, in the words of its log."""
    shown = [f"step {training.step}/{training.max_steps}", f"loss {training.loss:.4f}"]
    if training.best is not None:
        of = "" if training.select_by == "val_loss" else f"{training.select_by} "
        shown.append(f"best {of}{training.best:.4f} (step {training.best_step})")
    shown += [f"{training.rate:.3g} steps/s", f"{spell(training.seconds_left)} left"]
    return "  ".join(shown)


@dataclass(frozen=True)
class Left:
    """How long something goes on.

    Attributes
    ----------
    seconds
        Of what is known.
    complete
        Whether everything is: no stage is left that no run has had yet.
    """

    seconds: float
    complete: bool

    @property
    def text(self) -> str:
        """In words; nothing where nothing is known, or nothing is left."""
        if not self.seconds:
            return ""
        return f"{'' if self.complete else 'over '}{spell(self.seconds)}"


def seconds_left(runs: Sequence[RunProgress]) -> dict[Path, Left]:
    """Return how long each run goes on, one stage after the other.

    A training by its own rate, or by that of the other runs before its first step; another stage
    as long as it took in these runs, now or in an earlier start.
    """
    usual = usual_seconds([run.folder for run in runs])
    rates = [run.training.rate for run in runs if run.training is not None]
    found = {}
    for run in runs:
        times: list[float | None] = []
        for name, state in run.states.items():
            if state is State.DONE:
                continue
            if name != TRAIN:
                times.append(usual.get(name))
            elif run.training is not None:
                times.append(run.training.seconds_left)
            else:
                times.append(run.max_steps / statistics.median(rates) if rates else None)
        known = [seconds for seconds in times if seconds is not None]
        found[run.folder] = Left(sum(known), len(known) == len(times))
    return found


def _done(run: RunProgress) -> str:
    return f"{len(run.named(State.DONE))} of {len(run.states)}"


def _summary(runs: Sequence[RunProgress], places: Sequence[Path]) -> str:
    if not runs:
        return f"no run in {', '.join(map(os.fspath, places))} yet"
    counts = [(sum(run.state is state for run in runs), state.value) for state in State]
    listed = ", ".join(f"{count} {word}" for count, word in counts if count)
    return f"{len(runs)} run{'s' if len(runs) > 1 else ''}: {listed}"


if __name__ == "__main__":
    run_command(main)
