"""Effects that are written as calibrated cells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.prediction.test_predictions import (
    expression,
    models_of,
    small_model,
    splits,  # noqa: F401
    store,  # noqa: F401
    targets,  # noqa: F401
)
from workflow_scripts.cells.calibrated_cells import CalibratedCells, TrainingRows
from workflow_scripts.cells.groups import make_groups
from workflow_scripts.cells.store import CellStore
from workflow_scripts.cells.targets import Targets
from workflow_scripts.settings.slices import Slice


class Reads:
    """A store that remembers which rows were read."""

    def __init__(self, inner: CellStore) -> None:
        self.inner = inner
        self.rows: set[int] = set()

    def dense(self, rows: np.ndarray) -> np.ndarray:
        self.rows |= set(rows.tolist())
        return self.inner.dense(rows)

    def mean(self, rows: np.ndarray) -> np.ndarray:
        self.rows |= set(rows.tolist())
        return self.inner.mean(rows)


@pytest.fixture
def training(store: CellStore, splits: pd.DataFrame) -> TrainingRows:  # noqa: F811
    groups = make_groups(store.cells, splits, "train", by_batch=False, controls=False)
    return TrainingRows(store, groups)


def means(cells: np.ndarray, targets: Targets) -> np.ndarray:  # noqa: F811
    groups = targets.group_of_cell
    return np.stack([cells[groups == at].mean(axis=0) for at in range(len(targets.groups))])


def test_each_group_has_the_mean_of_all_its_controls_and_its_effect(store, targets, training):  # noqa: F811
    effects = np.random.default_rng(0).normal(0, 0.1, (len(targets.groups), store.n_genes))
    written = CalibratedCells(store, targets, effects, training, {}, 0)
    cells = expression(written.blocks())
    assert cells.shape == (len(targets.paired), store.n_genes)
    controls = np.stack([store.mean(group.controls) for group in targets.groups])
    largest = store.dense(targets.controls).max(axis=0)
    # A stratified sample of 11 values between 0 and the largest one.
    close = np.abs(means(cells, targets) - np.maximum(controls + effects, 0)) <= largest / 11 + 0.05
    assert close.mean() > 0.99


def test_no_held_out_cell_is_read(store, targets, training):  # noqa: F811
    reads = Reads(store)
    effects = np.full((len(targets.groups), store.n_genes), 3.0)  # beyond what controls have
    written = CalibratedCells(reads, targets, effects, replace(training, store=reads), {}, 0)
    assert written.borrowing_groups.any()
    expression(written.blocks())
    assert reads.rows
    assert not reads.rows & set(targets.observed.tolist())


def test_values_are_borrowed_of_the_named_perturbation_in_other_contexts(store, targets, training):  # noqa: F811
    (group,) = [group for group in targets.groups if group.perturbation == "B"]
    of_b, of_a = (training.lend(group, label, np.random.default_rng(0)) for label in ("B", "A"))
    in_k562 = store.cells["context"] == "k562"
    for label, lent in (("B", of_b), ("A", of_a)):
        rows = np.flatnonzero(in_k562 & (store.cells["perturbation"] == label))
        assert np.array_equal(np.sort(lent, axis=0), np.sort(store.dense(rows), axis=0))


def test_an_unknown_perturbation_borrows_of_its_context(store, targets, training):  # noqa: F811
    (group,) = [group for group in targets.groups if group.perturbation == "C"]
    here = [other for other in training.groups if other.context == group.context]
    lent = training.lend(group, "C", np.random.default_rng(0))
    assert len(lent) == sum(len(other.rows) for other in here)


def test_the_effect_of_a_model_is_the_mean_over_all_controls(store, targets):  # noqa: F811
    models = models_of(small_model(store.n_genes), store.genes)
    settings = {
        "model.kwargs.cell_set_len": 4,
        "prediction.seed": 7,
        "prediction.sets_per_pass": 2,
    }
    effects = models.mean_effects(store, targets.groups, Slice(settings, {}))
    assert effects is not None
    every = Targets.all_controls(targets.groups, set_size=4, seed=7)
    for at, group in enumerate(targets.groups):
        of_group = every.group_of_cell == at
        assert sorted(every.paired[of_group].tolist()) == sorted(group.controls.tolist())
    cells = expression(models.predict(store, every, 2))
    change = cells - store.dense(every.paired)
    expected = [change[every.group_of_cell == at].mean(axis=0) for at in range(len(effects))]
    np.testing.assert_allclose(effects, expected, atol=1e-6)
