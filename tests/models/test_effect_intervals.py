"""Intervals of denoised effects on screens with noise: they hold as many means as they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.models.test_denoised import (
    HELD_OUT,
    N_CELLS,
    N_CONTEXTS,
    N_GENES,
    N_PERTURBATIONS,
    Screen,
    low_rank_screen,
    tensors,
)
from workflow_scripts.models.denoised import MEASURED, OF_MEAN, OF_PARTS, OF_RIDGE, Denoised
from workflow_scripts.models.effect_intervals import fit_intervals


def held(model: Denoised, screen: Screen, pairs: list[tuple[int, int]], source: str) -> float:
    """Return the share of observed means that lie in the intervals of pairs of one context."""
    numbers, contexts = tensors(pairs)
    assert set(model.sources(numbers, contexts)) == {source}
    intervals = fit_intervals(model, int(contexts[0]), source)
    cells = torch.full((len(pairs),), N_CELLS)
    expression = model.training.control_means[contexts[0]]
    low, high = intervals.around(model.effects(numbers, contexts), cells, expression)
    observed = torch.stack([screen.measured[context, number] for number, context in pairs])
    return float(((low <= observed) & (observed <= high)).double().mean())


@pytest.mark.parametrize("noise", [0.3, 1.0, 5.0])
def test_intervals_hold_nine_means_of_ten(noise: float) -> None:
    screen = low_rank_screen(noise=noise)
    model = screen.fit(HELD_OUT)
    assert 0.85 <= held(model, screen, HELD_OUT, MEASURED) <= 0.95


def test_intervals_of_unknown_perturbations_hold_nine_means_of_ten() -> None:
    screen = low_rank_screen()
    unknown = [(number, context) for number in range(8) for context in range(N_CONTEXTS)]
    factors = torch.linalg.svd(torch.from_numpy(screen.truth.mean(0)))[0][:, :8].float()
    for model, source in (
        (screen.fit(unknown), OF_MEAN),
        (screen.fit(unknown, features=factors), OF_RIDGE),
    ):
        share = held(model, screen, [(number, 0) for number in range(8)], source)
        assert 0.85 <= share <= 0.95


def test_intervals_in_a_context_without_training_hold_nine_means_of_ten() -> None:
    screen = low_rank_screen()
    pairs = [(number, 2) for number in range(N_PERTURBATIONS)]
    assert 0.85 <= held(screen.fit(pairs), screen, pairs, MEASURED) <= 0.95


def test_intervals_of_combinations_hold_nine_means_of_ten() -> None:
    rng = np.random.default_rng(3)
    truth = rng.standard_normal((N_PERTURBATIONS, 3)) @ rng.standard_normal((3, N_GENES)) * 0.1
    parts = {number: (number + 14, number + 24) for number in range(12)}
    screen = Screen(truth)
    for number, (one, two) in parts.items():
        change = screen.truth[:, one] + screen.truth[:, two] - screen.truth[:, number]
        screen.measured[:, number] += torch.from_numpy(change).float()
    unknown = [(number, context) for number in range(4) for context in range(N_CONTEXTS)]
    model = screen.fit(unknown, combinations=parts)
    share = held(model, screen, [(number, 0) for number in range(4)], OF_PARTS)
    assert 0.85 <= share <= 0.97


def test_more_cells_have_narrower_intervals() -> None:
    screen = low_rank_screen()
    model = screen.fit(HELD_OUT)
    intervals = fit_intervals(model, 0, MEASURED)
    effects = torch.zeros(2, N_GENES)
    low, high = intervals.around(effects, torch.tensor([20, 2000]), model.training.control_means[0])
    widths = (high - low).mean(dim=1)
    assert widths[1] < 0.6 * widths[0]


def test_too_little_that_is_left_out_gives_no_interval() -> None:
    screen = low_rank_screen()
    alone = [(number, 1) for number in range(3, N_PERTURBATIONS)]
    intervals = fit_intervals(screen.fit(alone), 1, MEASURED)
    low, high = intervals.around(torch.zeros(1, N_GENES), torch.tensor([50]), torch.zeros(N_GENES))
    assert bool(low.isnan().all() and high.isnan().all())
