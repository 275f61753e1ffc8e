"""The first lines of a report: did the model beat the baselines, and may one say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import pandas as pd

from workflow_scripts.cells.results import MODEL, Difference, Refusal, Scores
from workflow_scripts.reporting.tables import finite
from workflow_scripts.reporting.words import (
    MAIN_METRICS,
    metric_words,
    model_label,
    models_in_order,
    together,
)


class Outcome(Enum):
    """How the model did against a rival; the value is the word on the page."""

    WON = "won"
    LOST = "lost"
    CLOSE = "too close to call"
    NOISE = "within a replicate's noise"
    NO_INTERVAL = "not called: no interval"


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
    n_better, n_pairs
        On how many of how many perturbations, in all contexts, the model scored higher.
    outcome
        Whether the model won against a rival; None for other baselines, which only describe.
    """

    baseline: str
    label: str
    score: float
    difference: float
    low: float | None
    high: float | None
    n_better: int
    n_pairs: int
    outcome: Outcome | None


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

    Only the rivals that the evaluation declares for the claim decide: won or lost where the
    interval of the difference excludes 0, unless it is noise (below what chance does to a
    replicate).

    Parameters
    ----------
    scores
        Aggregated scores.
    metrics
        One row a model, context, perturbation and metric.
    """
    overall = scores.overall
    own = overall.get(MODEL, {})
    metric = next((name for name in MAIN_METRICS if finite(own.get(name)) is not None), None)
    if metric is None:
        reasons = dict.fromkeys(
            refusal.reason for refusal in scores.refused if _blocks_the_verdict(refusal)
        )
        headline = "No verdict: the model has no discrimination score."
        return Verdict(None, "Discrimination", None, headline, (), tuple(reasons))
    score = float(own[metric] or 0.0)
    pairs = _per_perturbation(metrics, metric)
    comparisons = tuple(
        _compare(
            baseline,
            score,
            float(values[metric] or 0.0),
            pairs,
            scores.comparisons.get(baseline, {}).get(metric),
            is_rival=baseline in scores.rivals,
        )
        for baseline in models_in_order(overall)
        if baseline != MODEL and finite((values := overall[baseline]).get(metric)) is not None
    )
    return Verdict(
        metric=metric,
        metric_label=metric_words(metric).name,
        score=score,
        headline=_headline(comparisons, scores.rivals),
        comparisons=comparisons,
        reasons=(),
        scaled=scores.scaled.get(MODEL, {}).get(metric),
        scaled_interval=scores.scaled_intervals.get(MODEL, {}).get(metric),
    )


def _blocks_the_verdict(refusal: Refusal) -> bool:
    return refusal.model in (None, MODEL) and refusal.metric in (None, *MAIN_METRICS)


def _per_perturbation(metrics: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return one row a (context, perturbation) and one column a model."""
    rows = metrics[metrics["metric"] == metric]
    return rows.pivot_table(index=["context", "perturbation"], columns="model", values="value")


def _compare(
    baseline: str,
    score: float,
    baseline_score: float,
    pairs: pd.DataFrame,
    found: Difference | None,
    *,
    is_rival: bool,
) -> Comparison:
    if MODEL in pairs and baseline in pairs:
        differences = (pairs[MODEL] - pairs[baseline]).dropna()
    else:
        differences = pd.Series(dtype=float)
    return Comparison(
        baseline=baseline,
        label=model_label(baseline),
        score=baseline_score,
        difference=score - baseline_score if found is None else found.difference,
        low=None if found is None else found.low,
        high=None if found is None else found.high,
        n_better=int((differences > 0).sum()),
        n_pairs=len(differences),
        outcome=_outcome(found) if is_rival else None,
    )


def _outcome(found: Difference | None) -> Outcome:
    if found is None or found.low is None or found.high is None:
        return Outcome.NO_INTERVAL
    if found.low <= 0 <= found.high:
        return Outcome.CLOSE
    if found.noise:
        return Outcome.NOISE
    return Outcome.WON if found.low > 0 else Outcome.LOST


def _headline(comparisons: tuple[Comparison, ...], rivals: Sequence[str]) -> str:
    outcomes = {item.baseline: item.outcome for item in comparisons if item.outcome is not None}
    if not rivals:
        return "Not judged: what was trained on is not known, so no baseline is the rival."
    if lacking := [name for name in rivals if name not in outcomes]:
        return (
            f"Not judged: {_names(lacking)}, the rival for this claim, has no score; name it in "
            "prediction.baselines."
        )
    if Outcome.NO_INTERVAL in outcomes.values():
        return (
            "Too few perturbations to judge: an interval takes six (and evaluation.resamples above "
            "0); read the numbers as an example."
        )
    for outcome, words in (
        (Outcome.LOST, "The model tells perturbations apart worse than"),
        (Outcome.CLOSE, "The model can't be told from"),
        (Outcome.NOISE, "The model differs, by no more than a replicate's noise, from"),
    ):
        if names := [name for name, found in outcomes.items() if found is outcome]:
            need = "needs" if len(names) == 1 else "need"
            return f"{words} {_names(names)}, which {need} no training."
    return f"The model tells perturbations apart better than {_names(list(outcomes))}."


def _names(baselines: Sequence[str]) -> str:
    return together([f"the {model_label(name).lower()}" for name in baselines])
