"""Intervals and tests over perturbations, against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.evaluation.statistics import (
    comparisons,
    holm,
    interval,
    intervals,
    paired,
)


def long(**values: dict[str, list[float]]) -> pd.DataFrame:
    """Return a table of one metric: model, then context, then a value a perturbation."""
    return pd.DataFrame(
        [
            (model, context, f"G{at}", "pds", value)
            for model, contexts in values.items()
            for context, series in contexts.items()
            for at, value in enumerate(series)
        ],
        columns=["model", "context", "perturbation", "metric", "value"],
    )


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.4: times 4, 3, 2, 1; 0.06 and 0.06 stand as they rise.
    assert holm([0.02, 0.4, 0.01, 0.03]) == pytest.approx([0.06, 0.4, 0.04, 0.06])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_interval_of_a_mean_is_near_the_normal_one():
    values = np.random.default_rng(3).normal(2.0, 0.5, 400)
    low, high = interval([values], 4000)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=half / 10)
    assert interval([values], 4000) == (low, high)  # drawn by a seed of its own


def test_contexts_weigh_the_same_whatever_their_size():
    # One context doesn't vary: half of the other's spread is left.
    wide = np.array([0.0, 1.0] * 50)
    low, high = interval([wide, np.full(3, 4.0)], 4000)
    assert (low + high) / 2 == pytest.approx((0.5 + 4.0) / 2, abs=0.01)
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / 10 / 2, rel=0.1)


def test_nothing_to_draw_from_has_no_interval():
    assert interval([np.array([0.3])], 100) is None
    assert interval([np.array([0.3, 0.4]), np.array([0.1])], 100) is None
    assert interval([np.array([0.3, 0.4])], 0) is None
    assert interval([], 100) is None


def test_signed_ranks_by_hand():
    # Six differences of one sign: 2 of 2^6 sign patterns are as extreme.
    index = pd.MultiIndex.from_product([["a"], list("uvwxyz")], names=["context", "perturbation"])
    pair = paired(pd.Series([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], index=index), 500)
    assert pair.p == pytest.approx(2 / 64)
    assert (pair.n, pair.difference) == (6, pytest.approx(0.35))
    assert 0.1 < pair.low < 0.35 < pair.high < 0.6
    # -0.1 has the lowest rank: sums 20 and 1; patterns with a sum of at most 1: {} and {1}.
    pair = paired(pd.Series([-0.1, 0.2, 0.3, 0.4, 0.5, 0.6], index=index), 500)
    assert pair.p == pytest.approx(4 / 64)
    same = paired(pd.Series([0.0] * 6, index=index), 500)
    assert (same.p, same.difference, same.low, same.high) == (1.0, 0.0, 0.0, 0.0)


def test_a_model_is_compared_with_each_baseline_and_corrected_for_their_number():
    ours = [0.9, 0.8, 0.95, 0.85, 0.92, 0.81]
    table = long(
        model={"a": ours},
        low={"a": [value - 0.1 * (at + 1) for at, value in enumerate(ours)]},
        same={"a": ours},
        other={"a": [np.nan, *ours[1:]]},
    )
    found = comparisons(table, "model", {"pds": "higher"}, 200)
    assert set(found) == {"low", "same", "other"}
    low = found["low"]["pds"]
    assert low["p"] == pytest.approx(2 / 64)
    assert low["p_holm"] == pytest.approx(3 * 2 / 64)
    assert low["difference"] == pytest.approx(0.35)
    assert found["other"]["pds"]["n"] == 5
    assert comparisons(table, "model", {"pds": "neither"}, 200) == {}
    assert comparisons(table, "another", {"pds": "higher"}, 200) == {}


def test_only_means_over_perturbations_have_an_interval():
    table = long(model={"a": [0.1, 0.5, 0.9], "b": [0.2, np.nan, 0.4]})
    mean = (0.5 + 0.3) / 2
    (ends,) = intervals(table, {"model": {"pds": mean}}, 500)["model"].values()
    assert ends[0] < mean < ends[1]
    # What the engine aggregates otherwise is not the mean that would be drawn.
    assert intervals(table, {"model": {"pds": mean + 0.01}}, 500) == {"model": {}}
    assert intervals(table, {"model": {"pds": None}}, 500) == {"model": {}}
