"""Observed and predicted effects, gene by gene, and what is wrong with the predicted ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float64
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from workflow_scripts.cells.results import Diagnosis

CORRELATED = 50
"""Genes whose correlations are compared, those with the largest sums."""

TARGET_SUM = 10_000.0
"""Counts that a cell is scaled to before log1p, for our own figures of effects."""


def _group_sums(values: csr_matrix, labels: NDArray[np.str_]) -> pd.DataFrame:
    """Sum the cells of each label: a row a label, sorted, and a column a gene."""
    names, codes = np.unique(labels, return_inverse=True)
    members = (np.ones(len(codes)), (codes, np.arange(len(codes))))
    sums = csr_matrix(members, shape=(len(names), len(codes))) @ values
    dense = sums.toarray() if hasattr(sums, "toarray") else sums
    return pd.DataFrame(np.asarray(dense, dtype=np.float64), index=names)


def log1p_values(cells: AnnData) -> AnnData:
    """Return raw counts as log1p of counts normalised to `TARGET_SUM` a cell.

    The sum is that of the genes at hand, as the scorer normalises them.
    """
    counts = csr_matrix(cells.X, dtype=np.float64)
    totals = np.asarray(counts.sum(axis=1)).ravel()
    scales = np.repeat(TARGET_SUM / np.maximum(totals, 1.0), np.diff(counts.indptr))
    counts.data = np.log1p(counts.data * scales)
    return AnnData(counts.astype(np.float32), cells.obs, cells.var)


def mean_effects(
    predicted: AnnData, observed: AnnData, control: str, *, own_controls: bool = False
) -> pd.DataFrame:
    """Compare predicted with observed effects in one context.

    An effect is the mean log1p expression of a perturbation's cells less that of the *observed*
    controls, on both sides: a prediction can't gain by moving its own reference. With
    ``own_controls``, predicted cells are held against the controls of their own file.

    Returns
    -------
    Columns perturbation, gene (categories), observed_effect, predicted_effect (float32); sorted by
    perturbation, genes in the order of the panel.
    """
    means = {}
    for side, cells in (("observed", observed), ("predicted", predicted)):
        labels = cells.obs["perturbation"].to_numpy(dtype=str)
        sums = _group_sums(cells.X, labels)
        means[side] = sums.div(pd.Series(labels).value_counts(), axis=0)
    perturbations = means["observed"].index.drop(control)
    genes = observed.var_names
    table = pd.DataFrame(
        {
            "perturbation": pd.Categorical.from_codes(
                np.repeat(np.arange(len(perturbations)), len(genes)), categories=perturbations
            ),
            "gene": pd.Categorical.from_codes(
                np.tile(np.arange(len(genes)), len(perturbations)), categories=genes
            ),
        }
    )
    for side in ("observed", "predicted"):
        reference = means[side if own_controls else "observed"].loc[control]
        effects = means[side].loc[perturbations] - reference
        table[f"{side}_effect"] = effects.to_numpy().ravel().astype(np.float32)
    return table


def _profiles(
    effects: pd.DataFrame,
) -> tuple[Float64[np.ndarray, "perturbations genes"], Float64[np.ndarray, "perturbations genes"]]:
    """Return observed and predicted effects as matrices."""
    shape = (len(effects["perturbation"].cat.categories), -1)
    observed, predicted = (
        effects[f"{side}_effect"].to_numpy(np.float64).reshape(shape)
        for side in ("observed", "predicted")
    )
    return observed, predicted


def describe_perturbations(effects: pd.DataFrame) -> pd.DataFrame:
    """Return which perturbation each prediction of a context looks like, and how large its effect.

    Predicted and observed mean effects are compared by their cosine over all genes.

    Parameters
    ----------
    effects
        From `mean_effects`.

    Returns
    -------
    Columns perturbation; own_rank, of its own observed effect among all by closeness to the
    prediction (1: the closest; ties share their mean rank); taken_for, the closest one; cosine, to
    its own; effect_size, the norm of the observed effect. The middle three are missing where a
    prediction has no effect at all.
    """
    names = effects["perturbation"].cat.categories
    observed, predicted = _profiles(effects)
    sizes = np.linalg.norm(observed, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        predicted = predicted / np.linalg.norm(predicted, axis=1, keepdims=True)
        matrix = predicted @ (observed / sizes[:, None]).T
    cosines = pd.DataFrame(matrix, index=names, columns=names)
    known = cosines.notna().any(axis=1)
    return pd.DataFrame(
        {
            "perturbation": names.astype(str),
            "own_rank": np.diag(cosines.rank(axis=1, ascending=False)),
            "taken_for": cosines[known].idxmax(axis=1).reindex(names).to_numpy(dtype=object),
            "cosine": np.diag(cosines),
            "effect_size": sizes,
        }
    )


def compare_genes(predicted: AnnData, observed: AnnData, control: str) -> pd.DataFrame:
    """Compare the perturbed cells of one context gene by gene.

    Returns
    -------
    Columns gene; mean, over all perturbed cells; variance, between the cells of a perturbation,
    pooled over perturbations; zeros, the share of values that are zero: each ``_observed`` and
    ``_predicted``.
    """
    table = {"gene": observed.var_names.astype(str).to_numpy()}
    for side, cells in (("observed", observed), ("predicted", predicted)):
        labels = cells.obs["perturbation"].to_numpy(dtype=str)
        rows = np.flatnonzero(labels != control)
        perturbed = csr_matrix(cells.X[rows])
        sums = _group_sums(perturbed, labels[rows])
        squares = np.asarray(perturbed.multiply(perturbed).sum(axis=0), dtype=np.float64).ravel()
        sizes = pd.Series(labels[rows]).value_counts()
        within = squares - (sums**2).div(sizes, axis=0).sum().to_numpy()
        table[f"mean_{side}"] = sums.sum().to_numpy() / len(rows)
        table[f"variance_{side}"] = np.maximum(within, 0.0) / len(rows)
        table[f"zeros_{side}"] = 1.0 - perturbed.getnnz(axis=0) / len(rows)
    return pd.DataFrame(table)


def correlation_errors(
    predicted: AnnData, observed: AnnData, control: str
) -> tuple[float, float, float]:
    """Return how far gene–gene correlations are from those of the observed perturbed cells.

    Root mean squared differences over pairs of the most expressed genes: of the predicted cells, of
    the controls, and of one half of the observed cells from the other. Cells are centred on the
    mean of their perturbation; NaN where fewer than two genes vary.
    """
    labels = observed.obs["perturbation"].to_numpy(dtype=str)
    perturbed = np.flatnonzero(labels != control)
    most = np.argsort(np.asarray(observed.X[perturbed].sum(axis=0)).ravel())[-CORRELATED:]
    halves = np.random.default_rng(0).permutation(perturbed)
    parts = [perturbed, np.flatnonzero(labels == control), halves[::2], halves[1::2]]
    own, controls, *half = (_correlations(observed[part], most) for part in parts)
    labels = predicted.obs["perturbation"].to_numpy(dtype=str)
    found = _correlations(predicted[np.flatnonzero(labels != control)], most)
    return _difference(found, own), _difference(controls, own), _difference(*half)


def _correlations(cells: AnnData, genes: NDArray[np.intp]) -> Float64[np.ndarray, "genes genes"]:
    values = pd.DataFrame(csr_matrix(cells.X)[:, genes].toarray().astype(np.float64))
    labels = cells.obs["perturbation"].to_numpy(dtype=str)
    centred = values - values.groupby(labels).transform("mean")
    if len(centred) < 2:
        return np.full((len(genes), len(genes)), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: np.ndarray = np.corrcoef(centred.to_numpy(), rowvar=False)
    return found.reshape(len(genes), len(genes))


def _difference(
    one: Float64[np.ndarray, "genes genes"], other: Float64[np.ndarray, "genes genes"]
) -> float:
    squared = np.square(one - other)[np.triu_indices(len(one), 1)]
    return float(np.sqrt(np.nanmean(squared))) if np.isfinite(squared).any() else float("nan")


def diagnose(
    effects: pd.DataFrame, genes: pd.DataFrame, correlations: tuple[float, float, float]
) -> Diagnosis:
    """Sum up `mean_effects`, `compare_genes` and `correlation_errors` of one context.

    None stands where nothing was observed that could be compared with.
    """
    observed, predicted = _profiles(effects)
    size, spread = float((observed**2).sum()), _between(observed)
    varies = genes["variance_observed"] > 0
    ratio = genes["variance_predicted"][varies] / genes["variance_observed"][varies]
    dead = (genes["zeros_predicted"] == 1.0) & (genes["zeros_observed"] <= 0.9)
    return Diagnosis(
        amplitude_slope=float((observed * predicted).sum()) / size if size else None,
        error_ratio=float(((predicted - observed) ** 2).sum()) / size if size else None,
        collapse_index=_between(predicted) / spread if spread else None,
        variance_ratio=float(ratio.median()) if varies.any() else None,
        zeros_observed=float(genes["zeros_observed"].mean()),
        zeros_predicted=float(genes["zeros_predicted"].mean()),
        mean_difference=float((genes["mean_predicted"] - genes["mean_observed"]).abs().mean()),
        dead_genes=float(dead.sum()),
        correlation_errors=[None if np.isnan(value) else value for value in correlations],
    )


def _between(effects: Float64[np.ndarray, "perturbations genes"]) -> float:
    return float(((effects - effects.mean(axis=0)) ** 2).sum())
