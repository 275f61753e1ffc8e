"""The starts of a training: from which step each went on, where, and how it ended."""

from __future__ import annotations

import json
import platform
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow_scripts.cache.writing import write_atomically
from workflow_scripts.errors import StoppedError

if TYPE_CHECKING:
    from workflow_scripts.training.machine import Machine

STARTS = "starts.json"

PACKAGES = ("torch", "lightning", "transformers", "numpy")
"""What computes a training: a start tells of their versions."""


@contextmanager
def noted(
    path: Path, machine: Machine, *, start: int, logged: int, reached: Callable[[], int]
) -> Iterator[None]:
    """Note a start of a training, and at its end how it ended.

    A process that was killed leaves no word of its end: the next start tells how far its log went.

    Parameters
    ----------
    path
        The list of starts, JSON.
    machine
        Where the training runs; only its first process writes.
    start
        The step that it goes on from.
    logged
        The last step in the log of the starts before: what lies beyond ``start`` is repeated.
    reached
        Gives the step that the training has come to.
    """
    if machine.processes.rank:
        yield
        return
    entry = {
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "from_step": start,
        "repeats": max(logged - start, 0),
        "host": socket.gethostname(),
        "device": machine.device_name,
        "processes": machine.processes.ranks,
        "threads": machine.threads,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "cuda": machine.cuda_version,
    }
    earlier, began = read_starts(path), time.monotonic()

    def end(how: str) -> None:
        entry.update(to_step=reached(), seconds=round(time.monotonic() - began, 1), ended=how)
        _write(path, [*earlier, entry])

    _write(path, [*earlier, entry])
    try:
        yield
    except StoppedError:
        end("stopped")
        raise
    except BaseException:
        end("failed")
        raise
    end("finished")


def read_starts(path: Path) -> list[dict[str, Any]]:
    """Return the starts of a training, the first one first; none where nothing tells of any."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return found if isinstance(found, list) else []


def keep_starts(path: Path) -> None:
    """Leave a list of starts, empty where none can be read: of a training that was found done."""
    if not read_starts(path):
        _write(path, [])


def _write(path: Path, starts: list[dict[str, Any]]) -> None:
    write_atomically(path, json.dumps(starts, indent=1) + "\n")
