"""What the label of a perturbation says: a target, a combination of several, or a control."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

JOINER = "+"
"""What joins the names of a combination of perturbations."""


_JOINED = re.compile(r"\s+\+\s+|(?<=[^\s(])\+(?=[^\s)])")
"""A plus between two names. That of ``Ca2+``, ``Na+ salt`` or ``(+)-JQ1`` belongs to the name."""


def parts_of(label: str, control: str) -> tuple[str, ...]:
    """Return the perturbations that a combination is made of, nothing for a single one.

    The control among them is left out: ``A+control`` is A alone. A plus in brackets joins nothing:
    ``(+)-JQ1`` is one drug.
    """
    return tuple(part for part in _split(label) if part != control)


def canonical(label: str, control: str) -> str:
    """Return the one name that a perturbation is known by, however its label is written.

    The parts of a combination are sorted, each once, and controls (whatever they are called) left
    out: ``B+A`` is ``A+B``, and ``A+control`` and ``A+A`` are ``A``.
    """
    parts = {*_split(label)}
    if label == control or not parts:
        return label
    perturbed = [part for part in parts if part != control and not is_control_name(part)]
    return JOINER.join(sorted(perturbed)) or (control if parts == {control} else label)


def _split(label: str) -> tuple[str, ...]:
    parts = tuple(_JOINED.split(label))
    whole = all(part and part.count("(") == part.count(")") for part in parts)
    return parts if len(parts) > 1 and whole else ()


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
