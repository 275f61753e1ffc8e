"""What the numbers in X are: raw counts or log1p values, and whether they can be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse

from workflow_scripts.errors import DataError
from workflow_scripts.settings.findings import Finding

Values = Literal["counts", "log1p"]

LARGEST_LOG1P = 16.0
"""log1p(8.9 million): no cell is normalised to more counts than that in one gene."""

_SAME_SUM = 1e-3
"""Sums of cells scaled to one target agree to this share, even where genes were dropped since."""

_FEW_CELLS = 10
"""With fewer cells than this, sums that agree mean nothing."""

_LOGGED_COUNT = 1e-3
"""What expm1 of the float32 log1p of a count below `_SMALL` may be off a whole number."""

_SMALL = 100.0


@dataclass
class ValueSummary:
    """What has been seen so far of a matrix's stored values.

    Attributes
    ----------
    n_values, smallest, largest, fractional, n_not_finite
        Of the stored values.
    n_rows, least_sum, most_sum
        Of the sums of whole cells.
    n_logged_counts
        Values whose expm1 is a whole number below `_SMALL`; None once one was seen whose is not.
    """

    n_values: int = 0
    smallest: float = np.inf
    largest: float = -np.inf
    fractional: bool = False
    n_not_finite: int = 0
    n_rows: int = 0
    least_sum: float = np.inf
    most_sum: float = -np.inf
    n_logged_counts: int | None = 0

    def add_rows(self, block: scipy.sparse.csr_matrix) -> np.ndarray:
        """Look at whole cells; return their sums [rows], float64."""
        self.add(block.data)
        sums: np.ndarray = np.asarray(block.sum(axis=1, dtype=np.float64)).ravel()
        if sums.size and np.isfinite(sums).all():
            self.n_rows += sums.size
            self.least_sum = min(self.least_sum, float(sums.min()))
            self.most_sum = max(self.most_sum, float(sums.max()))
        return sums

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
            self._look_for_logged_counts(values)

    @property
    def scaled_alike(self) -> bool:
        """Whether all cells have one sum, as after normalisation and before the logarithm."""
        spread = self.most_sum - self.least_sum
        return self.n_rows >= _FEW_CELLS and spread <= _SAME_SUM * abs(self.most_sum)

    @property
    def logged_counts(self) -> bool:
        """Whether the values are log1p of whole counts, which nobody normalised."""
        return self.fractional and bool(self.n_logged_counts)

    def _look_for_logged_counts(self, values: np.ndarray) -> None:
        if self.n_logged_counts is None:
            return
        # The first thousand settle it for nearly every file that holds anything else.
        for part in (values[:1000], values[1000:]):
            counts = np.expm1(np.minimum(part, 20.0).astype(np.float64))
            counts = counts[counts < _SMALL]
            if (np.abs(counts - np.rint(counts)) > _LOGGED_COUNT).any():
                self.n_logged_counts = None
                return
            self.n_logged_counts += counts.size


_BACK: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "log1p": np.expm1,
    "log2(1 + x)": lambda values: np.exp2(values) - 1.0,
    "log10(1 + x)": lambda values: np.power(10.0, values) - 1.0,
    "log1p taken twice": lambda values: np.expm1(np.expm1(values)),
    "not logged at all": lambda values: values,
}
"""What was done to normalised counts, to what leads back to them."""

_ENOUGH = 100
"""Fewer values than this don't tell whether they are whole multiples."""


def find_scale(matrix: scipy.sparse.csr_matrix) -> str | None:
    """Return what was done to normalised counts (a key of `_BACK`); None where nothing leads back.

    Normalised counts of all genes have one sum in every cell. Those of some genes are whole
    multiples of the least value in their cell, which is one count.
    """
    for name, back in _BACK.items():
        with np.errstate(all="ignore"):
            linear = matrix.astype(np.float64)
            linear.data = back(linear.data)
            starts = linear.indptr[:-1][np.diff(linear.indptr) > 0]
            least = np.minimum.reduceat(linear.data, starts)
            multiples = linear.data / np.repeat(least, np.diff(np.append(starts, linear.nnz)))
            multiples = multiples[(multiples > 1.001) & (multiples < 10.0)]
            known = len(multiples) >= _ENOUGH
            whole = np.abs(multiples - np.rint(multiples)) < 0.03
            alike = one_sum(np.asarray(linear.sum(axis=1)).ravel(), _SAME_SUM) is not None
        if alike or (whole.mean() > 0.9 if known else name == "log1p"):
            return name
    return None


