"""Scores as tables: metrics as rows, models side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from workflow_scripts.cells.results import Better, Difference, Refusal, Scores
from workflow_scripts.reporting.words import (
    MetricWords,
    counted,
    metric_words,
    metrics_in_order,
    model_label,
    models_in_order,
    on_scale,
)

BETTER_WORDS: Mapping[Better, str] = {
    "higher": "↑ higher is better",
    "lower": "↓ lower is better",
    "neither": "neither way is better",
}

MAX_REMARKS = 3
"""Most remarks shown of one model: a nearest neighbour has one a perturbation."""


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Attributes
    ----------
    text
        As shown.
    value
        To sort by; None for a missing one, which stays at the end.
    is_best
        Whether no other of its row is better.
    interval
        The score's own, where it has one.
    scaled
        Where it stands between mean response (0) and replicate (1), where there is such a scale.
    refusal
        Number of the reason below the table, where the scorer refused.
    """

    text: str
    value: float | None = None
    is_best: bool = False
    interval: str = ""
    scaled: str = ""
    refusal: int | None = None


@dataclass(frozen=True)
class ScoreRow:
    """One metric over all models.

    Attributes
    ----------
    anchors
        What the mean response and a replicate get, or why there is no scale between them.
    """

    metric: str
    words: MetricWords
    better: str
    cells: tuple[Cell, ...]
    anchors: str = ""


@dataclass(frozen=True)
class ScoreTable:
    """Metrics as rows, models as columns.

    Attributes
    ----------
    context
        None for the table over all contexts.
    size
        How much was scored, for the caption.
    reasons
        Why metrics were refused, in the order of the numbers in the cells.
    """

    context: str | None
    size: str
    models: tuple[str, ...]
    labels: tuple[str, ...]
    rows: tuple[ScoreRow, ...]
    reasons: tuple[str, ...]


def score_tables(scores: Scores) -> list[ScoreTable]:
    """Return the table over all contexts, then one a context where there are several."""
    sizes = scores.contexts
    n_perturbations = sum(size.n_perturbations for size in sizes.values())
    size = f"{counted(len(sizes), 'context')}, {counted(n_perturbations, 'scored perturbation')}"
    tables = [_score_table(scores, None, scores.overall, size, scores.scaled, scores.intervals)]
    if len(sizes) > 1:
        for context, part in sizes.items():
            values = {
                model: contexts[context]
                for model, contexts in scores.by_context.items()
                if context in contexts
            }
            size = (
                f"{counted(part.n_perturbations, 'perturbation')}, "
                f"{counted(part.n_cells_observed, 'observed cell')}, "
                f"{counted(part.n_control_cells, 'control cell')}"
            )
            scaled = {
                model: contexts.get(context, {})
                for model, contexts in scores.scaled_by_context.items()
            }
            tables.append(_score_table(scores, context, values, size, scaled))
    return tables


def _score_table(
    scores: Scores,
    context: str | None,
    values: Mapping[str, Mapping[str, float | None]],
    size: str,
    scaled: Mapping[str, Mapping[str, float]],
    intervals: Mapping[str, Mapping[str, Sequence[float]]] = MappingProxyType({}),
) -> ScoreTable:
    refusals = [
        refusal
        for refusal in scores.refused
        if context is None or refusal.context in (None, context)
    ]
    reasons = list(dict.fromkeys(_reason(refusal, context) for refusal in refusals))
    models = models_in_order([*values, *(r.model for r in refusals if r.model)])
    metrics = metrics_in_order(
        [
            *(metric for of_model in values.values() for metric in of_model),
            *(refusal.metric for refusal in refusals if refusal.metric),
        ]
    )
    rows = []
    for metric in metrics:
        better: Better = scores.better.get(metric, "neither")
        numbers = [finite(values.get(model, {}).get(metric)) for model in models]
        best = best_of(numbers, better)
        words = metric_words(metric)
        cells = []
        for model, value in zip(models, numbers, strict=True):
            refusal = _refusal_of(refusals, model, metric) if value is None else None
            cells.append(
                Cell("refused", refusal=1 + reasons.index(_reason(refusal, context)))
                if refusal
                else Cell(
                    words.shown(value),
                    value,
                    is_best=value is not None and value == best,
                    interval=" – ".join(map(words.shown, intervals.get(model, {}).get(metric, ()))),
                    scaled=on_scale(scaled.get(model, {}).get(metric)),
                )
            )
        anchors = _anchors(scores, context, metric, words)
        rows.append(ScoreRow(metric, words, BETTER_WORDS[better], tuple(cells), anchors))
    labels = tuple(model_label(model) for model in models)
    return ScoreTable(context, size, tuple(models), labels, tuple(rows), tuple(reasons))


