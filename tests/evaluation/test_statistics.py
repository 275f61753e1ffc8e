"""Intervals over perturbations, against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.cells.results import Paired
from workflow_scripts.evaluation.statistics import (
    comparisons,
    interval,
    interval_of_score,
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


def contexts(**values: list[float]) -> pd.DataFrame:
    """Return a row a perturbation and a column a context."""
    return pd.DataFrame(values)


def test_interval_of_a_mean_is_near_the_normal_one():
    values = np.random.default_rng(3).normal(2.0, 0.5, 400)
    low, high = interval(contexts(a=values), 4000)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=half / 10)
    assert interval(contexts(a=values), 4000) == (low, high)  # drawn by a seed of its own


def test_contexts_weigh_the_same_whatever_their_size():
    # One context doesn't vary, and tested a few of the perturbations: half of the spread is left.
    wide = np.array([0.0, 1.0] * 50)
    low, high = interval(contexts(a=wide, b=[4.0] * 8 + [np.nan] * 92), 4000)
    assert (low + high) / 2 == pytest.approx((0.5 + 4.0) / 2, abs=0.01)
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / 10 / 2, rel=0.1)


def test_contexts_of_one_perturbation_are_drawn_together():
    # Two contexts with the same values are no more evidence than one.
    values = np.random.default_rng(4).normal(0.0, 1.0, 30)
    alone = interval(contexts(a=values), 2000)
    assert interval(contexts(a=values, b=values), 2000) == pytest.approx(alone)
    # Of opposite ones nothing is left that could vary.
    assert interval(contexts(a=values, b=-values), 2000) == pytest.approx((0.0, 0.0))


def test_interval_of_few_perturbations_holds_the_mean_nearly_as_often_as_it_says():
    # Plain percentiles of eight values hold it in 89 % of draws.
    draws = np.random.default_rng(5).normal(0.0, 1.0, (1000, 8))
    ends = [interval(contexts(a=values), 500) for values in draws]
    assert 0.92 < np.mean([low <= 0 <= high for low, high in ends]) < 0.97


def test_five_perturbations_are_too_few_for_an_interval():
    values = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert interval(contexts(a=values), 100) is not None
    assert interval(contexts(a=values[:5]), 100) is None
    assert interval(contexts(a=values), 0) is None


def test_differences_are_paired_by_perturbation():
    index = pd.MultiIndex.from_product([["a"], list("uvwxyz")], names=["context", "perturbation"])
    pair = paired(pd.Series([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], index=index), 500)
    assert (pair.n, pair.difference) == (6, pytest.approx(0.35))
    assert 0.1 <= pair.low < 0.35 < pair.high <= 0.6
    same = paired(pd.Series([0.0] * 6, index=index), 500)
    assert (same.difference, same.low, same.high) == (0.0, 0.0, 0.0)


def test_a_model_is_compared_with_each_baseline():
    ours = [0.9, 0.8, 0.95, 0.85, 0.92, 0.81]
    table = long(
        model={"a": ours},
        low={"a": [value - 0.1 * (at + 1) for at, value in enumerate(ours)]},
        same={"a": ours},
        other={"a": [np.nan, *ours[1:]]},
    )
    found = comparisons(table, "model", {"pds": "higher"}, 200)
    assert set(found) == {"low", "same", "other"}
    assert found["low"]["pds"].difference == pytest.approx(0.35)
    assert found["other"]["pds"] == Paired(0.0, None, None, 5)
    assert comparisons(table, "model", {"pds": "neither"}, 200) == {}
    assert comparisons(table, "another", {"pds": "higher"}, 200) == {}


def test_only_means_over_perturbations_have_an_interval():
    values = contexts(a=[0.1, 0.5, 0.9] * 2, b=[0.2, np.nan, 0.4] * 2)
    mean = (0.5 + 0.3) / 2
    low, high = interval_of_score(values, mean, 500)
    assert low < mean < high
    # What the engine aggregates otherwise is not the mean that would be drawn.
    assert interval_of_score(values, mean + 0.01, 500) is None
    assert interval_of_score(values, np.nan, 500) is None