def against_log1p(matrix: scipy.sparse.csr_matrix, base: float | None) -> tuple[str, bool] | None:
    """Return what speaks against log1p of normalised counts, and whether it is certain.

    ``base`` is that of the logarithm, where the file names one.
    """
    scale = find_scale(matrix)
    if scale == "log1p":
        return None
    if scale is not None:
        return f"holds normalised counts, {scale}", True
    if base is not None and not np.isclose(base, np.e):
        return f"is no log1p: uns['log1p']['base'] is {base:g}", True
    text = (
        "is taken for log1p of normalised counts, though expm1 leads neither to whole multiples "
        "of one count in a cell nor to one sum in all cells; were the counts denoised, averaged or "
        "fractional?"
    )
    return text, False


def one_sum(sums: np.ndarray, tolerance: float = 0.01) -> float | None:
    """Return the sum that (nearly) all of some cells have; None where they have no common one."""
    if len(sums) < _FEW_CELLS:
        return None
    low, middle, high = np.percentile(sums, [5, 50, 95])
    return float(middle) if high - low <= tolerance * middle else None


OTHER_SUM, MIXED_SUMS = 1.05, 2.0
"""Factors between the sums that cells were normalised to: of a warning, and of an error."""


def compare_sums(sums: Mapping[str, float], declared: str) -> list[Finding]:
    """Find cells that were normalised to other sums (by file and context) than their like."""
    low, high = (choose(sums, key=sums.__getitem__, default="") for choose in (min, max))
    factor = sums[high] / sums[low] if sums else 1.0
    if factor < OTHER_SUM:
        return []
    text = (
        f"cells were normalised to different sums before log1p, {high} to {sums[high]:.6g} and "
        f"{low} to {sums[low]:.6g}, so that they differ by a factor of {factor:.3g}; "
        "normalise all cells to one sum"
    )
    if factor < MIXED_SUMS or declared != "auto":
        return [Finding("warning", "target-sums", text)]
    text += ", or set cells.values=log1p to use them as they are"
    return [Finding("error", "target-sums", text)]


def decide_values(
    summary: ValueSummary, declared: str, where: str, *, all_genes: bool = True
) -> Values:
    """Return what the values are; DataError where they can't be what was declared.

    Parameters
    ----------
    summary
        What was seen.
    declared
        ``cells.values``: counts, log1p or auto.
    where
        File and matrix, for messages.
    all_genes
        The matrix holds all genes of a cell, so that counts can be normalised by their sum.
    """
    if summary.n_not_finite:
        raise DataError(
            f"{where} has {summary.n_not_finite} NaN or infinite values; remove these cells "
            "or find out what made them"
        )
    if summary.n_values and summary.smallest < 0:
        raise DataError(
            f"{where} has negative values (the smallest is {summary.smallest:g}); scaled or "
            "centred values can't be used: give raw counts or log1p values"
        )
    seen: Values = "log1p" if summary.fractional else "counts"
    if seen == "log1p" and (summary.largest > LARGEST_LOG1P or summary.scaled_alike):
        found = f"fractional values up to {summary.largest:g}"
        if summary.scaled_alike:
            found += f" and cells that all sum to {summary.most_sum:g}"
        raise DataError(
            f"{where} has {found}: neither raw counts nor log1p values (were they normalised, but "
            "not logged?); give one of these two"
        )
    if declared == "counts" and seen != "counts":
        raise DataError(
            f"cells.values says counts, but {where} has fractional values; "
            "set cells.values=log1p or auto, or give the raw counts"
        )
    if declared == "log1p" and seen == "counts" and summary.largest > LARGEST_LOG1P:
        raise DataError(
            f"cells.values says log1p, but {where} has whole numbers up to "
            f"{summary.largest:g}; set cells.values=counts or auto"
        )
    if declared == "auto" and summary.logged_counts:
        raise DataError(
            f"{where} has the log1p of raw counts, which were not normalised: cells would differ "
            "by their depth; give the raw counts, or set cells.values=log1p to use them as they are"
        )
    decided: Values = "counts" if declared == "counts" else "log1p"
    decided = seen if declared == "auto" else decided
    if decided == "counts" and not all_genes:
        raise DataError(
            f"{where} has raw counts of some genes, which can't be normalised without the others; "
            "give it log1p values, or read X (data.kwargs.embed_key=null)"
        )
    return decided
