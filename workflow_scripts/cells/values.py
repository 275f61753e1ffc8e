"""What the numbers in X are: raw counts or log1p values, and whether they can be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from workflow_scripts.settings.errors import DataError

Values = Literal["counts", "log1p"]

LARGEST_LOG1P = 16.0
"""log1p(8.9 million): no cell is normalised to more counts than that in one gene."""


@dataclass
class ValueSummary:
    """What has been seen so far of a matrix's stored values."""

    n_values: int = 0
    smallest: float = np.inf
    largest: float = -np.inf
    fractional: bool = False
    n_not_finite: int = 0

    def add(self, values: np.ndarray) -> None:
        """Look at more values (one dimension)."""
        if values.size == 0:
            return
        finite = np.isfinite(values)
        if not finite.all():
            self.n_not_finite += int(values.size - finite.sum())
            values = values[finite]
        self.n_values += int(finite.size)
        if values.size:
            self.smallest = min(self.smallest, float(values.min()))
            self.largest = max(self.largest, float(values.max()))
            self.fractional = self.fractional or bool((values != np.rint(values)).any())


def decide_values(summary: ValueSummary, declared: str, where: str) -> Values:
    """Return what the values are; DataError where they can't be what was declared.

    Parameters
    ----------
    summary
        What was seen.
    declared
        ``cells.values``: counts, log1p or auto.
    where
        The file, for messages.
    """
    if summary.n_not_finite:
        raise DataError(
            f"{where}: X has {summary.n_not_finite} NaN or infinite values; remove these cells "
            "or find out what made them"
        )
    if summary.n_values and summary.smallest < 0:
        raise DataError(
            f"{where}: X has negative values (the smallest is {summary.smallest:g}); scaled or "
            "centred values can't be used: give raw counts or log1p values"
        )
    seen: Values = "log1p" if summary.fractional else "counts"
    if seen == "log1p" and summary.largest > LARGEST_LOG1P:
        raise DataError(
            f"{where}: X has fractional values up to {summary.largest:g}: neither raw counts nor "
            "log1p values (were they normalised, but not logged?); give one of these two"
        )
    if declared == "counts" and seen != "counts":
        raise DataError(
            f"{where}: cells.values says counts, but X has fractional values; "
            "set cells.values=log1p or auto, or give the raw counts"
        )
    if declared == "log1p" and seen == "counts" and summary.largest > LARGEST_LOG1P:
        raise DataError(
            f"{where}: cells.values says log1p, but X has whole numbers up to "
            f"{summary.largest:g}; set cells.values=counts or auto"
        )
    return seen if declared == "auto" else "counts" if declared == "counts" else "log1p"
