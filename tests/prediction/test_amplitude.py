"""The amplitude of effects: given, or the one that fits the validation cells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.prediction.test_predictions import (  # noqa: F401
    expression,
    models_of,
    small_model,
    splits,
    store,
)
from tests.targets import targets_of_controls, targets_of_test
from workflow_scripts.cells.predicted_cells import Predicted
from workflow_scripts.errors import DataError
from workflow_scripts.prediction.trained_models import fit_amplitude


@pytest.fixture
def validation(store, splits):  # noqa: F811
    return targets_of_test(store, splits, split="val")


def predictor(store, effects):  # noqa: F811
    """Predict the control, and an effect by perturbation on top, in two blocks."""

    def predict(targets):
        names = [targets.groups[at].perturbation for at in targets.group_of_cell]
        cells = store.dense(targets.paired) + np.stack([effects[name] for name in names])
        half = len(cells) // 2
        for part in (cells[:half], cells[half:]):
            yield Predicted(part.astype(np.float32))

    return predict


def observed_effect(store, group):  # noqa: F811
    return store.mean(group.rows) - store.mean(group.controls)


def test_validation_split_is_what_is_fitted_on(validation):
    assert {(g.context, g.perturbation) for g in validation.groups} == {("rpe1", "A")}


@pytest.mark.parametrize("factor", [0.25, 1.0, 4.0])
def test_effects_that_are_too_small_are_scaled_up(store, validation, factor):  # noqa: F811
    (group,) = validation.groups
    predict = predictor(store, {"A": observed_effect(store, group) / factor})
    assert fit_amplitude(predict(validation), store, validation) == pytest.approx(factor, rel=1e-5)


def test_fit_is_the_least_squares_slope(store, splits):  # noqa: F811
    targets = targets_of_test(store, splits)
    draws = np.random.default_rng(0)
    effects = {g.perturbation: draws.normal(size=store.n_genes) for g in targets.groups}
    p = np.concatenate([effects[g.perturbation] for g in targets.groups])
    o = np.concatenate([observed_effect(store, g) for g in targets.groups])
    (slope,), *_ = np.linalg.lstsq(p[:, None], o, rcond=None)
    found = fit_amplitude(predictor(store, effects)(targets), store, targets)
    assert found == pytest.approx(max(slope, 0), rel=1e-4, abs=1e-9)
    backwards = {
        name: -observed_effect(store, g) for g in targets.groups for name in [g.perturbation]
    }
    assert fit_amplitude(predictor(store, backwards)(targets), store, targets) == 0.0


def test_no_effect_at_all_is_said(store, validation):  # noqa: F811
    nothing = {"A": np.zeros(store.n_genes)}
    with pytest.raises(DataError, match="predicts no effect at all"):
        fit_amplitude(predictor(store, nothing)(validation), store, validation)


def test_amplified_cells_are_controls_and_so_much_of_the_effect(store, validation):  # noqa: F811
    models = models_of(small_model(store.n_genes), store.genes)
    control = store.dense(validation.paired)
    effect = expression(models.predict(store, validation, 3)) - control
    for factor in (0.0, 0.5, 2.5):
        made = expression(replace(models, amplitude=factor).predict(store, validation, 3))
        wanted = np.maximum(control + factor * effect, 0)
        np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-5)


def test_controls_to_predict_are_those_of_the_targets(store, splits):  # noqa: F811
    targets = targets_of_test(store, splits)
    asked = targets_of_controls(targets)
    np.testing.assert_array_equal(np.sort(asked.observed), targets.controls)
    assert len(asked.paired) == len(targets.controls)
    assert {(g.context, g.perturbation) for g in asked.groups} == {("rpe1", "control")}
    by_batch = targets_of_test(store, splits, by_batch=True)
    asked = targets_of_controls(by_batch)
    np.testing.assert_array_equal(np.sort(asked.observed), by_batch.controls)
    batches = store.cells["batch"].astype(str).to_numpy()
    np.testing.assert_array_equal(batches[asked.observed], batches[asked.paired])
