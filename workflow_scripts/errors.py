"""The errors that a person is meant to read."""

from __future__ import annotations

import errno
from typing import Any

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where a file can't grow: the disk is full, or the user's share of it."""


class ConfigError(ValueError):
    """A config, run file or override that can't be used.

    The message says what is wrong, where (``file:line`` or the override's text), what was found
    there and what to do.
    """


class DataError(ValueError):
    """A file of data that can't be used.

    The message says what is wrong, where (file and key), what was found there and what to do.
    """


class StoppedError(Exception):
    """Work that was asked to stop; it kept what it had, and the same command continues it."""


def kind_of(value: Any) -> str:
    """Return what a value is, for messages."""
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return "empty" if value is None else shortened(value)


def shortened(value: Any) -> str:
    """Return a value as messages quote it: at most 200 characters, without control characters."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:199]}…"
