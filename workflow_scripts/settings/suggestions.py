"""Names the key or option that a person probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


def nearest(name: Any, known: Iterable[Any]) -> str:
    """Give the end of a message: the nearest known name, or all names where they are few.

    Returns
    -------
    Text that begins with a colon, empty where nothing is known.
    """
    names = [str(item) for item in known]
    close = get_close_matches(str(name), names, n=1, cutoff=0.6)
    if close:
        return f": did you mean `{close[0]}`?"
    if not names:
        return ""
    shown = ", ".join(names[:12])
    return f": there are {shown}" + (", …" if len(names) > 12 else "")
