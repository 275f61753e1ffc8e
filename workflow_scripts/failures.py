"""What failed in a start of the workflow, in a person's words: read from Snakemake's log."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.settings.findings import printable

_BLOCK = re.compile(r"^Error in (?:rule|group) (\S+?):\n((?:    .*\n?)+)", re.MULTILINE)
_LOG = re.compile(r"^    log: (\S+)", re.MULTILINE)
_SAID = re.compile(r"^    message: (?!None$)(.+)$", re.MULTILINE)
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


@dataclass(frozen=True)
class Failure:
    """One job that failed.

    Attributes
    ----------
    run
        Folder of the run, or of what runs share.
    rule
        What it was to do.
    message
        What it says of that.
    log
        Where it says it; None where it has none.
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
        log = _LOG.search(body)
        path = None if log is None else Path(log[1].rstrip(","))
        run = "" if path is None else str(path.parents[1])
        said = _SAID.search(body)
        found[run, rule] = failure_of(run, rule, path, "" if said is None else said[1])
    return list(found.values())


def failure_of(run: str, rule: str, log: Path | None, said: str = "") -> Failure:
    """Return what became of a job that failed, from its log.

    Parameters
    ----------
    run, rule
        What it worked on, and what it was to do.
    log
        Its log; None where it has none.
    said
        What Snakemake says of it.
    """
    message, advice = _read(log, said)
    return Failure(run, rule, message, log, advice)


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


def _read(log: Path | None, said: str) -> tuple[str, str]:
    """Return what a job says of its end, and what to do."""
    try:
        text = "" if log is None else log.read_text(errors="replace")
    except OSError:
        text = ""
    if messages := _MESSAGE.findall(text):
        message = "\n".join(messages[:_MOST])
        return message, _lack(message) or (
            "Mend that, and start the same command again: what is done stays done."
        )
    if stopped := _STOPPED.findall(text):
        return stopped[-1], "Start the same command again."
    lines = [line for line in text.splitlines() if line.strip()][-_LAST_LINES:]
    what = "\n".join(filter(None, [said, *lines])) or "its log is empty"
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
