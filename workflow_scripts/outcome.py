"""What is said before the first job and after the last: places, results, and what failed."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from workflow_scripts.inputs import CELLS, RunInputs, compared, comparison
from workflow_scripts.settings.findings import printable

_BLOCK = re.compile(r"^Error in (?:rule|group) (\S+?):\n((?:    .*\n?)+)", re.MULTILINE)
_LOG = re.compile(r"^    log: (\S+)", re.MULTILINE)
_TOLD = re.compile(r"^    message: (?!None$)(.+)$", re.MULTILINE)
_MESSAGE = re.compile(r"^error: .*(?:\n(?!\w+: ).+)*", re.MULTILINE)
_STOPPED = re.compile(r"^stopped by .*", re.MULTILINE)
_LACKS = {
    re.compile(pattern, re.IGNORECASE): advice
    for pattern, advice in {
        r"no space left|disk quota exceeded|file too large": (
            "The disk is full, or the part of it that is yours: make room, and start the same "
            "command again."
        ),
        r"cuda out of memory|no gpu memory": (
            "The GPU's memory is full: free it of other work, or lower engine.batch and "
            "engine.gpu_cells; then start the same command again."
        ),
        # What Python, torch, OpenBLAS, LLVM, the loader of libraries, the system and Slurm say.
        r"memoryerror|out of memory(?!\?)|out_of_memory|oom.kill|bad_alloc|memory allocation|"
        r"(?:can't|cannot|unable to) allocate|failed to map segment|can't start new thread": (
            "The memory is full, or the part of it that a job may take: end other work, or allow "
            "jobs more (mem_mb in a profile's set-resources, ulimit -v); then start the same "
            "command again."
        ),
    }.items()
}
"""What logs say where disk or memory is short, and what to do then."""

ROOM = 10_000_000
"""Bytes that a disk has to have, or it is called full."""

_LAST_LINES = 5
"""Of a log in which nothing is known: that many are shown."""

_MOST = 12
"""Messages that are shown of a job; its log has all."""

WIDTH = 100
"""Characters of a box's edge."""


def places_of(runs: Mapping[str, RunInputs], cache: str) -> list[Path]:
    """Return the folders that jobs write into, or the nearest of their parents that is there."""
    inside = ("", "logs", "benchmarks", "checkpoints", "finished", "preflight")
    wanted = [Path(cache), Path(CELLS), *(Path(run, name) for run in runs for name in inside)]
    found = (next(path for path in (one, *one.parents) if path.exists()) for one in wanted)
    return list(dict.fromkeys(path.resolve() for path in found))


def closed_places(places: Iterable[Path]) -> str | None:
    """Return what stops every job by itself, without a log: folders that can't be written to."""
    if closed := [path for path in places if not os.access(path, os.W_OK | os.X_OK)]:
        lines = "\n".join(f"  {path}" for path in closed)
        return (
            f"nothing was started, as these can't be written to:\n{lines}\n"
            "change their permissions, or give runs another output_dir (or cache_dir)"
        )
    return None


def end_with_jobs(number: int, frame: Any) -> None:
    """End the jobs with Snakemake.

    A signal to Snakemake alone, as an editor's stop button sends it, doesn't reach them. Snakemake
    would go on until they end, which takes hours of a training.
    """
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.terminate()
    raise KeyboardInterrupt


def print_full_disks(places: Iterable[Path]) -> None:
    """Name the disks that are full: jobs that met that could not even write their logs.

    Snakemake itself blames permissions where it can't write its records.
    """
    on_disk = {path.stat().st_dev: path for path in places if path.exists()}
    for path in on_disk.values():
        if (free := shutil.disk_usage(path).free) < ROOM:
            print(f"{path}: its disk has {free / 1e6:.1f} MB left; make room, and start again")


