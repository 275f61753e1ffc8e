"""What the label of a perturbation says: one target, or a combination of several."""

from __future__ import annotations

JOINER = "+"
"""What joins the names of a combination of perturbations."""


def parts_of(label: str, control: str) -> tuple[str, ...]:
    """Return the perturbations that a combination is made of, nothing for a single one.

    The control among them is left out: ``A+control`` is A alone.
    """
    if JOINER not in label:
        return ()
    parts = tuple(part.strip() for part in label.split(JOINER))
    return tuple(part for part in parts if part != control) if all(parts) else ()
