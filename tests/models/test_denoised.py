"""The denoised baseline on screens whose true effects are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from workflow_scripts.models.baselines import Additive
from workflow_scripts.models.denoised import (
    MEASURED,
    OF_MEAN,
    OF_PARTS,
    OF_RIDGE,
    ControlNoise,
    Denoised,
)
from workflow_scripts.models.training_effects import TrainingEffects

N_PERTURBATIONS, N_CONTEXTS, N_GENES, N_CELLS = 40, 3, 300, 50


class Screen:
    """Effects that contexts share, measured with noise in cells."""

    def __init__(self, truth: np.ndarray, *, seed: int = 0, noise: float = 1.0) -> None:
        rng = np.random.default_rng(seed)
        of_context = 0.2 * rng.standard_normal((N_CONTEXTS, 1, truth.shape[1]))
        self.truth = truth + of_context
        error = noise / N_CELLS**0.5 * rng.standard_normal(self.truth.shape)
        self.measured = torch.from_numpy(self.truth + error).float()
        cells = rng.standard_normal((2 * 150, truth.shape[1])).astype(np.float32) * noise
        self.noise = ControlNoise.of_cells([cells[:150], cells[150:]])

    def training(self, held_out: list[tuple[int, int]]) -> TrainingEffects:
        pairs = [
            (perturbation, context)
            for perturbation in range(self.measured.shape[1])
            for context in range(N_CONTEXTS)
            if (perturbation, context) not in held_out
        ]
        perturbation, context = torch.tensor(pairs).T.contiguous()
        return TrainingEffects(
            torch.zeros(N_CONTEXTS, self.measured.shape[2]),
            self.measured[context, perturbation],
            perturbation,
            context,
            torch.full((len(pairs),), N_CELLS),
        )

    def fit(self, held_out: list[tuple[int, int]], **options: object) -> Denoised:
        own = {number: [number] for number in range(self.measured.shape[1])}
        return Denoised(self.training(held_out), self.noise, own, **options)  # type: ignore[arg-type]


def low_rank_screen(**options: float) -> Screen:
    rng = np.random.default_rng(1)
    truth = rng.standard_normal((N_PERTURBATIONS, 3)) @ rng.standard_normal((3, N_GENES)) * 0.1
    truth[np.arange(N_PERTURBATIONS), np.arange(N_PERTURBATIONS)] -= 2.0
    return Screen(truth, **options)  # type: ignore[arg-type]


def tensors(pairs: list[tuple[int, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    perturbation, context = torch.tensor(pairs).T.contiguous()
    return perturbation, context


HELD_OUT = [(number, 0) for number in range(0, 16, 2)]


def error(predicted: torch.Tensor, screen: Screen, pairs: list[tuple[int, int]]) -> float:
    truth = np.stack([screen.truth[context, perturbation] for perturbation, context in pairs])
    return float(np.square(predicted.numpy() - truth).mean())


def additive(screen: Screen, pairs: list[tuple[int, int]]) -> torch.Tensor:
    return Additive(screen.training(pairs)).effects(*tensors(pairs))


def test_shared_effects_are_predicted_with_less_than_half_the_error_of_the_additive_fit() -> None:
    screen = low_rank_screen()
    predicted = screen.fit(HELD_OUT).effects(*tensors(HELD_OUT))
    of_additive = error(additive(screen, HELD_OUT), screen, HELD_OUT)
    assert error(predicted, screen, HELD_OUT) < 0.5 * of_additive


def test_the_own_gene_keeps_its_effect() -> None:
    screen = low_rank_screen()
    predicted = screen.fit(HELD_OUT).effects(*tensors(HELD_OUT))
    for row, (perturbation, context) in enumerate(HELD_OUT):
        truth = screen.truth[context, perturbation, perturbation]
        assert float(predicted[row, perturbation]) == pytest.approx(truth, abs=0.6)


def test_noise_alone_is_predicted_as_the_mean_response_within_three_percent() -> None:
    screen = Screen(np.zeros((N_PERTURBATIONS, N_GENES)))
    training = screen.training(HELD_OUT)
    predicted = Denoised(training, screen.noise, {}).effects(*tensors(HELD_OUT))
    observed = torch.stack([screen.measured[context, number] for number, context in HELD_OUT])
    mean = training.effects[training.context == 0].mean(dim=0)
    of_mean = (mean - observed).square().mean()
    assert (predicted - observed).square().mean() < 1.03 * of_mean


def test_nothing_of_the_predicted_pairs_is_read() -> None:
    screen = low_rank_screen()
    before = screen.fit(HELD_OUT).effects(*tensors(HELD_OUT))
    for perturbation, context in HELD_OUT:
        screen.measured[context, perturbation] = 7.0
    assert torch.equal(screen.fit(HELD_OUT).effects(*tensors(HELD_OUT)), before)


def test_effects_of_training_pairs_as_predicted_without_them_equal_a_fit_without_them() -> None:
    screen = low_rank_screen()
    pairs, predicted = screen.fit([]).left_out(1)
    training = screen.training([])
    for row in (0, 7, 39):
        pair = [(int(training.perturbation[pairs[row]]), 1)]
        anew = screen.fit(pair).effects(*tensors(pair))[0]
        torch.testing.assert_close(predicted[row], anew, atol=1e-5, rtol=1e-5)


def test_noise_of_another_scale_is_told_by_the_controls() -> None:
    quiet, loud = low_rank_screen(noise=0.3), low_rank_screen(noise=10.0)
    ranks = [len(screen.fit([]).elsewhere(0).patterns) for screen in (quiet, loud)]
    assert ranks[0] >= 3 > ranks[1]


def test_a_context_without_training_has_the_mean_response_of_the_others() -> None:
    screen = low_rank_screen()
    held_out = [(number, 2) for number in range(N_PERTURBATIONS)]
    model = screen.fit(held_out)
    predicted = model.effects(*tensors(held_out))
    others = screen.measured[:2].mean(dim=(0, 1))
    torch.testing.assert_close(predicted.mean(dim=0), others, atol=0.05, rtol=0)
    assert model.notes(*tensors(held_out)) == [""] * N_PERTURBATIONS


def test_an_unknown_perturbation_has_the_mean_response() -> None:
    screen = low_rank_screen()
    unknown = [(3, context) for context in range(N_CONTEXTS)]
    model = screen.fit(unknown)
    predicted = model.effects(*tensors(unknown[:1]))[0]
    training = model.training
    torch.testing.assert_close(predicted, training.effects[training.context == 0].mean(dim=0))
    assert model.sources(*tensors(unknown)) == [OF_MEAN] * N_CONTEXTS


def test_features_tell_of_an_unknown_perturbation() -> None:
    screen = low_rank_screen(noise=0.3)
    factors = torch.linalg.svd(torch.from_numpy(screen.truth.mean(0)))[0][:, :8].float()
    unknown = [(number, context) for number in (1, 4, 9) for context in range(N_CONTEXTS)]
    ridge = screen.fit(unknown, features=factors)
    of_ridge = error(ridge.effects(*tensors(unknown)), screen, unknown)
    of_mean = error(screen.fit(unknown).effects(*tensors(unknown)), screen, unknown)
    assert of_ridge < 0.9 * of_mean
    assert set(ridge.sources(*tensors(unknown))) == {OF_RIDGE}


def test_an_unknown_combination_is_the_sum_of_its_parts() -> None:
    rng = np.random.default_rng(1)
    truth = rng.standard_normal((N_PERTURBATIONS, 3)) @ rng.standard_normal((3, N_GENES)) * 0.1
    truth[0] = truth[1] + truth[2]
    screen = Screen(truth)
    screen.truth[:, 0] = screen.truth[:, 1] + screen.truth[:, 2]
    unknown = [(0, context) for context in range(N_CONTEXTS)]
    of_parts = screen.fit(unknown, combinations={0: (1, 2)})
    assert of_parts.sources(*tensors([*unknown, (1, 0)])) == [OF_PARTS] * 3 + [MEASURED]
    of_mean = screen.fit(unknown)
    errors = [
        error(model.effects(*tensors(unknown)), screen, unknown) for model in (of_parts, of_mean)
    ]
    assert errors[0] < 0.2 * errors[1]


def test_a_combination_of_an_unknown_part_is_no_sum() -> None:
    screen = low_rank_screen()
    unknown = [(number, context) for number in (0, 2) for context in range(N_CONTEXTS)]
    model = screen.fit(unknown, combinations={0: (1, 2)})
    assert model.sources(*tensors(unknown)) == [OF_MEAN] * 6


@pytest.mark.parametrize("n_perturbations", [1, 2, 3])
def test_few_perturbations_give_finite_effects(n_perturbations: int) -> None:
    screen = Screen(np.random.default_rng(0).standard_normal((n_perturbations, N_GENES)))
    model = screen.fit([])
    pairs = [(number, 0) for number in range(n_perturbations)]
    assert bool(model.effects(*tensors(pairs)).isfinite().all())
    assert bool(model.left_out(0)[1].isfinite().all()) == (n_perturbations > 1)


def test_one_context_has_the_mean_response_of_its_perturbations() -> None:
    screen = low_rank_screen()
    training = screen.training([])
    first = (training.context == 0).nonzero()[:, 0]
    alone = replace(
        training,
        effects=training.effects[first],
        perturbation=training.perturbation[first],
        context=training.context[first],
        cells=training.cells[first],
    )
    predicted = Denoised(alone, screen.noise, {}).effects(*tensors([(5, 0)]))[0]
    torch.testing.assert_close(predicted, alone.effects.mean(dim=0))
