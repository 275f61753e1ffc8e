"""Names the key or option that a person probably meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

RENAMED: Mapping[str, str] = {
    "engine.val_subsample_fraction": "data.kwargs.val_subsample_fraction",
    "prediction.unmasking": "prediction.negative_controls",
    "training.learning_rate": "training.lr",
}
"""Keys by names that earlier versions or other programs give them."""


def nearest(name: Any, known: Iterable[Any]) -> str:
    """Give the end of a message: the nearest known name, or all names where they are few.

    Returns
    -------
    Text that begins with a colon, empty where nothing is known.
    """
    names = [str(item) for item in known]
    if close := closest(str(name), names):
        return f": did you mean `{close}`?"
    if not names:
        return ""
    shown = ", ".join(names[:12])
    return f": there are {shown}" + (", …" if len(names) > 12 else "")


def closest(name: str, names: Sequence[str]) -> str | None:
    """Return the known name that is most like this one, if one is; upper and lower case agree."""
    for known in names:
        if known.casefold() == name.casefold():
            return known
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    return close[0] if close else None
