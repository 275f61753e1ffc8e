"""Scores of effects are those of cell-eval2."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cell_eval2.metrics.delta import pearson_delta
from cell_eval2.metrics.discrimination import discrimination_score

from workflow_scripts.models.effect_scores import EFFECT_SCORES, discrimination

NAMES = np.array(["control", "A", "B", "C", "D", "E"])


def official(name: str, predicted: np.ndarray, observed: np.ndarray) -> dict[str, float]:
    """Score effects [perturbations, genes] with cell-eval2, the control being zero."""
    control = np.zeros((1, predicted.shape[1]))
    names = NAMES[: len(predicted) + 1]
    bulks = {
        "pred_bulk": (names, np.concatenate([control, predicted])),
        "real_bulk": (names, np.concatenate([control, observed])),
    }
    if name == "delta_pearson":
        return pearson_delta(**bulks, control="control", control_source="real")
    return discrimination_score(
        **bulks,
        control="control",
        distance="cosine" if name == "pds_cosine" else "l1",
        rank_denominator="n-1",
        tie_policy="midrank",
        exclude_target_gene=False,
        control_source="real",
    )


@pytest.mark.parametrize("name", sorted(EFFECT_SCORES))
@pytest.mark.parametrize("kind", ["noisy", "collapsed", "zero among them", "two", "ties"])
def test_score_is_that_of_cell_eval2(name, kind):
    generator = np.random.default_rng(4)
    observed = generator.normal(size=(2 if kind == "two" else 5, 40))
    predicted = observed + 1.5 * generator.normal(size=observed.shape)
    if kind == "collapsed":
        predicted[:] = observed.mean(axis=0)
    if kind == "zero among them" and name != "delta_pearson":
        predicted[2] = 0.0
    if kind == "ties":
        observed[3] = observed[1]
    expected = official(name, predicted, observed)
    scores = EFFECT_SCORES[name](torch.tensor(predicted), torch.tensor(observed))
    np.testing.assert_allclose(scores, list(expected.values()), rtol=1e-8)
    single = EFFECT_SCORES[name](torch.tensor(predicted).float(), torch.tensor(observed).float())
    np.testing.assert_allclose(single, list(expected.values()), rtol=1e-4)


def test_effect_with_nan_has_no_score():
    effects = torch.rand(3, 4, 8)
    effects[0, 1, 2] = torch.nan
    for score in EFFECT_SCORES.values():
        assert score(effects[0], effects[1]).isnan().tolist() == [False, True, False, False]


def test_own_effect_that_is_nearest_ranks_first_and_farthest_last():
    distances = torch.tensor([[0.0, 1.0, 2.0], [1.0, 5.0, 0.0], [3.0, 2.0, 2.5]])
    scores = discrimination(torch.empty(3, 1), torch.empty(3, 1), lambda *_: distances)
    assert scores.tolist() == [1.0, 0.0, 0.5]
