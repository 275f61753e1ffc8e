"""Groups of runs beside one another: which can be held to one another, and their baselines."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.reporting.run_files import some_scores
from workflow_scripts.reporting.compared import ComparedRun, comparable, render_comparison

METRIC = "pds_cosine"


def run(name: str, cells: str, score: float, baseline: float) -> ComparedRun:
    scores = some_scores(
        overall={"model": {METRIC: score}, "baseline:control": {METRIC: baseline}},
        better={METRIC: "higher"},
    )
    table = pd.DataFrame(columns=["context", "perturbation", "metric", "value"])
    return ComparedRun(name, Path(name), {}, scores, table, None, cells)


RUNS = [
    run("a_k562", "k562", 0.6, 0.50),
    run("a_rpe1", "rpe1", 0.8, 0.52),
    run("b_k562", "k562", 0.5, 0.50),
    run("b_rpe1", "rpe1", 0.7, 0.52),
]


def page(groups: dict[str, tuple[str, ...]], means: dict[str, float]) -> str:
    standing = {"sd": None, "scaled": None, "low": None, "high": None, "difference": None}
    return render_comparison(
        [one for one in RUNS if any(one.name in names for names in groups.values())],
        groups,
        {label: {METRIC: {"mean": mean, **standing}} for label, mean in means.items()},
        {},
        replicates=["splits.leave_out"],
        version="0",
        place=Path("compare.html"),
    )


def test_groups_of_the_same_folds_were_comparable():
    folds = {"a": ("a_k562", "a_rpe1"), "b": ("b_rpe1", "b_k562")}
    assert comparable(RUNS, folds)
    assert not comparable(RUNS, {"a": ("a_k562", "a_rpe1"), "b": ("b_k562",)})
    assert not comparable(RUNS[:2], {"a_k562": ("a_k562",), "a_rpe1": ("a_rpe1",)})
    assert comparable(RUNS, {"a": ("a_k562",), "b": ("b_k562",)})


@pytest.mark.parametrize(
    ("groups", "alike"),
    [
        ({"a": ("a_k562", "a_rpe1"), "b": ("b_k562", "b_rpe1")}, True),
        ({"a": ("a_k562",), "b": ("b_rpe1",)}, False),
    ],
    ids=["folds", "other cells"],
)
def test_baselines_are_means_over_folds_and_only_where_all_were_comparable(groups, alike):
    text = page(groups, {"a": 0.7, "b": 0.6})
    assert ("OTHER CELLS" in text) is not alike
    assert ("baseline, no training" in text) is alike
    assert ('data-value="0.51"' in text) is alike
