"""Locks that end with the process that holds them."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import TextIO


def is_held(path: Path) -> bool:
    """Return whether a process holds a lock."""
    try:
        with path.open(encoding="utf-8") as file:
            return not try_lock(file, fcntl.LOCK_SH)
    except (FileNotFoundError, NotADirectoryError):
        return False


def try_lock(file: TextIO, kind: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file; return whether that succeeded."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
