"""Kinds of perturbations apart, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.evaluation.strata import (
    TrainedOn,
    strata_of,
    stratified,
    what_is_new,
)
from workflow_scripts.features.vectors import Features

FACTS = pd.DataFrame(
    [("old", "A"), ("old", "B"), ("old", "A+B"), ("new", "A"), ("new", "C")],
    columns=["context", "perturbation"],
)
SPLITS = pd.DataFrame(
    [
        ("old", "A", "train"),
        ("old", "control", "train"),
        ("old", "D", "train"),
        ("old", "B", "test"),
        ("new", "C", "val"),
    ],
    columns=["context", "perturbation", "split"],
)


def test_what_is_new_is_said_of_perturbation_and_context():
    assert what_is_new(FACTS, TrainedOn(SPLITS, None), "control")["kind"].tolist() == [
        "known perturbation, known context",
        "unseen perturbation, known context",
        "unseen combination, known context",
        "known perturbation, unseen context",
        "unseen perturbation, unseen context",
    ]


def test_distance_is_to_the_nearest_that_was_trained_on():
    names = ("A", "A+B", "B", "D", "control")
    vectors = np.array([[2, 0], [0, 0], [1, 1], [0, 3], [1, 1]], dtype=np.float32)
    trained_on = TrainedOn(SPLITS, Features(names, vectors))
    found = what_is_new(FACTS, trained_on, "control")["distance_to_training"]
    # A itself; B between A and D; no direction; A again; no vector. The control is no neighbour.
    assert found.tolist() == pytest.approx(
        [0.0, 1 - 0.5**0.5, np.nan, 0.0, np.nan], abs=1e-6, nan_ok=True
    )


def test_distance_of_one_that_was_trained_on_is_nothing_but_zero():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(5, 64)).astype(np.float32)
    names = ("A", "A+B", "B", "D", "control")
    trained_on = TrainedOn(SPLITS, Features(names, vectors))
    found = what_is_new(FACTS, trained_on, "control")["distance_to_training"]
    # Rounding alone would leave some 1e-16, which makes strata of nothing.
    assert found[FACTS["perturbation"] == "A"].tolist() == [0.0, 0.0]


def facts(n: int = 9) -> pd.DataFrame:
    names = [f"g{i}" for i in range(n)]
    return pd.DataFrame(
        {
            "context": "c",
            "perturbation": names,
            "effect_size": np.arange(n) + 1.0,
            "n_cells": 7,
            "n_de_genes": [np.nan, *range(n - 1)],
        }
    )


def test_perturbations_are_cut_into_thirds_by_what_differs():
    found = strata_of(facts())
    assert found["effect_size"].tolist() == 3 * ["1 to 3"] + 3 * ["4 to 6"] + 3 * ["7 to 9"]
    assert "n_cells" not in found  # all have as many
    assert found["n_de_genes"].isna().tolist() == [True] + 8 * [False]
    assert strata_of(facts(5)) == {}  # too few


def test_scores_are_means_over_the_perturbations_of_a_stratum():
    table = facts().assign(kind=["old"] * 4 + ["new"] * 5)
    metrics = pd.DataFrame(
        [
            (model, "c", name, metric, factor * size if name != "g4" else np.nan)
            for model, factor in (("model", 1.0), ("control", 10.0))
            for metric in ("up", "count")
            for name, size in zip(table["perturbation"], table["effect_size"], strict=True)
        ],
        columns=["model", "context", "perturbation", "metric", "value"],
    )
    found = stratified(metrics, table, {"up": "higher", "count": "neither"})
    assert [(part.range, part.n) for part in found["effect_size"]] == [
        ("1 to 3", 3),
        ("4 to 6", 3),
        ("7 to 9", 3),
    ]
    low, middle, high = (part.scores for part in found["effect_size"])
    assert low == {"model": {"up": 2.0}, "control": {"up": 20.0}}
    assert middle == {"model": {"up": 5.0}, "control": {"up": 50.0}}  # g4, which is 5, has no value
    assert high == {"model": {"up": 8.0}, "control": {"up": 80.0}}
    kinds = {part.range: (part.n, part.scores["model"]["up"]) for part in found["kind"]}
    assert kinds == {"old": (4, 2.5), "new": (5, 7.5)}
