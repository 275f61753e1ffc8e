"""How far the targets of a screen were knocked down, or activated, for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_ROWS = 500
"""Rows that a page shows; the audit has them all."""

WEAK = 0.5
"""Targets that changed by less than half are counted; for the words, nothing hangs on it."""


@dataclass(frozen=True)
class KnockdownTable:
    """Targets, the least changed in the screen's direction first.

    Attributes
    ----------
    rows
        Those of ``cells_audit.json`` with ``change``: of expression, as a share of the controls'.
    n_targets, n_left_out
        Targets there are, and rows beyond `MOST_ROWS`.
    sentence
        What a reader should know without opening the table.
    """

    rows: tuple[dict[str, Any], ...]
    n_targets: int
    n_left_out: int
    sentence: str


def knockdown_table(knockdowns: Sequence[Mapping[str, Any]]) -> KnockdownTable | None:
    """Return the table of a screen's knockdowns; None where no target is measured."""
    if not knockdowns:
        return None
    rows = [{**row, "change": 2.0 ** row["log2_fold_change"] - 1.0} for row in knockdowns]
    changes = np.array([row["change"] for row in rows])
    # CRISPR activation raises its targets: the median says which kind of screen it is.
    sign, verb = (1.0, "gained") if np.median(changes) > 0.0 else (-1.0, "lost")
    rows.sort(key=lambda row: sign * row["change"])
    weak = int((sign * changes < WEAK).sum())
    sentence = f"the median one {verb} {100 * abs(np.median(changes)):.0f} % of its expression"
    if weak:
        sentence += f"; {weak:,} of {len(rows):,} {verb} less than {100 * WEAK:.0f} %"
    return KnockdownTable(
        tuple(rows[:MOST_ROWS]),
        len({row["target"] for row in knockdowns}),
        max(0, len(rows) - MOST_ROWS),
        sentence,
    )
