"""Locks that end with the process that holds them."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TextIO

STDOUT = 1
"""File descriptor of standard output."""


def hold_log() -> None:
    """Lock the file that standard output goes to, for as long as this process lives.

    So whoever looks on knows that the work that writes this log goes on (`is_held`), and not only
    that it began. A terminal, a pipe, or a log that another process holds is left alone.
    """
    with suppress(OSError):
        if stat.S_ISREG(os.fstat(STDOUT).st_mode):
            fcntl.flock(STDOUT, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_held(path: Path) -> bool:
    """Tell whether a process holds a lock or a log."""
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
