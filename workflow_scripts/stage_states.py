"""How far the stages of a run are, read off its files: nothing is written, or asked elsewhere."""

from __future__ import annotations

import enum
import statistics
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from workflow_scripts.cache.locks import is_held
from workflow_scripts.failures import tells_its_end
from workflow_scripts.settings.stages import STAGES, Stage

SECONDS_TO_START = 60.0
"""A log that is younger belongs to a job that may still import its modules, before it holds it."""

SHARED_LOGS = ("simulated/logs/*.log", "cache/fetched/*/*.log", "cache/cells/*/logs/*.log")
"""Logs of what runs share, in the working directory."""


class State(enum.Enum):
    """How far a stage is."""

    WAITING = "waiting"
    WORKING = "at work"
    STOPPED = "stopped"
    DONE = "finished"


def stage_states(run: Path, stages: Mapping[str, Stage]) -> dict[str, State]:
    """Return how far each stage of a run is.

    A stage is done if its output is there and nothing that it is made from is younger, or to be
    done itself. It is at work while a process holds its log. It has stopped where its log is
    younger than all that it is made from, and its output is missing: killed, or failed.

    Parameters
    ----------
    run
        The run's folder.
    stages
        What `stages.stages_of` returns of its config.
    """
    states: dict[str, State] = {}
    for name, stage in stages.items():
        before = [other for other in stage.after if other in stages]
        log = log_of(run, name, stage)
        made, began = _changed(run / stage.output), _changed(log)
        ready = all(states[other] is State.DONE for other in before)
        inputs = [run / "stages" / f"{stage.slice}.json"]
        inputs += [run / stages[other].output for other in before]
        youngest = max(map(_changed, inputs))
        if is_held(log):
            states[name] = State.WORKING
        elif ready and made and made >= youngest:
            states[name] = State.DONE
        elif ready and began and not made and began >= youngest:
            states[name] = State.WORKING if _may_be_starting(log) else State.STOPPED
        else:
            states[name] = State.WAITING
    return states


def is_out_of_date(run: Path, stages: Mapping[str, Stage], audit: Path, packed: Path) -> bool:
    """Tell whether a file of a run is older than one that it is made from.

    So an earlier start leaves a run that ended after something had changed and before everything
    that follows was made anew.

    Parameters
    ----------
    run, stages
        As in `stage_states`.
    audit, packed
        What was found in the cells, and the manifest of the packed ones.
    """
    found, read = _changed(audit), _changed(packed)
    for stage in stages.values():
        made = _changed(run / stage.output)
        inputs = [run / "stages" / f"{stage.slice}.json"]
        inputs += [run / stages[other].output for other in stage.after if other in stages]
        of_cells = read if stage.reads_cells else found
        if made and made < max(of_cells, *map(_changed, inputs)):
            return True
    return False


def log_of(run: Path, name: str, stage: Stage) -> Path:
    """Return the log of a stage."""
    return run / "logs" / (stage.log or f"{name}.log")


def shared_work(folder: Path) -> list[Path]:
    """Return the logs of what is at work for several runs in a working directory, as cells are."""
    logs = sorted(path for pattern in SHARED_LOGS for path in folder.glob(pattern))
    return [log for log in logs if is_held(log)]


def usual_seconds(runs: Iterable[Path]) -> dict[str, float]:
    """Return what each stage took, in seconds: the median over the runs that have had it."""
    found: dict[str, list[float]] = {}
    for run in runs:
        for name in STAGES:
            for path in (run / "benchmarks").glob(f"{name}*.tsv"):
                seconds = _benchmark(path)
                if seconds is not None and path.stem in (name, f"{name}_vcc", f"{name}_h5ad"):
                    found.setdefault(name, []).append(seconds)
    return {name: statistics.median(values) for name, values in found.items()}


def _benchmark(path: Path) -> float | None:
    """Return the wall-clock seconds that Snakemake measured; None where it has not ended to."""
    try:
        head, row = (line.split("\t") for line in path.read_text().splitlines()[:2])
        return float(row[head.index("s")])
    except (OSError, ValueError):
        return None


def _changed(path: Path) -> int:
    """Return when a file was last written, in nanoseconds; 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _may_be_starting(log: Path) -> bool:
    """Tell whether a job may go on that doesn't hold its log yet."""
    young = time.time() - log.stat().st_mtime < SECONDS_TO_START
    return young and not tells_its_end(log.read_text(errors="replace"))
