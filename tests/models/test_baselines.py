from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from workflow_scripts.models import (
    Additive,
    Baseline,
    ContextMean,
    ControlBaseline,
    MeanResponse,
    PerturbationMeanEffect,
    TrainingEffects,
)
from workflow_scripts.models.baselines import (
    ADDITIVE_PENALTY,
    FALLBACK,
    NO_CONTEXT,
    NO_MEAN,
    NO_PERTURBATION,
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


PLANTED = {
    "control_means": torch.tensor(CONTROL_MEANS),
    "means": torch.tensor([mean for *_, mean in GROUPS]),
    "perturbation": torch.tensor([group[0] for group in GROUPS]),
    "context": torch.tensor([group[1] for group in GROUPS]),
    "cells": torch.tensor([group[2] for group in GROUPS]),
}


@pytest.fixture
def training() -> TrainingEffects:
    return TrainingEffects.of_groups(**PLANTED)


def ask(model: Baseline, perturbation: list[int], context: list[int]) -> torch.Tensor:
    """Return the predicted effects, of one profile a context the profiles."""
    contexts = torch.tensor(context)
    effects = model.effects(torch.tensor(perturbation), contexts)
    return effects + model.training.control_means[contexts] if model.one_profile else effects


def test_control_baseline_predicts_no_effect(training: TrainingEffects) -> None:
    assert torch.equal(ask(ControlBaseline(training), [0, 9], [0, 1]), torch.zeros(2, 2))


def test_mean_response_is_the_mean_of_the_contexts_perturbations_in_every_cell(
    training: TrainingEffects,
) -> None:
    prediction = ask(MeanResponse(training), [0, 0], [0, 1])
    assert_close(prediction[0], torch.tensor([2.0, 3.0]))
    assert_close(prediction[1], torch.tensor([1.5, 1.0]))


def test_mean_response_ties_all_perturbations_of_a_context_exactly(
    training: TrainingEffects,
) -> None:
    prediction = ask(MeanResponse(training), [0, 1, 77], [1, 1, 1])
    assert torch.equal(prediction[0], prediction[1])
    assert torch.equal(prediction[0], prediction[2])


def test_mean_response_of_an_untrained_context_adds_the_mean_effect_of_the_others(
    training: TrainingEffects,
) -> None:
    # Mean effects (1, 1) and (-1.5, 0.5) of contexts 0 and 1, each counted once.
    prediction = ask(MeanResponse(training), [0], [2])
    assert_close(prediction[0], torch.tensor([0.5 - 0.25, 4.0 + 0.75]))


def test_perturbation_mean_effect_leaves_out_the_predicted_context(
    training: TrainingEffects,
) -> None:
    prediction = ask(PerturbationMeanEffect(training), [0, 0, 0], [0, 1, 2])
    assert_close(prediction, torch.tensor([[-1.0, 1.0], [1.0, 0.0], [0.0, 0.5]]))


def test_perturbation_mean_effect_weighs_the_groups_of_a_pair_by_their_cells(
    training: TrainingEffects,
) -> None:
    prediction = ask(PerturbationMeanEffect(training), [1], [2])
    assert_close(prediction, torch.tensor([[1.0, 2.0]]))


def test_perturbation_mean_effect_falls_back_where_no_other_context_saw_it(
    training: TrainingEffects,
) -> None:
    model = PerturbationMeanEffect(training)
    # Mean effects: perturbation 0 (0, 0.5), 1 (1, 2), 5 (-2, 0); their mean is (-1/3, 2.5/3).
    expected = torch.tensor([-1 / 3, 2.5 / 3])
    unseen, only_here = ask(model, [77, 1], [0, 0])
    assert_close(unseen, expected)
    assert_close(only_here, expected)


def test_perturbation_mean_effect_says_where_it_fell_back(training: TrainingEffects) -> None:
    perturbation = torch.tensor([0, 0, 1, 1, 5, 77])
    context = torch.tensor([0, 2, 0, 1, 1, 2])
    notes = PerturbationMeanEffect(training).notes(perturbation, context)
    assert notes == ["", "", FALLBACK, "", FALLBACK, FALLBACK]


def test_context_mean_is_the_mean_of_the_contexts_perturbed_cells(
    training: TrainingEffects,
) -> None:
    prediction = ask(ContextMean(training), [0, 77], [0, 1])
    # 10 cells at (2, 2), 30 at (1, 5), 10 at (5, 1); then 20 each at (2, 1.5) and (1, 0.5).
    assert_close(prediction[0], torch.tensor([2.0, 3.6]))
    assert_close(prediction[1], torch.tensor([1.5, 1.0]))


def test_context_mean_of_an_untrained_context_is_its_control_mean(
    training: TrainingEffects,
) -> None:
    model = ContextMean(training)
    assert torch.equal(ask(model, [0], [2])[0], torch.tensor(CONTROL_MEANS[2]))
    assert model.notes(torch.zeros(3, dtype=torch.int64), torch.tensor([0, 1, 2])) == [
        "",
        "",
        NO_MEAN,
    ]


def planted_additive(seed: int) -> tuple[TrainingEffects, torch.Tensor, torch.Tensor]:
    """Plant effects that add up, in a third of the pairs; return context and perturbation parts."""
    generator = torch.Generator().manual_seed(seed)
    of_context = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    of_perturbation = torch.randn(30, 5, generator=generator, dtype=torch.float64)
    trained = torch.rand(30, 4, generator=generator) < torch.tensor([0.9, 0.2, 0.2, 0.2])
    perturbation, context = trained.nonzero().T
    controls = torch.full((4, 5), 20.0, dtype=torch.float64)
    training = TrainingEffects.of_groups(
        controls,
        controls[context] + of_context[context] + of_perturbation[perturbation],
        perturbation=perturbation,
        context=context,
        cells=torch.ones_like(context),
    )
    return training, of_context, of_perturbation


def test_additive_recovers_planted_effects_of_an_unbalanced_design() -> None:
    training, of_context, of_perturbation = planted_additive(0)
    model, mean = Additive(training), PerturbationMeanEffect(training)
    seen = set(zip(training.perturbation.tolist(), training.context.tolist(), strict=True))
    pairs = {(p, c) for p in training.perturbations.tolist() for c in range(4)}
    asked = sorted(pairs - seen)
    assert len(asked) > 40
    errors = []
    for p, c in asked:
        expected = of_context[c] + of_perturbation[p]
        errors.append([(ask(m, [p], [c])[0] - expected).abs().max() for m in (model, mean)])
    additive, plain = torch.tensor(errors).amax(dim=0)
    assert additive < 0.02
    # The plain mean credits the perturbation with what its contexts do to all.
    assert plain > 1.0


def test_additive_is_the_penalised_least_squares_fit() -> None:
    training, *_ = planted_additive(1)
    n_pairs, n_levels = len(training.cells), 1 + 4 + 30
    design = np.zeros((n_pairs, n_levels))
    design[:, 0] = 1
    design[np.arange(n_pairs), 1 + training.context.numpy()] = 1
    design[np.arange(n_pairs), 5 + training.perturbation.numpy()] = 1
    penalty = np.diag([0.0] + [ADDITIVE_PENALTY] * (n_levels - 1))
    effects = training.effects.numpy().astype(np.float64)
    fit = np.linalg.solve(design.T @ design + penalty, design.T @ effects)
    for p, c in [(0, 0), (7, 3), (29, 1)]:
        predicted = ask(Additive(training), [p], [c])[0]
        np.testing.assert_allclose(predicted, fit[0] + fit[1 + c] + fit[5 + p], atol=1e-5)


def test_additive_knows_nothing_of_levels_that_were_not_trained_on(
    training: TrainingEffects,
) -> None:
    model = Additive(training)
    new, other = ask(model, [77, 78], [0, 0]), ask(model, [5, 77], [2, 2])
    assert torch.equal(new[0], new[1])
    # A new context has the common effect and the perturbation's; the common one is what is left.
    of_five = model._of_perturbation(5)
    constant = model.of_context[2]
    assert_close(other[1], constant)
    assert_close(other[0], constant + of_five)
    assert model.notes(torch.tensor([0, 77]), torch.tensor([2, 0])) == [NO_CONTEXT, NO_PERTURBATION]


def test_an_effect_of_several_groups_is_weighted_by_cells_and_held_once(
    training: TrainingEffects,
) -> None:
    pairs = list(zip(training.perturbation.tolist(), training.context.tolist(), strict=True))
    assert pairs == [(0, 0), (0, 1), (1, 0), (5, 1)]
    assert training.cells.tolist() == [10, 20, 40, 20]
    assert_close(training.effects, torch.tensor([[1.0, 0], [-1, 1], [1, 2], [-2, 0]]))
    for model in (PerturbationMeanEffect(training), Additive(training)):
        assert model.training.effects.data_ptr() == training.effects.data_ptr()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"context": torch.tensor([0, 0, 0, 1, 3])}, "context 3"),
        ({"cells": torch.tensor([10, 30, 0, 20, 20])}, "no cells"),
    ],
)
def test_groups_that_do_not_fit_are_refused(change: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingEffects.of_groups(**(PLANTED | change))


def test_no_training_group_is_refused() -> None:
    nothing = {name: value[:0] for name, value in PLANTED.items() if name != "control_means"}
    with pytest.raises(ValueError, match="no training group"):
        TrainingEffects.of_groups(control_means=PLANTED["control_means"], **nothing)
