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
    *("safetargeting", "dmso", "vehicle", "negctrl", "negativecontrol", "scramble", "scrambled"),
    *("untreated", "unperturbed", "mock"),
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
    """Tell whether controls are called that, numbered or not; NT-3 is a protein."""
    plain = folded(name)
    stem = plain.rstrip("0123456789")
    return plain in _CONTROLS or (stem in _CONTROLS and stem != "nt")


_NOTHING = (
    *("none", "na", "n/a", "null", "unknown", "unassigned", "notassigned", "undetermined"),
    *("negative", "ambiguou", "multiplet", "doublet"),
)
"""What cells are called of which it isn't known what was done to them, folded, without an s."""


def names_no_perturbation(label: str, control: str) -> bool:
    """Tell whether a canonical label says that nothing is known, or is another control's."""
    parts = _split(label) or (label,)
    return label != control and any(
        folded(part).rstrip("s") in _NOTHING or is_control_name(part) for part in parts
    )


def control_names(names: Iterable[str]) -> list[str]:
    """Return the names that controls are called by, the likeliest first."""
    there = {folded(name): name for name in names}
    return [there[name] for name in _CONTROLS if name in there]
