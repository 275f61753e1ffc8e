"""What the check of a config finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """What is wrong with a key.

    Attributes
    ----------
    path
        The key to change.
    text
        What is wrong, and what to do.
    beside
        Other keys that it doesn't fit: the fault may be theirs.
    about
        What the key means.
    """

    path: str
    text: str
    beside: tuple[str, ...] = ()
    about: str = ""
