"""The verdict's words follow the numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.reporting.run_files import some_scores
from workflow_scripts.cells.results import Anchors
from workflow_scripts.evaluation.scaling import find_scales, mark_noise
from workflow_scripts.evaluation.statistics import comparisons
from workflow_scripts.reporting.verdict import Outcome, Verdict, judge
from workflow_scripts.reporting.words import MODEL, MODEL_LABELS, MODEL_MEANINGS
from workflow_scripts.settings.choices import BASELINES


def judged(
    sd: float = 0.0, rivals: tuple[str, ...] = ("additive",), **values: list[float]
) -> Verdict:
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
    scales = find_scales({"a": Anchors({}, {}, {"pds_cosine": sd})}, {"pds_cosine": "higher"})
    marked = mark_noise(tests, scales)
    return judge(some_scores(overall=overall, comparisons=marked, rivals=list(rivals)), metrics)


HIGH = [0.9, 0.8, 0.95, 0.85, 0.9, 0.8] * 2
NEAR = [0.8, 0.9, 0.85, 0.95, 0.8, 0.85] * 2
HALF = [0.5] * 12
LOW = [0.1, 0.2, 0.15, 0.1, 0.2, 0.1] * 2


ALONE = "The model tells perturbations apart better than the additive effect."


@pytest.mark.parametrize(
    ("model", "additive", "headline"),
    [
        (HIGH, LOW, ALONE),
        (HIGH, NEAR, "The model can't be told from the additive effect, which needs no training."),
        (HALF, HIGH, "The model tells perturbations apart worse than the additive effect, which"),
        (HIGH[:5], LOW[:5], "Too few perturbations to judge"),
    ],
)
def test_headline_says_who_won(model: list[float], additive: list[float], headline: str) -> None:
    assert judged(model=model, additive=additive).headline.startswith(headline)


def test_other_baselines_describe_and_decide_nothing() -> None:
    verdict = judged(model=NEAR, additive=LOW, ridge=HIGH, mean_response=HIGH)
    assert verdict.headline == ALONE
    outcomes = {item.baseline: item.outcome for item in verdict.comparisons}
    assert outcomes == {"additive": Outcome.WON, "ridge": None, "mean_response": None}
    assert all(item.low is not None for item in verdict.comparisons)


def test_rival_that_was_not_scored_is_said() -> None:
    verdict = judged(model=HIGH, mean_response=HALF, rivals=("ridge",))
    assert verdict.headline.startswith("Not judged: the ridge on features, the rival")
    assert judged(model=HIGH, additive=LOW, rivals=()).headline.startswith("Not judged")


def test_where_two_are_declared_both_have_to_be_beaten() -> None:
    both = ("additive", "ridge")
    verdict = judged(model=NEAR, additive=LOW, ridge=HIGH, rivals=both)
    assert "can't be told from the ridge on features, which needs" in verdict.headline
    verdict = judged(model=HIGH, additive=LOW, ridge=HALF, rivals=both)
    assert "better than the additive effect and the ridge on features." in verdict.headline


@pytest.mark.parametrize("seed", range(20))
def test_word_and_interval_never_contradict_each_other(seed: int) -> None:
    draws = np.random.default_rng(seed)
    model, additive = draws.normal(0.5, 0.3, 10) + 0.03 * seed, draws.normal(0.5, 0.3, 10)
    others = {name: list(draws.normal(0.5, 0.3, 10)) for name in ("ridge", "control")}
    verdict = judged(model=list(model), additive=list(additive), **others)
    (rival,) = [item for item in verdict.comparisons if item.outcome is not None]
    assert rival.low is not None
    assert rival.high is not None
    expected = Outcome.WON if rival.low > 0 else Outcome.LOST if rival.high < 0 else Outcome.CLOSE
    assert rival.outcome is expected


def test_every_baseline_has_a_name_and_a_sentence() -> None:
    assert set(MODEL_MEANINGS) == set(MODEL_LABELS) == {MODEL, *BASELINES}
    assert len(set(MODEL_LABELS.values())) == len(MODEL_LABELS)


def test_an_equal_score_is_no_win() -> None:
    (comparison,) = judged(model=HALF, additive=HALF).comparisons
    assert comparison.outcome is Outcome.CLOSE
    assert (comparison.difference, comparison.n_better) == (0, 0)


def test_difference_below_what_chance_does_to_a_replicate_is_not_won():
    small = [value - 0.02 - 0.001 * i for i, value in enumerate(HIGH)]
    for sd, outcome in ((0.01, Outcome.WON), (0.05, Outcome.NOISE)):
        verdict = judged(sd, model=HIGH, additive=small)
        assert [item.outcome for item in verdict.comparisons] == [outcome]
    assert "by no more than a replicate's noise, from the additive effect" in verdict.headline


def test_difference_is_paired_by_perturbation() -> None:
    better_everywhere = [value + 0.01 for value in HIGH]
    (comparison,) = judged(model=better_everywhere, additive=HIGH).comparisons
    assert comparison.outcome is Outcome.WON
    assert (comparison.n_better, comparison.n_pairs) == (12, 12)
    assert comparison.low is not None
    assert 0 < comparison.low < comparison.difference + 1e-9


def test_a_score_without_values_per_perturbation_is_not_called() -> None:
    overall = {"model": {"pds_l1": 0.9}, "ridge": {"pds_l1": 0.5}}
    columns = ["model", "context", "perturbation", "metric", "value"]
    verdict = judge(some_scores(overall=overall, rivals=["ridge"]), pd.DataFrame(columns=columns))
    assert [item.outcome for item in verdict.comparisons] == [Outcome.NO_INTERVAL]
