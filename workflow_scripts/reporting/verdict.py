"""The first lines of a report: did the model beat the baselines, and may one say so."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import pandas as pd

from workflow_scripts.reporting.formats import Difference, Scores
from workflow_scripts.reporting.words import (
    CONTEXT_MEAN,
    MAIN_METRICS,
    MEAN_RESPONSE,
    MODEL,
    metric_words,
    model_label,
    models_in_order,
    together,
)

LEVEL = 0.05
"""A difference is called won or lost where its corrected p is below it."""


class Outcome(Enum):
    """How the model did against one baseline; the value is the word on the page."""

    WON = "won"
    LOST = "lost"
    CLOSE = "too close to call"
    NOISE = "within a replicate's noise"
    FEW = "too few perturbations to call"


@dataclass(frozen=True)
class Comparison:
    """The model against one baseline, on the main metric.

    Attributes
    ----------
    baseline, label
        The baseline's name in the files, and on the page.
    score
        Its score.
    difference
        Score of the model minus that of the baseline.
    low, high
        95 % interval of the difference; None where there is none.
    p
        Of the paired test, corrected for the number of baselines; None where none was made.
    n_better, n_pairs
        On how many of how many perturbations the model scored higher.
    """

    baseline: str
    label: str
    score: float
    difference: float
    low: float | None
    high: float | None
    p: float | None
    n_better: int
    n_pairs: int
    outcome: Outcome


@dataclass(frozen=True)
class Verdict:
    """What a reader should take home.

    Attributes
    ----------
    metric
        Metric it rests on; None where no discrimination score could be computed.
    metric_label
        What the metric is called on the page.
    score
        The model's score.
    scaled, scaled_interval
        Where it stands between mean response (0) and replicate (1), and the interval; None where
        there is no such scale.
    headline
        One sentence.
    comparisons
        The model against every baseline that was scored.
    reasons
        Why there is no score, where there is none.
    """

    metric: str | None
    metric_label: str
    score: float | None
    headline: str
    comparisons: tuple[Comparison, ...]
    reasons: tuple[str, ...]
    scaled: float | None = None
    scaled_interval: Sequence[float] | None = None


def judge(scores: Scores, metrics: pd.DataFrame) -> Verdict:
    """Compare the model with every baseline on the main discrimination score.

    A difference counts as won or lost where the evaluation's paired test, corrected for the number
    of baselines, has a p below `LEVEL`, unless it is noise (below what chance does to a replicate);
    and it isn't called where so few perturbations could not have had one, whatever their values.

    Parameters
    ----------
    scores
        Aggregated scores.
    metrics
        One row a model, context, perturbation and metric.
    """
    overall = scores["overall"]
    own = overall.get(MODEL, {})
    metric = next((name for name in MAIN_METRICS if _is_number(own.get(name))), None)
    if metric is None:
        reasons = dict.fromkeys(
            refusal["reason"] for refusal in scores["refused"] if _blocks_the_verdict(refusal)
        )
        headline = "No verdict: the model has no discrimination score."
        return Verdict(None, "Discrimination", None, headline, (), tuple(reasons))
    score = float(own[metric] or 0.0)
    pairs = _per_perturbation(metrics, metric)
    tests = {name: found.get(metric) for name, found in scores["comparisons"].items()}
    comparisons = tuple(
        _compare(baseline, score, float(values[metric] or 0.0), pairs, tests)
        for baseline in models_in_order(overall)
        if baseline != MODEL and _is_number((values := overall[baseline]).get(metric))
    )
    return Verdict(
        metric=metric,
        metric_label=metric_words(metric).name,
        score=score,
        headline=_headline(comparisons),
        comparisons=comparisons,
        reasons=(),
        scaled=scores["scaled"].get(MODEL, {}).get(metric),
        scaled_interval=scores["scaled_intervals"].get(MODEL, {}).get(metric),
    )


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _blocks_the_verdict(refusal: object) -> bool:
    assert isinstance(refusal, dict)
    return refusal["model"] in (None, MODEL) and refusal["metric"] in (None, *MAIN_METRICS)


def _per_perturbation(metrics: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return one row a (context, perturbation) and one column a model."""
    rows = metrics[metrics["metric"] == metric]
    return rows.pivot_table(index=["context", "perturbation"], columns="model", values="value")


def _compare(
    baseline: str,
    score: float,
    baseline_score: float,
    pairs: pd.DataFrame,
    tests: Mapping[str, Difference | None],
) -> Comparison:
    if MODEL in pairs and baseline in pairs:
        differences = (pairs[MODEL] - pairs[baseline]).dropna()
    else:
        differences = pd.Series(dtype=float)
    test, difference = tests.get(baseline), score - baseline_score
    n_pairs, n_tests = len(differences), sum(found is not None for found in tests.values())
    return Comparison(
        baseline=baseline,
        label=model_label(baseline),
        score=baseline_score,
        difference=difference,
        low=None if test is None else test["low"],
        high=None if test is None else test["high"],
        p=None if test is None else test["p_holm"],
        n_better=int((differences > 0).sum()),
        n_pairs=n_pairs,
        outcome=_outcome(difference, test, n_pairs, n_tests),
    )


def _outcome(difference: float, test: Difference | None, n_pairs: int, n_tests: int) -> Outcome:
    # If all differences had one sign: two of all patterns of signs, corrected.
    if test is None or 2.0 ** (1 - n_pairs) * n_tests >= LEVEL:
        return Outcome.FEW
    if difference == 0 or test["p_holm"] >= LEVEL:
        return Outcome.CLOSE
    if test["noise"]:
        return Outcome.NOISE
    return Outcome.WON if difference > 0 else Outcome.LOST


def _headline(comparisons: tuple[Comparison, ...]) -> str:
    outcomes = {comparison.baseline: comparison.outcome for comparison in comparisons}
    if not outcomes:
        return "No baseline was scored: the number below stands alone and can't be judged."
    if Outcome.FEW in outcomes.values():
        return (
            "Too few perturbations to judge: had the model won on all of them, chance could have "
            "done it; read the numbers as an example."
        )
    profile = outcomes.get(MEAN_RESPONSE, outcomes.get(CONTEXT_MEAN))
    if profile is Outcome.LOST:
        return "The model tells perturbations apart worse than one profile for all of them would."
    if profile in (Outcome.CLOSE, Outcome.NOISE):
        return "The model can't be told from one profile for all perturbations."
    if set(outcomes.values()) == {Outcome.WON}:
        return "The model tells perturbations apart better than every baseline."
    told = "The model tells perturbations apart"
    if better := [item for item in comparisons if item.outcome is Outcome.LOST]:
        return f"{told}, but {_untrained(better)}, {'does' if len(better) == 1 else 'do'} better."
    close = [item for item in comparisons if item.outcome in (Outcome.CLOSE, Outcome.NOISE)]
    return f"{told}, about as well as {_untrained(close)}."


def _untrained(items: Sequence[Comparison]) -> str:
    names = together([f"the {item.label.lower()}" for item in items])
    return f"{names}, which {'needs' if len(items) == 1 else 'need'} no training"
