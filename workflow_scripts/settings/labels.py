"""What the label of a perturbation says: a target, a combination of several, or a control."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

JOINER = "+"
"""What joins the names of a combination of perturbations."""


def parts_of(label: str, control: str) -> tuple[str, ...]:
    """Return the perturbations that a combination is made of, nothing for a single one.

    The control among them is left out: ``A+control`` is A alone. A plus in brackets joins nothing:
    ``(+)-JQ1`` is one drug.
    """
    if JOINER not in label:
        return ()
    parts = tuple(part.strip() for part in label.split(JOINER))
    if not all(part and part.count("(") == part.count(")") for part in parts):
        return ()
    return tuple(part for part in parts if part != control)


def targets_of(labels: Sequence[str], control: str) -> dict[str, tuple[str, ...]]:
    """Return the targets of each perturbation: its own name, or the parts of a combination."""
    return {label: parts_of(label, control) or (label,) for label in labels if label != control}


_CONTROLS = (
    *("control", "ctrl", "nontargeting", "nontargetingcontrol", "ntc", "nt"),
    *("safetargeting", "dmso", "vehicle"),
)
"""What controls are called, folded."""

_UNHEARD = ("Pd", "Pc", "Cc", "Cf")
"""Unicode's dashes, connectors (the underscore) and what has no width."""


def folded(name: str) -> str:
    """Return a name without case, dashes, dots, underscores and spaces, its letters composed."""
    plain = unicodedata.normalize("NFKC", name)
    kept = (letter for letter in plain if unicodedata.category(letter) not in _UNHEARD)
    return re.sub(r"[\s.−]", "", "".join(kept)).casefold()


def is_control_name(name: str) -> bool:
    """Tell whether controls are called that."""
    return folded(name) in _CONTROLS


def control_names(names: Iterable[str]) -> list[str]:
    """Return the names that controls are called by, the likeliest first."""
    there = {folded(name): name for name in names}
    return [there[name] for name in _CONTROLS if name in there]
