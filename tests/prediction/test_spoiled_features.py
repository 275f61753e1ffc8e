"""Features that say nothing: none keeps its own vector, and the control keeps it."""

from __future__ import annotations

import numpy as np
import pytest

from workflow_scripts.features.vectors import Features
from workflow_scripts.prediction.negative_controls import circle, spoiled

NAMES = tuple(sorted(["control", *(f"g{n}" for n in range(40))]))
FEATURES = Features(NAMES, np.random.default_rng(0).normal(3.0, 2.0, (41, 500)).astype(np.float32))
CONTROL = NAMES.index("control")


@pytest.mark.parametrize("n", [2, 3, 40])
def test_vectors_go_round_one_circle(n):
    given, at, seen = circle(n, seed=3), 0, []
    for _ in range(n):
        at = int(given[at])
        seen.append(at)
    assert sorted(seen) == list(range(n))
    assert np.array_equal(given, circle(n, seed=3))


def test_each_perturbation_has_the_features_of_another_one():
    made, whose = spoiled(FEATURES, "control", "shuffled_features", seed=1)
    assert np.array_equal(made.matrix[CONTROL], FEATURES.matrix[CONTROL])
    same = (made.matrix == FEATURES.matrix).all(axis=1)
    assert np.flatnonzero(same).tolist() == [CONTROL]
    rows = {row.tobytes() for row in FEATURES.matrix}
    assert {row.tobytes() for row in made.matrix} == rows
    of = dict(zip(FEATURES.names, FEATURES.matrix, strict=True))
    for name, vector in zip(made.names, made.matrix, strict=True):
        assert np.array_equal(vector, of[whose.get(name, name)])
    assert made.matrix.dtype == np.float32
    again, other = (spoiled(FEATURES, "control", "shuffled_features", seed=s)[0] for s in (1, 2))
    assert np.array_equal(again.matrix, made.matrix)
    assert not np.array_equal(other.matrix, made.matrix)


def test_random_features_have_the_size_of_true_ones():
    made, _ = spoiled(FEATURES, "control", "random_features", seed=1)
    assert np.array_equal(made.matrix[CONTROL], FEATURES.matrix[CONTROL])
    own, drawn = (np.delete(f.matrix, CONTROL, axis=0) for f in (FEATURES, made))
    # 40 vectors: a mean over them has an error of sd / √40, over 500 dimensions far less.
    assert (drawn.mean(axis=0) - own.mean(axis=0)).mean() == pytest.approx(0.0, abs=0.05)
    assert (drawn.std(axis=0) / own.std(axis=0)).mean() == pytest.approx(1.0, abs=0.05)
    assert abs(np.corrcoef(own.ravel() - 3, drawn.ravel() - 3)[0, 1]) < 0.1
