"""Mean effects of perturbations, observed and predicted, gene by gene."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy.sparse import csr_matrix


def group_means(cells: AnnData) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """Average the cells of each perturbation.

    Returns
    -------
    names
        The labels in ``obs["perturbation"]``, sorted, the control's included.
    means
        One row a label, one column a gene, in the units of ``X``.
    """
    labels = cells.obs["perturbation"].to_numpy(dtype=str)
    names, codes = np.unique(labels, return_inverse=True)
    rows = np.arange(len(codes))
    members = csr_matrix((np.ones(len(codes)), (codes, rows)), shape=(len(names), len(codes)))
    sums = members @ cells.X
    dense = np.asarray(sums.todense() if hasattr(sums, "todense") else sums, dtype=np.float64)
    return names, dense / np.bincount(codes)[:, None]


def log1p_values(cells: AnnData) -> AnnData:
    """Return raw counts as log1p of counts normalised to 10,000 a cell.

    The sum is that of the genes at hand, as the scorer normalises them.
    """
    counts = csr_matrix(cells.X, dtype=np.float64)
    totals = np.asarray(counts.sum(axis=1)).ravel()
    scales = np.repeat(TARGET_SUM / np.maximum(totals, 1.0), np.diff(counts.indptr))
    counts.data = np.log1p(counts.data * scales)
    return AnnData(counts.astype(np.float32), cells.obs, cells.var)


TARGET_SUM = 10_000.0
"""Counts that a cell is scaled to before log1p, for our own figures of effects."""


def mean_effects(
    predicted: AnnData, observed: AnnData, control: str, *, own_controls: bool = False
) -> pd.DataFrame:
    """Compare predicted with observed effects in one context.

    An effect is the mean log1p expression of a perturbation's cells less that of the *observed*
    controls, on both sides: a prediction can't gain by moving its own reference. With
    ``own_controls``, predicted cells are held against the controls of their own file.

    Returns
    -------
    pandas.DataFrame
        Columns perturbation, gene (categories), observed_effect, predicted_effect (float32, in
        units of log1p expression); sorted by perturbation, genes in the order of the panel.
    """
    names, observed_means = group_means(observed)
    predicted_names, predicted_means = group_means(predicted)
    if not np.array_equal(names, predicted_names):
        raise ValueError("observed and predicted cells carry different labels")
    perturbed = names != control
    baseline = observed_means[~perturbed]
    own_baseline = predicted_means[~perturbed] if own_controls else baseline
    genes = observed.var_names
    n_perturbations, n_genes = int(perturbed.sum()), len(genes)
    return pd.DataFrame(
        {
            "perturbation": pd.Categorical.from_codes(
                np.repeat(np.arange(n_perturbations), n_genes), categories=names[perturbed]
            ),
            "gene": pd.Categorical.from_codes(
                np.tile(np.arange(n_genes), n_perturbations), categories=genes
            ),
            "observed_effect": (observed_means[perturbed] - baseline).ravel().astype(np.float32),
            "predicted_effect": (predicted_means[perturbed] - own_baseline)
            .ravel()
            .astype(np.float32),
        }
    )
