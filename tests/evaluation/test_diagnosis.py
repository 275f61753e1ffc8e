"""The size of predicted effects and their difference from one another, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from workflow_scripts.evaluation.diagnosis import (
    compare_genes,
    confusion,
    diagnose,
    summarise_genes,
)

OBSERVED = [[1.0, 0.0], [0.0, -3.0]]


def effects(observed, predicted) -> pd.DataFrame:
    names = [f"P{at}" for at in range(len(observed))]
    n_genes = len(observed[0])
    return pd.DataFrame(
        {
            "perturbation": pd.Categorical(np.repeat(names, n_genes), categories=names),
            "gene": [f"g{at}" for at in range(n_genes)] * len(names),
            "observed_effect": np.ravel(observed).astype(np.float32),
            "predicted_effect": np.ravel(predicted).astype(np.float32),
        }
    )


@pytest.mark.parametrize(
    ("predicted", "slope", "error", "index"),
    [
        (OBSERVED, 1.0, 0.0, 1.0),
        (0.5 * np.array(OBSERVED), 0.5, 0.25, 0.25),
        ([[0.0, 0.0], [0.0, 0.0]], 0.0, 1.0, 0.0),
        # The mean response, 0.5 and -1.5 for both: (0.5 + 4.5) / 10, and no difference at all.
        ([[0.5, -1.5], [0.5, -1.5]], 0.5, 0.5, 0.0),
        # The wrong way round: as different as observed, and none of it in its place.
        (OBSERVED[::-1], 0.0, 2.0, 1.0),
    ],
)
def test_slope_and_collapse_by_hand(predicted, slope, error, index):
    found = diagnose(effects(OBSERVED, predicted))
    assert found == {
        "amplitude_slope": pytest.approx(slope),
        "error_ratio": pytest.approx(error),
        "collapse_index": pytest.approx(index),
    }


def test_nothing_observed_is_nothing_to_compare_with():
    zeros = np.zeros((2, 3))
    assert diagnose(effects(zeros, zeros)) == {
        "amplitude_slope": None,
        "error_ratio": None,
        "collapse_index": None,
    }
    single = diagnose(effects([[1.0, 2.0]], [[2.0, 4.0]]))
    assert single == {
        "amplitude_slope": pytest.approx(2.0),
        "error_ratio": pytest.approx(1.0),
        "collapse_index": None,
    }


def test_prediction_is_taken_for_the_perturbation_that_it_looks_like():
    observed = [[1.0, 0.0], [0.0, 2.0], [-1.0, -1.0]]
    found = confusion(effects(observed, [[3.0, 0.1], [5.0, 1.0], [0.0, 0.0]]))
    assert found["perturbation"].tolist() == ["P0", "P1", "P2"]
    assert found["own_rank"].tolist()[:2] == [1.0, 2.0]
    assert found["taken_for"].tolist()[:2] == ["P0", "P0"]
    assert found["cosine"][1] == pytest.approx(1 / 26**0.5)
    assert found.loc[2, ["own_rank", "taken_for", "cosine"]].isna().all()  # no effect at all


@pytest.mark.parametrize("sparse", [False, True])
def test_genes_are_compared_by_mean_variance_and_zeros(sparse):
    labels = pd.DataFrame({"perturbation": ["c", "a", "a", "b", "b"]}, index=list("vwxyz"))

    def cells(values) -> AnnData:
        matrix = np.array([[100.0, 100.0], *values], dtype=np.float32)
        return AnnData(csr_matrix(matrix) if sparse else matrix, labels)

    observed = cells([[1.0, 0.0], [3.0, 0.0], [0.0, 4.0], [0.0, 0.0]])
    predicted = cells([[2.0, 1.0], [2.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    table = compare_genes(predicted, observed, "c")
    assert table["mean_observed"].tolist() == [1.0, 1.0]
    assert table["mean_predicted"].tolist() == [1.0, 1.0]
    assert table["variance_observed"].tolist() == [0.5, 2.0]  # within each perturbation
    assert table["variance_predicted"].tolist() == [0.0, 0.0]
    assert table["zeros_observed"].tolist() == [0.5, 0.75]
    assert table["zeros_predicted"].tolist() == [0.5, 0.0]
    assert summarise_genes(table) == {
        "variance_ratio": 0.0,
        "zeros_observed": 0.625,
        "zeros_predicted": 0.25,
        "mean_difference": 0.0,
        "dead_genes": 0.0,
    }
    dead = compare_genes(cells([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]), observed, "c")
    assert summarise_genes(dead)["dead_genes"] == 1.0