def closing_lines(runs: Mapping[str, RunInputs]) -> Iterator[str]:
    """Yield for each run where its report lies, or that it has none yet."""
    for run in runs:
        pages = [Path(run, name).resolve() for name in ("report.html", "preflight/findings.html")]
        page = next((path for path in pages if path.exists()), None)
        if page is None or (len(runs) > 1 and page != pages[0]):
            yield f"{run}: not finished; see the logs in {Path(run, 'logs').resolve()}"
        else:
            yield f"{run}: {page}"
            yield from _warnings_of(Path(run, "preflight/findings.json"))
    for path in comparison(runs)[:1]:
        if Path(path).exists():
            yield f"{len(compared(runs))} runs compared: {Path(path).resolve()}"


def _warnings_of(path: Path) -> list[str]:
    try:
        found = json.loads(path.read_text())["findings"]
    except (OSError, ValueError, LookupError):
        return [f"warning: {path} can't be read"]
    entries = [entry for entries in found.values() for entry in entries]
    warnings = [entry["message"] for entry in entries if entry["severity"] == "warning"]
    return [printable(f"warning: {message}") for message in warnings]


@dataclass(frozen=True)
class Failure:
    """One job that failed.

    Attributes
    ----------
    run, rule
        Folder of the run, or of what runs share, and the rule.
    message
        How it ended, in its own words.
    log
        Its log; None if it has none.
    advice
        What to do next.
    """

    run: str
    rule: str
    message: str
    log: Path | None
    advice: str


def failures(text: str) -> list[Failure]:
    """Return the jobs that failed last, each rule and run once, from the text of a Snakemake log.

    A job that was tried again is there once, as it ended the last time.
    """
    found: dict[tuple[str, str], Failure] = {}
    for block in _BLOCK.finditer(text):
        rule, body = block[1], block[2]
        log, told = _LOG.search(body), _TOLD.search(body)
        path = None if log is None else Path(log[1].rstrip(","))
        run = "" if path is None else str(path.parents[1])
        message, advice = _read(path, "" if told is None else told[1])
        found[run, rule] = Failure(run, rule, message, path, advice)
    return list(found.values())


def box(found: Iterable[Failure]) -> str:
    """Return failures as a text between two lines, ready to be printed; empty where none is."""
    parts = []
    for failure in found:
        lines = [f"{failure.run}: {failure.rule} failed", *failure.message.splitlines()]
        if failure.log is not None:
            lines.append(f"log: {failure.log.resolve()}")
        lines.append(failure.advice)
        parts.append("\n".join(lines))
    if not parts:
        return ""
    return "\n".join(["─" * WIDTH, printable("\n\n".join(parts)), "─" * WIDTH])


def _read(log: Path | None, told: str) -> tuple[str, str]:
    """Return how a job ended, in its own words or Snakemake's (`told`), and what to do."""
    try:
        text = "" if log is None else log.read_text(errors="replace")
    except OSError:
        text = ""
    if messages := _MESSAGE.findall(text):
        message = "\n".join(messages[:_MOST])
        fix = "Fix that, and start the same command again: what is done stays done."
        return message, _lack(message) or fix
    if stopped := _STOPPED.findall(text):
        return stopped[-1], "Start the same command again."
    lines = [line for line in text.splitlines() if line.strip()][-_LAST_LINES:]
    what = "\n".join(filter(None, [told, *lines])) or "its log is empty"
    _, traceback, raised = text.partition("Traceback (most recent call last)")
    full = log is not None and log.exists() and shutil.disk_usage(log).free < ROOM
    if advice := _lack("no space left" if full else f"{what}\n{raised}"):
        return what, advice
    if traceback:
        return what, "This is a defect of the workflow: please report it, with the log."
    return what, (
        "It ended without a word of its own: killed, or out of memory, most likely. More of that: "
        "mem_mb in a profile's set-resources; then start the same command again."
    )


def _lack(text: str) -> str | None:
    """Return what to do where a text says that disk or memory was short; None where it doesn't."""
    return next((advice for pattern, advice in _LACKS.items() if pattern.search(text)), None)
