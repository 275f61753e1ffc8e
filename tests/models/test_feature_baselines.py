"""Ridge and nearest neighbour: known answers, and what they must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge as ReferenceRidge
from sklearn.linear_model import RidgeCV
from torch import Tensor
from torch.testing import assert_close

from workflow_scripts.models import NearestNeighbour, RidgeEffect, TrainingEffects
from workflow_scripts.models.baselines import FeatureBaseline
from workflow_scripts.models.ridge import PENALTIES, fit_ridge

HIGH = 50.0  # Expression of the controls.


def training_of(effects: Tensor, perturbation: list[int] | None = None) -> TrainingEffects:
    """Return one context in which each perturbation has one of these effects."""
    controls = torch.full((1, effects.shape[1]), HIGH, dtype=torch.float64)
    numbers = list(range(len(effects))) if perturbation is None else perturbation
    return TrainingEffects.of_groups(
        controls,
        controls + effects,
        perturbation=torch.tensor(numbers),
        context=torch.zeros(len(effects), dtype=torch.int64),
        cells=torch.ones(len(effects), dtype=torch.int64),
    )


def effect_of(model: FeatureBaseline, features: Tensor) -> Tensor:
    """Ask for perturbations with these features, beside those that were trained on."""
    known = len(model.features)
    model.features = torch.cat([model.features, features])
    numbers = torch.arange(known, len(model.features))
    return model.effects(numbers, torch.zeros_like(numbers))


def nearest_neighbour(training: TrainingEffects, features: Tensor) -> NearestNeighbour:
    return NearestNeighbour(training, features, list(map(str, range(len(features)))))


def problem(n: int, dimension: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return features and outputs that are linear in them but for noise."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, dimension, generator=generator) + 3.0
    slopes = torch.randn(dimension, 6, generator=generator) / dimension**0.5
    noise = torch.randn(n, 6, generator=generator)
    return features, 0.5 + (features - 3.0) @ slopes + 0.7 * noise


def centred_gram(outputs: Tensor) -> Tensor:
    centred = outputs.double() - outputs.double().mean(dim=0)
    return centred @ centred.T


def unit(features: Tensor) -> float:
    centred = features.double() - features.double().mean(dim=0)
    return float(centred.square().sum() / len(features))


@pytest.mark.parametrize(("n", "dimension"), [(30, 4), (12, 40), (8, 8)])
def test_leave_one_out_errors_are_those_of_fitting_again(n: int, dimension: int) -> None:
    features, outputs = problem(n, dimension)
    fitted = fit_ridge(features, centred_gram(outputs))
    x, y = features.double().numpy(), outputs.double().numpy()
    for penalty, error in zip(PENALTIES[:-1], fitted.errors.tolist(), strict=False):
        residuals = []
        for left_out in range(n):
            kept = np.arange(n) != left_out
            model = ReferenceRidge(alpha=penalty * unit(features)).fit(x[kept], y[kept])
            residuals.append(y[left_out] - model.predict(x[left_out : left_out + 1])[0])
        assert error == pytest.approx(np.square(residuals).sum(axis=1).mean(), rel=1e-6)
    means = [y[left_out] - np.delete(y, left_out, axis=0).mean(axis=0) for left_out in range(n)]
    assert fitted.errors[-1] == pytest.approx(np.square(means).sum(axis=1).mean(), rel=1e-6)


@pytest.mark.parametrize(("n", "dimension"), [(30, 4), (12, 40), (8, 8)])
def test_ridge_is_that_of_scikit_learn_with_the_same_penalty_chosen(n: int, dimension: int) -> None:
    features, outputs = problem(n, dimension)
    model = RidgeEffect(training_of(outputs), features)
    x, y = features.double().numpy(), outputs.double().numpy()
    alphas = [penalty * unit(features) for penalty in PENALTIES[:-1]]
    reference = RidgeCV(alphas=alphas, scoring="neg_mean_squared_error").fit(x, y)
    assert model.penalty * unit(features) == pytest.approx(reference.alpha_)
    asked = problem(5, dimension, seed=1)[0]
    expected = torch.from_numpy(reference.predict(asked.double().numpy())).float()
    assert_close(effect_of(model, asked), expected, atol=1e-4, rtol=1e-4)


def test_ridge_by_hand() -> None:
    # Features -1, 0, 1 and effects 0, 3, 6: mean 3, slope 6 / (2 + penalty).
    features, outputs = torch.tensor([[-1.0], [0.0], [1.0]]), torch.tensor([[0.0], [3.0], [6.0]])
    model = RidgeEffect(training_of(outputs), features)
    assert model.penalty == PENALTIES[0]
    slope = 6 / (2 + PENALTIES[0] * 2 / 3)
    expected = torch.tensor([[3 + slope], [3 - 3 * slope]])
    assert_close(effect_of(model, torch.tensor([[1.0], [-3.0]])), expected, atol=1e-5, rtol=1e-5)


def test_ridge_averages_a_perturbation_over_its_contexts_each_counted_once() -> None:
    controls = torch.full((2, 1), HIGH)
    training = TrainingEffects.of_groups(
        controls,
        controls[0] + torch.tensor([[1.0], [3.0], [10.0]]),
        perturbation=torch.tensor([4, 4, 9]),
        context=torch.tensor([0, 1, 1]),
        cells=torch.tensor([1000, 1, 1]),
    )
    # The one feature is the same for both: the mean of 2 and 10 is all that can be said.
    model = RidgeEffect(training, torch.ones(10, 1))
    assert_close(effect_of(model, torch.ones(1, 1)), torch.tensor([[6.0]]))
    assert training.perturbations.tolist() == [4, 9]
    assert_close(training.gram, torch.tensor([[16.0, -16.0], [-16.0, 16.0]], dtype=torch.float64))


def test_features_that_predict_nothing_get_the_mean_effect() -> None:
    generator = torch.Generator().manual_seed(3)
    outputs = torch.randn(40, 30, generator=generator)
    useless = torch.randn(40, 60, generator=generator)
    model = RidgeEffect(training_of(outputs), useless)
    assert model.penalty >= 100
    one_hot = RidgeEffect(training_of(outputs[:-1]), torch.eye(40))
    assert one_hot.penalty == float("inf")
    mean = outputs[:-1].mean(dim=0).expand(2, -1)
    assert_close(effect_of(one_hot, torch.eye(40)[[39, 3]]), mean, atol=1e-5, rtol=1e-5)


def test_one_training_perturbation_is_all_that_ridge_knows() -> None:
    model = RidgeEffect(training_of(torch.tensor([[1.0, 2.0]])), torch.randn(3, 7))
    assert_close(effect_of(model, torch.randn(1, 7)), torch.tensor([[1.0, 2.0]]))


def test_nearest_neighbour_is_the_planted_one() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(20, 8, generator=generator)
    outputs = torch.randn(20, 3, generator=generator)
    model = nearest_neighbour(training_of(outputs), features)
    asked = features[[4, 17, 4]] + 0.01 * torch.randn(3, 8, generator=generator)
    assert_close(effect_of(model, asked), outputs[[4, 17, 4]], atol=1e-5, rtol=1e-5)
    assert model.nearest(torch.arange(20, 23)).nonzero().tolist() == [[0, 4], [1, 17], [2, 4]]


def test_nearest_is_by_distance_and_not_by_direction() -> None:
    features = torch.tensor([[0.5, 0.1], [9.0, 0.0]])
    model = nearest_neighbour(training_of(torch.tensor([[1.0], [2.0]])), features)
    assert_close(effect_of(model, torch.tensor([[1.0, 0.0]])), torch.tensor([[1.0]]))


def test_equally_near_neighbours_are_averaged() -> None:
    outputs = torch.tensor([[1.0], [3.0], [20.0]])
    model = nearest_neighbour(training_of(outputs), torch.tensor([[0.0], [2.0], [9.0], [1.0]]))
    assert_close(effect_of(model, torch.tensor([[1.0]])), torch.tensor([[2.0]]))
    # One-hot: what was trained on finds itself, what wasn't gets the mean of all.
    one_hot = nearest_neighbour(training_of(outputs), torch.eye(4))
    found = effect_of(one_hot, torch.eye(4)[[2, 3]])
    assert_close(found, torch.tensor([[20.0], [8.0]]))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), scale=st.floats(1e-3, 1e3), n=st.integers(2, 12))
def test_order_of_groups_and_scale_of_features_change_nothing(
    seed: int, scale: float, n: int
) -> None:
    features, outputs = problem(n, 5, seed)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    asked = problem(3, 5, seed + 1)[0]
    for baseline in (RidgeEffect, nearest_neighbour):
        straight = effect_of(baseline(training_of(outputs), features), asked)
        training = training_of(outputs[order], order.tolist())
        shuffled = effect_of(baseline(training, scale * features), scale * asked)
        assert_close(straight, shuffled, atol=1e-4, rtol=1e-4)