def _anchors(scores: Scores, context: str | None, metric: str, words: MetricWords) -> str:
    asked = list(scores.anchors) if context is None else [context]
    reasons = {
        f"{name}: {why}" if context is None and len(asked) > 1 else why
        for name in asked
        if (why := scores.unscaled.get(name, {}).get(metric))
    }
    if len(reasons) == len(asked):
        return f"No scale: {'; '.join(sorted(reasons))}" if reasons else ""
    found = [anchors for name in asked if (anchors := scores.anchors.get(name)) is not None]
    pairs = [
        (anchors.mean_response[metric], anchors.replicate[metric])
        for name, anchors in zip(asked, found, strict=True)
        if metric not in scores.unscaled.get(name, {}) and metric in anchors.replicate
    ]
    if scores.better.get(metric, "neither") == "neither" or not pairs:
        return ""
    low, high = (words.shown(sum(values) / len(values)) for values in zip(*pairs, strict=True))
    text = f"0 is {low} (mean response), 1 is {high} (replicate)"
    return f"{text}; none in {'; '.join(sorted(reasons))}" if reasons else text


def difference_rows(scores: Scores) -> list[tuple[MetricWords, str, str, Difference]]:
    """Return metric, its better way, baseline and what the model has more, in the tables' order."""
    compared = scores.comparisons
    metrics = metrics_in_order([name for of_one in compared.values() for name in of_one])
    return [
        (metric_words(metric), BETTER_WORDS[scores.better[metric]], model_label(baseline), found)
        for metric in metrics
        for baseline in models_in_order(compared)
        if (found := compared[baseline].get(metric)) is not None
    ]


def finite(value: float | None) -> float | None:
    """Return a number, and None in place of one that is missing or infinite."""
    return float(value) if value is not None and math.isfinite(value) else None


def best_of(numbers: Sequence[float | None], better: Better) -> float | None:
    """Return the best of a row; none where only one model has a number or none is better."""
    known = [value for value in numbers if value is not None]
    if better == "neither" or len(known) < 2:
        return None
    return max(known) if better == "higher" else min(known)


def _refusal_of(refusals: Sequence[Refusal], model: str, metric: str) -> Refusal | None:
    for refusal in refusals:
        if refusal.model in (None, model) and refusal.metric in (None, metric):
            return refusal
    return None


def _reason(refusal: Refusal, context: str | None) -> str:
    """Return the reason, with its context where the table doesn't say it."""
    if context is None and refusal.context:
        return f"{refusal.context}: {refusal.reason}"
    return refusal.reason


def remarks(scores: Scores, model: str) -> list[str]:
    """Return what a model's predictions say they rest on, the most frequent first."""
    found = sorted(scores.notes.get(model, {}).items(), key=lambda item: (-item[1], item[0]))
    asked = sum(size.n_perturbations for size in scores.contexts.values())
    texts = [f"{n:,} of {asked:,}: {note}" for note, n in found[:MAX_REMARKS]]
    if left := len(found) - len(texts):
        texts.append(f"{counted(left, 'other remark')} in prediction_note of its file")
    return texts
