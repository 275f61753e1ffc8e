"""The size of predicted effects and their difference from one another, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from workflow_scripts.cells.results import GENES
from workflow_scripts.evaluation.effects import (
    compare_genes,
    correlation_errors,
    describe_perturbations,
    diagnose,
)

NO_CORRELATIONS = (0.0, 0.0, 0.0)
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


def sizes(observed, predicted) -> tuple[float | None, float | None, float | None]:
    genes = pd.DataFrame(0.0, index=range(2), columns=GENES)
    found = diagnose(effects(observed, predicted), genes, NO_CORRELATIONS)
    return found.amplitude_slope, found.error_ratio, found.collapse_index


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
    assert sizes(OBSERVED, predicted) == pytest.approx((slope, error, index))


def test_nothing_observed_is_nothing_to_compare_with():
    zeros = np.zeros((2, 3))
    assert sizes(zeros, zeros) == (None, None, None)
    *single, collapse = sizes([[1.0, 2.0]], [[2.0, 4.0]])
    assert single == pytest.approx([2.0, 1.0])
    assert collapse is None


def test_prediction_is_taken_for_the_perturbation_that_it_looks_like():
    observed = [[1.0, 0.0], [0.0, 2.0], [-1.0, -1.0]]
    found = describe_perturbations(effects(observed, [[3.0, 0.1], [5.0, 1.0], [0.0, 0.0]]))
    assert found["perturbation"].tolist() == ["P0", "P1", "P2"]
    assert found["own_rank"].tolist()[:2] == [1.0, 2.0]
    assert found["taken_for"].tolist()[:2] == ["P0", "P0"]
    assert found["cosine"][1] == pytest.approx(1 / 26**0.5)
    assert found["effect_size"].tolist() == pytest.approx([1.0, 2.0, 2**0.5])
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
    found = diagnose(effects(OBSERVED, OBSERVED), table, NO_CORRELATIONS)
    assert (found.variance_ratio, found.mean_difference, found.dead_genes) == (0.0, 0.0, 0.0)
    assert (found.zeros_observed, found.zeros_predicted) == (0.625, 0.25)
    dead = compare_genes(cells([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]), observed, "c")
    assert diagnose(effects(OBSERVED, OBSERVED), dead, NO_CORRELATIONS).dead_genes == 1.0


def test_correlations_are_compared_with_those_of_the_observed_cells():
    rng = np.random.default_rng(0)

    def cells(shared: float) -> AnnData:
        common = rng.normal(size=(600, 1)) * shared
        labels = pd.DataFrame({"perturbation": np.repeat(["c", "a", "b"], 200)})
        shift = np.repeat([0.0, 5.0, -5.0], 200)[:, None]  # centred away
        values = common + rng.normal(size=(600, 6)) + shift + 20.0
        return AnnData(csr_matrix(values.astype(np.float32)), labels.set_axis(map(str, range(600))))

    alike = correlation_errors(cells(1.0), cells(1.0), "c")
    assert max(alike) < 0.15
    independent, controls, half = correlation_errors(cells(0.0), cells(1.0), "c")
    assert independent == pytest.approx(0.5, abs=0.1)
    assert max(controls, half) < 0.15


def test_cells_without_variance_have_no_correlations():
    labels = pd.DataFrame({"perturbation": ["c", "a", "a", "a"]}, index=list("abcd"))
    cells = AnnData(csr_matrix(np.ones((4, 3), dtype=np.float32)), labels)
    errors = correlation_errors(cells, cells, "c")
    assert np.isnan(errors).all()
    assert diagnose(effects(OBSERVED, OBSERVED), compare_genes(cells, cells, "c"), errors)
