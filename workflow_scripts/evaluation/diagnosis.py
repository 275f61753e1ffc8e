"""What is wrong with predictions, beyond how far off they are: too small, too alike, mistaken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float64
from scipy.sparse import csr_matrix


def diagnose(effects: pd.DataFrame) -> dict[str, Any]:
    """Compare the predicted effects of one context with the observed ones as a whole.

    Parameters
    ----------
    effects
        From `mean_effects`: a row a perturbation and gene, perturbations one after the other.

    Returns
    -------
    amplitude_slope
        Least-squares slope through the origin of predicted on observed effects, over all genes and
        perturbations: Σop / Σo². 1: of the right size; 0.5: half as large as observed (or rightly
        large and half in the wrong places); 0: none. Noise of the observed means lowers it.
    error_ratio
        Squared error of the predicted effects by that of predicting none: Σ(p − o)² / Σo².
    collapse_index
        Variance between perturbations of the predicted effects by that of the observed ones, summed
        over genes. 0: one profile for all perturbations; 1: as different from one another as
        observed, where the noise of the observed means counts as difference.

    None where nothing was observed that could be compared with: no effect, a single perturbation.
    """
    n_perturbations = len(effects["perturbation"].cat.categories)
    observed, predicted = (
        effects[f"{side}_effect"].to_numpy(np.float64).reshape(n_perturbations, -1)
        for side in ("observed", "predicted")
    )
    size, spread = float((observed**2).sum()), _between(observed)
    return {
        "amplitude_slope": float((observed * predicted).sum()) / size if size else None,
        "error_ratio": float(((predicted - observed) ** 2).sum()) / size if size else None,
        "collapse_index": _between(predicted) / spread if spread else None,
    }


def confusion(effects: pd.DataFrame) -> pd.DataFrame:
    """Say which perturbation each prediction looks like, in one context.

    Predicted and observed mean effects are compared by their cosine over all genes.

    Parameters
    ----------
    effects
        From `mean_effects`.

    Returns
    -------
    Columns perturbation; own_rank, of its own observed effect among all by closeness to the
    prediction (1: the closest; ties share their mean rank); taken_for, the closest one; and cosine,
    to its own. Missing where a prediction has no effect at all.
    """
    names = effects["perturbation"].cat.categories
    observed, predicted = (
        effects[f"{side}_effect"].to_numpy(np.float64).reshape(len(names), -1)
        for side in ("observed", "predicted")
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = observed / np.linalg.norm(observed, axis=1, keepdims=True)
        predicted = predicted / np.linalg.norm(predicted, axis=1, keepdims=True)
    cosines = pd.DataFrame(predicted @ observed.T, index=names, columns=names)
    ranks = cosines.rank(axis=1, ascending=False)
    known = cosines.notna().any(axis=1)
    return pd.DataFrame(
        {
            "perturbation": names.astype(str),
            "own_rank": np.diag(ranks),
            "taken_for": cosines[known].idxmax(axis=1).reindex(names).to_numpy(dtype=object),
            "cosine": np.diag(cosines),
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
        names, codes = np.unique(labels[rows], return_inverse=True)
        shape = (len(names), len(rows))
        members = csr_matrix((np.ones(len(rows)), (codes, np.arange(len(rows)))), shape=shape)
        sums = np.asarray((members @ perturbed).todense(), dtype=np.float64)
        squares = np.asarray(perturbed.multiply(perturbed).sum(axis=0), dtype=np.float64).ravel()
        within = squares - (sums**2 / np.bincount(codes)[:, None]).sum(axis=0)
        table[f"mean_{side}"] = sums.sum(axis=0) / len(rows)
        table[f"variance_{side}"] = np.maximum(within, 0.0) / len(rows)
        table[f"zeros_{side}"] = 1.0 - perturbed.getnnz(axis=0) / len(rows)
    return pd.DataFrame(table)


def summarise_genes(genes: pd.DataFrame) -> dict[str, Any]:
    """Sum up `compare_genes` over genes.

    Returns
    -------
    variance_ratio
        Median over genes of the predicted variance by the observed one, of genes that vary: below
        1, predicted cells are more alike than real ones.
    zeros_observed, zeros_predicted
        Shares of all values.
    mean_difference
        Mean over genes of the absolute difference of means (units of the cells).
    dead_genes
        Genes that a tenth of the observed cells express, and no predicted one.
    """
    varies = genes["variance_observed"] > 0
    ratio = genes["variance_predicted"][varies] / genes["variance_observed"][varies]
    return {
        "variance_ratio": float(ratio.median()) if varies.any() else None,
        "zeros_observed": float(genes["zeros_observed"].mean()),
        "zeros_predicted": float(genes["zeros_predicted"].mean()),
        "mean_difference": float((genes["mean_predicted"] - genes["mean_observed"]).abs().mean()),
        "dead_genes": float(
            ((genes["zeros_predicted"] == 1.0) & (genes["zeros_observed"] <= 0.9)).sum()
        ),
    }


def _between(effects: Float64[np.ndarray, "perturbations genes"]) -> float:
    return float(((effects - effects.mean(axis=0)) ** 2).sum())
