"""The verdict's words follow the numbers."""

from __future__ import annotations

from typing import Any, cast

import pandas as pd
import pytest

from workflow_scripts.evaluation.reference_ends import Ends
from workflow_scripts.evaluation.scaling import mark_noise
from workflow_scripts.evaluation.statistics import comparisons
from workflow_scripts.reporting.formats import Scores
from workflow_scripts.reporting.verdict import Outcome, Verdict, judge
from workflow_scripts.reporting.words import MODEL, MODEL_LABELS, MODEL_MEANINGS
from workflow_scripts.settings.schema.stages import BASELINES

STRONG = "perturbation_mean_effect"
NO_SCALE: dict[str, Any] = {"scaled": {}, "scaled_intervals": {}}


def judged(sd: float = 0.0, **values: list[float]) -> Verdict:
    """Judge a metric that has these values per perturbation, by model."""
    metrics = pd.DataFrame(
        [
            (model, "a", f"G{i}", "pds_cosine", value)
            for model, series in values.items()
            for i, value in enumerate(series)
        ],
        columns=["model", "context", "perturbation", "metric", "value"],
    )
    overall = {model: {"pds_cosine": sum(v) / len(v)} for model, v in values.items()}
    tests = comparisons(metrics, MODEL, {"pds_cosine": "higher"}, 100)
    mark_noise(tests, {"a": Ends({}, {}, {"pds_cosine": sd})})
    scores: dict[str, Any] = {"overall": overall, "refused": [], "comparisons": tests, **NO_SCALE}
    return judge(cast(Scores, scores), metrics)


HIGH = [0.9, 0.8, 0.95, 0.85, 0.9, 0.8] * 2
NEAR = [0.8, 0.9, 0.85, 0.95, 0.8, 0.85] * 2
HALF = [0.5] * 12
LOW = [0.1, 0.2, 0.15, 0.1, 0.2, 0.1] * 2


@pytest.mark.parametrize(
    ("model", "mean", "strong", "headline"),
    [
        (HIGH, HALF, LOW, "better than every baseline"),
        (HIGH, HALF, NEAR, "about as well as the perturbation mean effect"),
        ([0.6, 0.7, 0.65, 0.6, 0.7, 0.65] * 2, HALF, HIGH, "does better"),
        ([0.45, 0.55, 0.5, 0.52, 0.48, 0.53] * 2, HALF, HIGH, "can't be told from one profile"),
        (LOW, HALF, HIGH, "worse than one profile"),
        (HIGH[:6], HALF[:6], LOW[:6], "Too few perturbations"),
    ],
)
def test_headline_says_who_won(
    model: list[float], mean: list[float], strong: list[float], headline: str
) -> None:
    verdict = judged(model=model, mean_response=mean, **{STRONG: strong})
    assert headline in verdict.headline


BARELY = [0.6, 0.7, 0.65, 0.6, 0.7, 0.65] * 2


@pytest.mark.parametrize(
    ("baselines", "headline"),
    [
        (
            {"mean_response": HALF, "ridge": HIGH, "additive": HIGH, "control": LOW},
            "The model tells perturbations apart, but the additive effect and the ridge on "
            "features, which need no training, do better.",
        ),
        (
            {"mean_response": HALF, STRONG: HIGH, "ridge": BARELY[::-1]},
            "The model tells perturbations apart, but the perturbation mean effect, which needs no "
            "training, does better.",
        ),
        (
            {"mean_response": HALF, "ridge_shuffled": BARELY[::-1], "ridge": BARELY},
            "The model tells perturbations apart, about as well as the ridge on features and the "
            "ridge on shuffled features, which need no training.",
        ),
        (
            {"context_mean": BARELY, "ridge": HIGH},
            "The model can't be told from one profile for all perturbations.",
        ),
    ],
)
def test_headline_names_every_baseline_that_was_not_beaten(
    baselines: dict[str, list[float]], headline: str
) -> None:
    assert judged(model=BARELY, **baselines).headline == headline


def test_every_baseline_has_a_name_and_a_sentence() -> None:
    assert set(MODEL_MEANINGS) == set(MODEL_LABELS) == {MODEL, *BASELINES}
    assert len(set(MODEL_LABELS.values())) == len(MODEL_LABELS)


def test_an_equal_score_is_no_win() -> None:
    (comparison,) = judged(model=HALF, mean_response=HALF).comparisons
    assert comparison.outcome is Outcome.CLOSE
    assert (comparison.difference, comparison.n_better) == (0, 0)


def test_difference_below_what_chance_does_to_a_replicate_is_not_won():
    small = [value - 0.02 - 0.001 * i for i, value in enumerate(HIGH)]
    for sd, outcome in ((0.01, Outcome.WON), (0.05, Outcome.NOISE)):
        verdict = judged(sd, model=HIGH, mean_response=small)
        assert [item.outcome for item in verdict.comparisons] == [outcome]
    assert "can't be told from one profile" in verdict.headline


def test_difference_is_paired_by_perturbation() -> None:
    better_everywhere = [value + 0.01 for value in HIGH]
    (comparison,) = judged(model=better_everywhere, mean_response=HIGH).comparisons
    assert comparison.outcome is Outcome.WON
    assert (comparison.n_better, comparison.n_pairs) == (12, 12)
    assert comparison.low is not None
    assert 0 < comparison.low < comparison.difference + 1e-9


def test_a_score_without_values_per_perturbation_is_not_called() -> None:
    scores: dict[str, Any] = {
        "overall": {"model": {"pds_l1": 0.9}, "mean_response": {"pds_l1": 0.5}},
        "refused": [],
        "comparisons": {},
        **NO_SCALE,
    }
    columns = ["model", "context", "perturbation", "metric", "value"]
    verdict = judge(cast(Scores, scores), pd.DataFrame(columns=columns))
    assert [item.outcome for item in verdict.comparisons] == [Outcome.FEW]
