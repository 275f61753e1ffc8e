"""Scores on the scale from the mean response (0) to a replicate of the experiment (1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.cells.results import ALL, KEYS, METRICS, Anchors, Difference, Paired, Scores
from workflow_scripts.evaluation.statistics import intervals

Means = dict[str, dict[str, dict[str, float | None]]]
"""Scores by model, context and metric."""


def scale(value: float | None, anchors: Anchors | None, metric: str, better: str) -> float | None:
    """Place a score on the scale whose 0 is the mean response and whose 1 is a replicate.

    (value − mean response) / (replicate − mean response), as the engine scales its own scores
    (`cell_eval2.score`), without its bounds.

    Returns
    -------
    None where there is no such scale: an end or the score is missing, the metric has no better way,
    or a replicate is no better than the mean response.
    """
    if value is None or not np.isfinite(value) or why_unscaled(anchors, metric, better):
        return None
    assert anchors is not None
    low, high = anchors.mean_response[metric], anchors.replicate[metric]
    return (float(value) - low) / (high - low)


def why_unscaled(anchors: Anchors | None, metric: str, better: str) -> str | None:
    """Return why a metric has no scale in a context; None if it has one."""
    if anchors is None:
        return "the anchors were not computed"
    for end, values in (("mean_response", anchors.mean_response), ("replicate", anchors.replicate)):
        if metric not in values:
            reasons = [
                why for of, name, why in anchors.refused if of == end and name in (None, metric)
            ]
            return f"no {end.replace('_', ' ')}: {reasons[0] if reasons else 'no finite value'}"
    if better == "neither":
        return "neither way is better"
    low, high = anchors.mean_response[metric], anchors.replicate[metric]
    return _why_too_short(low, high, anchors.replicate_sd.get(metric), better)


def _why_too_short(low: float, high: float, sd: float | None, better: str) -> str | None:
    """Return why two anchors span no scale; None if they do."""
    gain = (high - low) if better == "higher" else (low - high)
    if gain <= 1e-9 * max(1.0, abs(low), abs(high)):
        return (
            f"a replicate ({high:.4g}) is no better than the mean response ({low:.4g}): on these "
            "cells the metric can't tell them apart"
        )
    if sd is not None and gain < sd:
        return (
            f"a replicate ({high:.4g}) is better than the mean response ({low:.4g}) by less than "
            f"the standard deviation of a replicate's own score ({sd:.2g})"
        )
    return None


def whole_scale(
    anchors: Mapping[str, Anchors], metric: str, better: str
) -> tuple[float, float] | None:
    """Return the anchors of a metric's mean over contexts.

    None if a context lacks one of them, or they span no scale.
    """
    found = list(anchors.values())
    parts = ("mean_response", "replicate")
    if not found or better == "neither":
        return None
    if any(metric not in getattr(one, part) for one in found for part in parts):
        return None
    low, high = (float(np.mean([getattr(one, part)[metric] for one in found])) for part in parts)
    sds = [one.replicate_sd[metric] for one in found if metric in one.replicate_sd]
    sd = float(np.mean(sds)) if len(sds) == len(found) else None
    return None if _why_too_short(low, high, sd, better) else (low, high)


def scale_all(
    overall: Mapping[str, Mapping[str, float | None]],
    by_context: Means,
    bounds: Mapping[str, Mapping[str, Sequence[float]]],
    anchors: Mapping[str, Anchors],
    better: Mapping[str, str],
) -> dict[str, Any]:
    """Scale the scores of all models.

    Parameters
    ----------
    overall
        Scores of each model over contexts.
    by_context
        Scores of each model and context.
    bounds
        Intervals of ``overall``.
    anchors
        By context; empty if none were computed.
    better
        Which way is better, by metric.

    Returns
    -------
    scaled
        Model, metric: the mean over contexts on the scale between the means of the anchors, so that
        all numbers of a row are of the same contexts.
    scaled_by_context
        Model, context, metric.
    scaled_intervals
        Model, metric: interval over perturbations, the anchors taken as given.
    unscaled
        Context, metric: why there is no scale.
    """
    scaled_by_context: dict[str, dict[str, dict[str, float]]] = {}
    for model, contexts in by_context.items() if anchors else ():
        scaled_by_context[model] = {
            context: {
                metric: there
                for metric, value in means.items()
                if (there := scale(value, anchors.get(context), metric, better[metric])) is not None
            }
            for context, means in contexts.items()
        }
    whole = {
        metric: found
        for metric, way in better.items()
        if (found := whole_scale(anchors, metric, way)) is not None
    }

    def place(metric: str, value: float) -> float:
        low, high = whole[metric]
        return (value - low) / (high - low)

    scaled = {
        model: {
            metric: place(metric, float(value))
            for metric, value in means.items()
            if metric in whole and value is not None and np.isfinite(value)
        }
        for model, means in overall.items()
        if anchors
    }
    scaled_intervals = {
        model: {
            metric: sorted(place(metric, float(bound)) for bound in bounds[model][metric])
            for metric in means
            if metric in bounds.get(model, {})
        }
        for model, means in scaled.items()
    }
    unscaled = {
        context: {
            metric: why
            for metric in sorted(better)
            if better[metric] != "neither"
            and (why := why_unscaled(of_context, metric, better[metric])) is not None
        }
        for context, of_context in anchors.items()
    }
    return {
        "scaled": scaled,
        "scaled_by_context": scaled_by_context,
        "scaled_intervals": scaled_intervals,
        "unscaled": unscaled,
    }


def _mean_by_metric(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = sorted({name for part in parts for name in part})
    return {name: float(np.mean([part[name] for part in parts if name in part])) for name in names}


def scale_rows(
    metrics: pd.DataFrame, anchors: Mapping[str, Anchors], better: Mapping[str, str]
) -> pd.DataFrame:
    """Add the columns scaled, baseline and ceiling: a value on the scale, and its two anchors.

    ``metrics`` has the columns context, metric and value at least.
    """
    keys = list(zip(metrics["context"], metrics["metric"], strict=True))
    scaled = [
        scale(value, anchors.get(context), metric, better[metric])
        for (context, metric), value in zip(keys, metrics["value"], strict=True)
    ]
    return metrics.assign(
        scaled=np.array(scaled, dtype=float),
        baseline=[_end(anchors, context, metric, "mean_response") for context, metric in keys],
        ceiling=[_end(anchors, context, metric, "replicate") for context, metric in keys],
    )


def _end(anchors: Mapping[str, Anchors], context: str, metric: str, which: str) -> float:
    of_all = (
        anchors.values() if context == ALL else [anchors[context]] if context in anchors else []
    )
    return _mean_by_metric([getattr(found, which) for found in of_all]).get(metric, np.nan)


def long_table(
    run: str,
    metrics: pd.DataFrame,
    scores: Scores,
    anchors: Mapping[str, Anchors],
    better: Mapping[str, str],
) -> pd.DataFrame:
    """Return what ``metrics.tsv`` says.

    Parameters
    ----------
    run
        Its name.
    metrics
        From `scale_rows`.
    scores
        What ``scores.json`` says (overall, by_context, scaled, intervals, resamples).
    anchors, better
        As `scale_all` takes them.

    Returns
    -------
    Columns run, model, context, perturbation, metric, raw, scaled, baseline, ceiling, ci_low,
    ci_high: a row a perturbation, then one a context (perturbation `ALL`) and one over contexts
    (context `ALL` too), whose anchors are means over contexts. Intervals are of ``raw``, where it
    is a mean over perturbations.
    """
    rows: list[dict[str, Any]] = []
    for model, contexts in scores.by_context.items():
        for context, means in contexts.items():
            here = intervals(
                metrics[(metrics["context"] == context) & (metrics["model"] == model)],
                {model: means},
                scores.resamples,
            )[model]
            rows += _summary(model, context, means, here)
    for model, means in scores.overall.items():
        rows += _summary(model, ALL, means, scores.intervals[model])
    summary = scale_rows(pd.DataFrame(rows).astype({"value": float}), anchors, better)
    whole = summary["context"] == ALL
    rows_of_all = zip(summary.loc[whole, "model"], summary.loc[whole, "metric"], strict=True)
    summary.loc[whole, "scaled"] = np.array(
        [scores.scaled.get(model, {}).get(metric, np.nan) for model, metric in rows_of_all]
    )
    table = pd.concat([metrics, summary], ignore_index=True).rename(columns={"value": "raw"})
    return table.assign(run=run)[METRICS].sort_values(KEYS, ignore_index=True)


def _summary(
    model: str,
    context: str,
    means: Mapping[str, float | None],
    bounds: Mapping[str, Sequence[float]],
) -> list[dict[str, Any]]:
    place = {"model": model, "context": context, "perturbation": ALL}
    rows = []
    for metric, value in means.items():
        low, high = bounds.get(metric, (np.nan, np.nan))
        rows.append({**place, "metric": metric, "value": value, "ci_low": low, "ci_high": high})
    return rows


def mark_noise(
    compared: Mapping[str, Mapping[str, Paired]], anchors: Mapping[str, Anchors]
) -> dict[str, dict[str, Difference]]:
    """Say of each difference whether it is below what chance does to a replicate's score.

    ``noise`` is true where it is below the standard deviation of the replicate's scores over split
    halves (a mean over contexts), and None where there is no such deviation.
    """
    marked: dict[str, dict[str, Difference]] = {}
    for name, metrics in compared.items():
        for metric, pair in metrics.items():
            known = [e.replicate_sd[metric] for e in anchors.values() if metric in e.replicate_sd]
            sd = float(np.mean(known)) if known and len(known) == len(anchors) else None
            noise = None if sd is None else abs(pair.difference) < sd
            marked.setdefault(name, {})[metric] = Difference(**asdict(pair), noise=noise)
    return marked
