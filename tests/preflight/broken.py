"""What a broken input is: one small change of a good one, and what must be said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.preflight.good_run import Inputs


@dataclass(frozen=True)
class Broken:
    """One fault, as people make it.

    Attributes
    ----------
    spoil
        Makes it, in good inputs.
    code
        Of the finding that must come, an error.
    words
        What its message must hold: the file, the key or label, what was found, what to do.
    overrides
        On top of the run file.
    """

    spoil: Callable[[Inputs], Any]
    code: str
    words: tuple[str, ...]
    overrides: tuple[str, ...] = ()


def nothing(_: Inputs) -> None:
    """Spoil nothing: the fault is in the overrides."""
