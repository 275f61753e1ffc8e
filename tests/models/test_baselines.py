from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from workflow_scripts.models import (
    ControlBaseline,
    MeanResponse,
    PerturbationMeanEffect,
    TrainingMeans,
)

# Three contexts, two genes. Perturbation 0 was seen in contexts 0 and 1, perturbation 1 in context
# 0 only (in two groups), perturbation 5 in context 1 only; context 2 has controls alone.
CONTROL_MEANS = [[1.0, 2.0], [3.0, 0.5], [0.5, 4.0]]
GROUPS = [
    # perturbation, context, cells, mean
    (0, 0, 10, [2.0, 2.0]),  # effect (1, 0)
    (1, 0, 30, [1.0, 5.0]),
    (1, 0, 10, [5.0, 1.0]),  # with the group above: mean (2, 4), effect (1, 2)
    (0, 1, 20, [2.0, 1.5]),  # effect (-1, 1)
    (5, 1, 20, [1.0, 0.5]),  # effect (-2, 0)
]


@pytest.fixture
def means() -> TrainingMeans:
    return TrainingMeans(
        control_means=torch.tensor(CONTROL_MEANS),
        perturbed_means=torch.tensor([mean for *_, mean in GROUPS]),
        group_perturbation=torch.tensor([group[0] for group in GROUPS]),
        group_context=torch.tensor([group[1] for group in GROUPS]),
        group_cells=torch.tensor([group[2] for group in GROUPS]),
    )


def control(sets: int) -> torch.Tensor:
    return torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 0.0]]).expand(sets, 3, 2)


def ask(model: torch.nn.Module, perturbation: list[int], context: list[int]) -> torch.Tensor:
    prediction: torch.Tensor = model(
        control(len(context)),
        torch.zeros(len(context), 4),
        perturbation=torch.tensor(perturbation),
        context=torch.tensor(context),
    )
    return prediction


def test_control_baseline_returns_the_control_cells() -> None:
    assert torch.equal(ask(ControlBaseline(), [0, 9], [0, 1]), control(2))


def test_mean_response_is_the_mean_of_the_contexts_perturbations_in_every_cell(
    means: TrainingMeans,
) -> None:
    prediction = ask(MeanResponse(means), [0, 0], [0, 1])
    assert_close(prediction[0], torch.tensor([2.0, 3.0]).expand(3, 2))
    assert_close(prediction[1], torch.tensor([1.5, 1.0]).expand(3, 2))


def test_mean_response_ties_all_perturbations_of_a_context_exactly(means: TrainingMeans) -> None:
    prediction = ask(MeanResponse(means), [0, 1, 77], [1, 1, 1])
    assert torch.equal(prediction[0], prediction[1])
    assert torch.equal(prediction[0], prediction[2])


def test_mean_response_of_an_untrained_context_adds_the_mean_effect_of_the_others(
    means: TrainingMeans,
) -> None:
    # Mean effects (1, 1) and (-1.5, 0.5) of contexts 0 and 1, each counted once.
    prediction = ask(MeanResponse(means), [0], [2])
    assert_close(prediction[0], torch.tensor([0.5 - 0.25, 4.0 + 0.75]).expand(3, 2))


def test_perturbation_mean_effect_leaves_out_the_predicted_context(means: TrainingMeans) -> None:
    prediction = ask(PerturbationMeanEffect(means), [0, 0, 0], [0, 1, 2])
    assert_close(prediction[0], torch.tensor([[0.0, 2.0], [1.0, 4.0], [3.0, 1.0]]))
    assert_close(prediction[1], torch.tensor([[1.0, 1.0], [3.0, 3.0], [5.0, 0.0]]))
    assert_close(prediction[2], torch.tensor([[0.0, 1.5], [2.0, 3.5], [4.0, 0.5]]))


def test_perturbation_mean_effect_weighs_the_groups_of_a_pair_by_their_cells(
    means: TrainingMeans,
) -> None:
    prediction = ask(PerturbationMeanEffect(means), [1], [2])
    assert_close(prediction, control(1) + torch.tensor([1.0, 2.0]))


def test_perturbation_mean_effect_falls_back_where_no_other_context_saw_it(
    means: TrainingMeans,
) -> None:
    model = PerturbationMeanEffect(means)
    # Mean effects: perturbation 0 (0, 0.5), 1 (1, 2), 5 (-2, 0); their mean is (-1/3, 2.5/3).
    expected = (control(1)[0] + torch.tensor([-1 / 3, 2.5 / 3])).clamp_min(0.0)
    unseen, only_here = ask(model, [77, 1], [0, 0])
    assert_close(unseen, expected)
    assert_close(only_here, expected)


def test_perturbation_mean_effect_says_where_it_fell_back(means: TrainingMeans) -> None:
    perturbation = torch.tensor([0, 0, 1, 1, 5, 77])
    context = torch.tensor([0, 2, 0, 1, 1, 2])
    fallback = PerturbationMeanEffect(means).uses_fallback(perturbation, context)
    assert fallback.tolist() == [False, False, True, False, True, True]


def test_perturbation_mean_effect_is_never_negative(means: TrainingMeans) -> None:
    prediction = ask(PerturbationMeanEffect(means), [5], [0])
    assert_close(prediction[0], torch.tensor([[0.0, 1.0], [0.0, 3.0], [2.0, 0.0]]))


@pytest.mark.parametrize("baseline", [MeanResponse, PerturbationMeanEffect])
def test_baselines_that_need_to_know_the_set_say_so(
    means: TrainingMeans, baseline: type[MeanResponse] | type[PerturbationMeanEffect]
) -> None:
    with pytest.raises(ValueError, match="needs"):
        baseline(means)(control(1), torch.zeros(1, 4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group_context": torch.tensor([0, 0, 0, 1, 3])}, "context 3"),
        ({"group_cells": torch.tensor([10, 30, 0, 20, 20])}, "no cells"),
    ],
)
def test_means_that_do_not_fit_are_refused(
    means: TrainingMeans, change: dict[str, torch.Tensor], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingMeans(**(vars(means) | change))


def test_no_training_group_is_refused(means: TrainingMeans) -> None:
    nothing = {name: value[:0] for name, value in vars(means).items() if name != "control_means"}
    with pytest.raises(ValueError, match="no training group"):
        TrainingMeans(control_means=means.control_means, **nothing)
