"""The size of predicted effects and their difference from one another, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.evaluation.diagnosis import diagnose

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
    ("predicted", "slope", "index"),
    [
        (OBSERVED, 1.0, 1.0),
        (0.5 * np.array(OBSERVED), 0.5, 0.25),
        ([[0.0, 0.0], [0.0, 0.0]], 0.0, 0.0),
        # The mean response, 0.5 and -1.5 for both: (0.5 + 4.5) / 10, and no difference at all.
        ([[0.5, -1.5], [0.5, -1.5]], 0.5, 0.0),
        # The wrong way round: as different as observed, and none of it in its place.
        (OBSERVED[::-1], 0.0, 1.0),
    ],
)
def test_slope_and_collapse_by_hand(predicted, slope, index):
    found = diagnose(effects(OBSERVED, predicted))
    assert found == {
        "amplitude_slope": pytest.approx(slope),
        "collapse_index": pytest.approx(index),
    }


def test_nothing_observed_is_nothing_to_compare_with():
    zeros = np.zeros((2, 3))
    assert diagnose(effects(zeros, zeros)) == {"amplitude_slope": None, "collapse_index": None}
    single = diagnose(effects([[1.0, 2.0]], [[2.0, 4.0]]))
    assert single == {"amplitude_slope": pytest.approx(2.0), "collapse_index": None}
