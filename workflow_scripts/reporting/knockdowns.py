"""How far the targets of a screen were knocked down, for a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workflow_scripts.reporting.formats import Knockdown

MOST_ROWS = 500
"""Rows that a page shows; the audit has them all."""

WEAK = 0.5
"""Targets that lost less than half are counted; a choice for the words, nothing hangs on it."""


@dataclass(frozen=True)
class KnockdownTable:
    """Targets, the least knocked down first.

    Attributes
    ----------
    rows
        `formats.Knockdown` with ``lost``, the share of expression that is gone.
    n_targets, n_left_out
        Targets there are, and rows beyond `MOST_ROWS`.
    sentence
        What a reader should know without opening the table.
    """

    rows: tuple[dict[str, Any], ...]
    n_targets: int
    n_left_out: int
    sentence: str


def knockdown_table(knockdowns: Sequence[Knockdown]) -> KnockdownTable | None:
    """Return the table of a screen's knockdowns; None where no target is measured."""
    if not knockdowns:
        return None
    rows = [{**row, "lost": 1.0 - 2.0 ** row["log2_fold_change"]} for row in knockdowns]
    rows.sort(key=lambda row: row["lost"])
    lost = np.array([row["lost"] for row in rows])
    weak = int((lost < WEAK).sum())
    sentence = f"the median one lost {100 * np.median(lost):.0f} % of its expression"
    if weak:
        sentence += f"; {weak:,} of {len(rows):,} lost less than {100 * WEAK:.0f} %"
    return KnockdownTable(
        tuple(rows[:MOST_ROWS]),
        len({row["target"] for row in knockdowns}),
        max(0, len(rows) - MOST_ROWS),
        sentence,
    )
