"""Predictions without information that are made of a model's: they match it if it has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from anndata import AnnData
from scipy.sparse import csr_matrix, issparse

from workflow_scripts.evaluation.engine import PERTURBATION


def same_cells(predicted: AnnData, control: str) -> AnnData:
    """Give every perturbation the same predicted cells, as many as it had.

    They are drawn from those of all perturbations, each of which gives the same number, as far as
    it has them: a mean response with the variance of predicted cells.
    """
    labels = predicted.obs[PERTURBATION].to_numpy(dtype=str)
    groups = {name: np.flatnonzero(labels == name) for name in np.unique(labels)}
    groups.pop(control)
    draws = np.random.Generator(np.random.Philox(key=0))
    shuffled = [draws.permutation(rows) for rows in groups.values()]
    # A cell of each in turn: the first cells are those of all perturbations alike.
    longest = max(map(len, shuffled))
    turns = [rows[at] for at in range(longest) for rows in shuffled if at < len(rows)]
    source = np.arange(len(labels))
    for rows in groups.values():
        source[rows] = np.resize(turns, len(rows))
    return AnnData(predicted.X[source], predicted.obs, predicted.var)


def doubled_variance(predicted: AnnData, control: str) -> AnnData:
    """Double the variance between the predicted cells of each perturbation, means kept.

    No value leaves the range that its gene has among the predicted cells (the engine refuses cells
    with impossible totals): where that cuts some, means move a little and variance grows less.
    """
    labels = predicted.obs[PERTURBATION].to_numpy(dtype=str)
    cells = predicted.X.toarray() if issparse(predicted.X) else predicted.X
    values = np.array(cells, dtype=np.float32)
    perturbed = values[labels != control]
    least, most = perturbed.min(axis=0), perturbed.max(axis=0)
    for name in np.unique(labels[labels != control]):
        rows = np.flatnonzero(labels == name)
        mean = values[rows].mean(axis=0, dtype=np.float64)
        wider = mean + np.sqrt(2.0) * (values[rows] - mean)
        values[rows] = np.clip(wider, least, most)
    return AnnData(values, predicted.obs, predicted.var)


def doubled_variance_of_counts(predicted: AnnData, control: str) -> AnnData:
    """Double the variance between the predicted cells of each perturbation, in counts.

    Each count is multiplied by 2, 0 or 1, the first two with the probability v/2 each. The
    multiplier has the mean 1 and the variance v, so that the mean μ of a gene stays and its
    variance s² becomes s² + v(s² + μ²): twice as much with v = s² / (s² + μ²).
    """
    labels = predicted.obs[PERTURBATION].to_numpy(dtype=str)
    counts = csr_matrix(predicted.X, dtype=np.float32, copy=True)
    draws = np.random.Generator(np.random.Philox(key=0))
    for name in np.unique(labels[labels != control]):
        rows = np.flatnonzero(labels == name)
        part = counts[rows]
        square = np.asarray(part.multiply(part).mean(axis=0), dtype=np.float64).ravel()
        mean = np.asarray(part.mean(axis=0), dtype=np.float64).ravel()
        half = np.divide(square - mean**2, 2 * square, out=np.zeros_like(mean), where=square > 0)
        for row in rows:
            span = slice(counts.indptr[row], counts.indptr[row + 1])
            chance, random = half[counts.indices[span]], draws.random(span.stop - span.start)
            counts.data[span] *= np.where(random < chance, 2.0, np.where(random < 2 * chance, 0, 1))
    counts.eliminate_zeros()
    return AnnData(counts, predicted.obs, predicted.var)


DERIVED: Mapping[str, Mapping[str, Callable[[AnnData, str], AnnData]]] = {
    "log1p": {"same_cells": same_cells, "doubled_variance": doubled_variance},
    "counts": {"same_cells": same_cells, "doubled_variance": doubled_variance_of_counts},
}
"""What is made of a model's predictions here, by their scale; the others are predicted."""
