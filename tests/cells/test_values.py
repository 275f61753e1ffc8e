"""What X holds is recognised, and what it can't hold is refused in words."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from workflow_scripts.cells.values import ValueSummary, decide_values
from workflow_scripts.errors import DataError


def counts(n_rows: int = 40, n_genes: int = 60) -> np.ndarray:
    return np.random.default_rng(0).poisson(2.0, (n_rows, n_genes)).astype(np.float64) + 0.0


def scaled(matrix: np.ndarray, target: float) -> np.ndarray:
    return matrix / matrix.sum(axis=1, keepdims=True) * target


def decide(matrix: np.ndarray, declared: str = "auto", **options: bool) -> str:
    summary = ValueSummary()
    for part in np.array_split(matrix.astype(np.float32), 3):  # as blocks of a file
        summary.add_rows(scipy.sparse.csr_matrix(part))
    return decide_values(summary, declared, "cells.h5ad: X", **options)


def test_counts_and_normalised_log1p_are_told_apart():
    assert decide(counts()) == "counts"
    assert decide(np.log1p(scaled(counts(), 1e4))) == "log1p"
    assert decide(np.log1p(scaled(counts(), 1e4)), "log1p") == "log1p"
    assert decide(counts(), "counts") == "counts"


@pytest.mark.parametrize(
    ("matrix", "declared", "message"),
    [
        (scaled(counts(), 1e6), "auto", "normalised, but not logged"),
        # Small enough to be taken for logarithms, but for their sums.
        (scaled(counts(), 100.0), "auto", "cells that all sum to 100"),
        (scaled(counts(), 100.0), "log1p", "cells that all sum to 100"),
        (np.log1p(counts()), "auto", "the log1p of raw counts, which were not normalised"),
        (counts() - 1.0, "auto", "negative values (the smallest is -1)"),
        (np.where(counts() == 3, np.nan, counts()), "auto", "NaN or infinite values"),
        (np.where(counts() == 3, np.inf, counts()), "auto", "NaN or infinite values"),
        (np.log1p(scaled(counts(), 1e4)), "counts", "cells.values says counts, but cells.h5ad: X"),
        (counts() * 50, "log1p", "has whole numbers up to"),
    ],
)
def test_other_values_are_refused_in_words(matrix, declared, message):
    with pytest.raises(DataError) as error:
        decide(matrix, declared)
    assert message in str(error.value)
    assert "cells.h5ad: X" in str(error.value)


def test_logged_raw_counts_are_taken_where_they_are_declared():
    assert decide(np.log1p(counts()), "log1p") == "log1p"


def test_counts_of_some_genes_can_not_be_normalised():
    with pytest.raises(DataError, match="raw counts of some genes"):
        decide(counts(), all_genes=False)
    assert decide(np.log1p(scaled(counts(), 1e4)), all_genes=False) == "log1p"


def test_one_gene_or_few_cells_decide_nothing_by_their_sums():
    assert decide(np.full((5, 1), 0.7)) == "log1p"
