"""Scores of several runs: replicates combined, groups compared, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.evaluation.replicates import standings
from workflow_scripts.evaluation.statistics import paired

BETTER = {"pds": "higher", "error": "lower", "count": "neither"}
NAMES = [f"p{n}" for n in range(12)]


def rows(values: np.ndarray, metric: str = "pds") -> pd.DataFrame:
    return pd.DataFrame(
        {"context": "c", "perturbation": NAMES, "metric": metric, "value": np.asarray(values)}
    )


@pytest.fixture
def draws():
    return np.random.default_rng(0).normal(0.6, 0.1, (3, 12))


def test_replicates_are_averaged_and_their_spread_is_said(draws):
    runs = {name: rows(values) for name, values in zip("abc", draws, strict=True)}
    overall = {name: {"pds": float(table["value"].mean())} for name, table in runs.items()}
    scaled = {"a": {"pds": 0.2}, "b": {"pds": 0.6}, "c": {"pds": 0.5}}
    found = standings(runs, overall, scaled, {"ab": ["a", "b"], "c": ["c"]}, BETTER, 500)
    both = found["ab"]["pds"]
    assert both.mean == pytest.approx(draws[:2].mean())
    assert both.sd == pytest.approx(np.std(draws[:2].mean(axis=1), ddof=1))
    assert both.scaled == pytest.approx(0.4)
    assert both.low is not None
    assert both.low < both.mean < both.high
    assert found["c"]["pds"].sd is None


def test_groups_are_compared_with_the_best_perturbation_by_perturbation(draws):
    runs = {"a": rows(draws[0]), "b": rows(draws[0] - 0.1), "c": rows(draws[1])}
    overall = {name: {"pds": float(table["value"].mean())} for name, table in runs.items()}
    found = standings(
        runs, overall, {}.fromkeys("abc", {}), {name: [name] for name in "abc"}, BETTER, 300
    )
    best = max(overall, key=lambda name: overall[name]["pds"])
    assert found[best]["pds"].difference is None
    of_b = found["b"]["pds"].difference
    expected = paired(
        pd.Series(
            draws[0] - 0.1 - {"a": draws[0], "c": draws[1]}[best],
            index=pd.MultiIndex.from_product([["c"], NAMES], names=["context", "perturbation"]),
        ),
        300,
    )
    assert of_b.difference == pytest.approx(expected.difference)
    assert (of_b.low, of_b.high) == pytest.approx((expected.low, expected.high))
    assert of_b.low <= of_b.difference <= of_b.high


def test_errors_lead_where_they_are_low_and_counts_have_no_leader(draws):
    tables = {
        name: pd.concat([rows(values, "error"), rows(values, "count")])
        for name, values in zip("ab", draws, strict=False)
    }
    overall = {
        name: dict.fromkeys(("error", "count"), float(values.mean()))
        for name, values in zip("ab", draws, strict=False)
    }
    found = standings(tables, overall, {"a": {}, "b": {}}, {"a": ["a"], "b": ["b"]}, BETTER, 0)
    lower = min("ab", key=lambda name: overall[name]["error"])
    assert found[lower]["error"].difference is None
    assert found["b" if lower == "a" else "a"]["error"].difference is not None
    assert all(found[name]["count"].difference is None for name in "ab")


def test_runs_on_other_cells_are_not_tested(draws):
    runs = {"a": rows(draws[0]), "b": rows(draws[1])}
    overall = {name: {"pds": float(table["value"].mean())} for name, table in runs.items()}
    groups = {"a": ["a"], "b": ["b"]}
    found = standings(runs, overall, {"a": {}, "b": {}}, groups, BETTER, 0, paired=False)
    assert all(of["pds"].difference is None for of in found.values())


def test_metric_that_a_run_lacks_is_left_out(draws):
    runs = {"a": rows(draws[0]), "b": rows(draws[1])}
    overall = {"a": {"pds": 0.5}, "b": {"pds": None}}
    found = standings(runs, overall, {"a": {}, "b": {}}, {"ab": ["a", "b"]}, BETTER, 0)
    assert found["ab"]["pds"].mean is None
