"""Scores on the scale from the mean response (0) to a replicate of the experiment (1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from cell_eval2.catalog import CATALOG
from cell_eval2.competition import competition_members
from cell_eval2.scoring import is_degenerate, score_one

from workflow_scripts.cells.results import (
    ALL,
    Anchors,
    Better,
    CompetitionScore,
    Difference,
    Paired,
)
from workflow_scripts.evaluation.statistics import interval_of_score


@dataclass(frozen=True)
class Scale:
    """The scale of a metric in a context, or of its mean over contexts.

    Attributes
    ----------
    low, high
        Mean response and replicate, means over the contexts that have them; NaN where none has.
    sd
        Standard deviation of a replicate's own score; None where a context lacks it.
    unscaled
        Why scores can't be placed between the two; None where they can.
    """

    low: float
    high: float
    sd: float | None
    unscaled: str | None

    @classmethod
    def of(cls, anchors: Sequence[Anchors], metric: str, better: str) -> Scale:
        """Return the scale of a metric from the anchors of one context, or of all of them."""
        lows, highs, sds = (
            [part[metric] for part in parts if metric in part]
            for parts in zip(
                *((one.mean_response, one.replicate, one.replicate_sd) for one in anchors),
                strict=True,
            )
        )
        scale = cls(
            low=float(np.mean(lows)) if lows else np.nan,
            high=float(np.mean(highs)) if highs else np.nan,
            sd=float(np.mean(sds)) if len(sds) == len(anchors) else None,
            unscaled=None,
        )
        for name, values in (("mean_response", lows), ("replicate", highs)):
            if len(values) < len(anchors):
                return replace(scale, unscaled=_why_missing(anchors, name, metric))
        return replace(scale, unscaled=scale._why_none(better))

    def place(self, value: float) -> float:
        """Return where a score stands: (value − mean response) / (replicate − mean response).

        As the engine scales its own scores (`cell_eval2.score`), without its bounds.
        """
        if self.unscaled is not None or not np.isfinite(value):
            return np.nan
        return (value - self.low) / (self.high - self.low)

    def _why_none(self, better: str) -> str | None:
        low, high = self.low, self.high
        gain = (high - low) if better == "higher" else (low - high)
        if better == "neither":
            return "neither way is better"
        if gain <= 1e-9 * max(1.0, abs(low), abs(high)):
            return (
                f"a replicate ({high:.4g}) is no better than the mean response ({low:.4g}): on "
                "these cells the metric can't tell them apart"
            )
        if self.sd is not None and gain < self.sd:
            return (
                f"a replicate ({high:.4g}) is better than the mean response ({low:.4g}) by less "
                f"than the standard deviation of a replicate's own score ({self.sd:.2g})"
            )
        return None


def _why_missing(anchors: Sequence[Anchors], name: str, metric: str) -> str:
    reasons = [
        reason
        for one in anchors
        for anchor, refused, reason in one.refused
        if anchor == name and refused in (None, metric)
    ]
    return f"no {name.replace('_', ' ')}: {reasons[0] if reasons else 'no finite value'}"


Scales = Mapping[tuple[str, str], Scale]
"""By context (`ALL`: of means over contexts) and metric."""


def find_scales(anchors: Mapping[str, Anchors], better: Mapping[str, Better]) -> Scales:
    """Return the scale of every metric in every context, and over contexts."""
    places = {**{context: [one] for context, one in anchors.items()}, ALL: [*anchors.values()]}
    return {
        (context, metric): Scale.of(found, metric, way)
        for context, found in places.items()
        for metric, way in better.items()
        if found
    }


def unscaled(scales: Scales, better: Mapping[str, Better]) -> dict[str, dict[str, str]]:
    """Return why metrics have no scale, by context, of those that have a better way."""
    found: dict[str, dict[str, str]] = {context: {} for context, _ in scales if context != ALL}
    for (context, metric), scale in sorted(scales.items(), key=lambda item: item[0]):
        if context != ALL and better[metric] != "neither" and scale.unscaled is not None:
            found[context][metric] = scale.unscaled
    return found


def add_scales(table: pd.DataFrame, scales: Scales) -> pd.DataFrame:
    """Add the columns scaled, baseline and ceiling: a value on the scale, and its two anchors."""
    none = Scale(np.nan, np.nan, None, "the anchors were not computed")
    found = [scales.get(key, none) for key in zip(table["context"], table["metric"], strict=True)]
    places = [scale.place(value) for scale, value in zip(found, table["value"], strict=True)]
    return table.assign(
        scaled=np.array(places, dtype=float),
        baseline=np.array([scale.low for scale in found], dtype=float),
        ceiling=np.array([scale.high for scale in found], dtype=float),
    )


def mark_noise(
    compared: Mapping[str, Mapping[str, Paired]], scales: Scales
) -> dict[str, dict[str, Difference]]:
    """Say of each difference whether it is below what chance does to a replicate's score."""
    marked: dict[str, dict[str, Difference]] = {}
    for name, metrics in compared.items():
        for metric, pair in metrics.items():
            scale = scales.get((ALL, metric))
            sd = None if scale is None else scale.sd
            noise = None if sd is None else abs(pair.difference) < sd
            marked.setdefault(name, {})[metric] = Difference(**asdict(pair), noise=noise)
    return marked


def summarise(
    metrics: pd.DataFrame, means: pd.DataFrame, scales: Scales, resamples: int
) -> pd.DataFrame:
    """Return a row for each score of a context, and for each mean over contexts.

    Parameters
    ----------
    metrics
        Columns model, context, perturbation, metric, value.
    means
        Columns model, context, metric, value: the engine's aggregates over perturbations.

    Returns
    -------
    Columns of `METRICS`, without run and perturbation; contexts have equal weights in their mean
    (`ALL`).
    """
    whole = means.pivot(index=["model", "metric"], columns="context", values="value").mean(axis=1)
    rows = [means, whole.rename("value").reset_index().assign(context=ALL)]
    table = pd.concat(rows, ignore_index=True).sort_values(["model", "context", "metric"])
    values = {
        key: part.pivot(index="perturbation", columns="context", values="value")
        for key, part in metrics.dropna(subset="value").groupby(["model", "metric"])
    }
    bounds = []
    for row in table.to_dict("records"):
        part = values.get((row["model"], row["metric"]), pd.DataFrame())
        if row["context"] != ALL:
            part = part.reindex(columns=[row["context"]]).dropna()
        found = interval_of_score(part, row["value"], resamples)
        bounds.append(found or (np.nan, np.nan))
    table[["ci_low", "ci_high"]] = bounds
    return add_scales(table, scales).reset_index(drop=True)


def nested(summary: pd.DataFrame, models: Sequence[str], contexts: Sequence[str]) -> dict[str, Any]:
    """Arrange a summary as ``scores.json`` has it: overall, by_context, intervals, and scaled."""
    parts = ("overall", "intervals", "scaled", "scaled_intervals")
    whole: dict[str, dict[str, Any]] = {part: {name: {} for name in models} for part in parts}
    single: dict[str, dict[str, Any]] = {
        part: {name: {context: {} for context in contexts} for name in models}
        for part in ("by_context", "scaled_by_context")
    }
    for row in summary.to_dict("records"):
        model, context, metric, scaled = (row[n] for n in ("model", "context", "metric", "scaled"))
        value = None if np.isnan(row["value"]) else row["value"]
        if context != ALL:
            single["by_context"][model][context][metric] = value
            if not np.isnan(scaled):
                single["scaled_by_context"][model][context][metric] = scaled
            continue
        found: dict[str, Any] = {"overall": value}
        if not np.isnan(scaled):
            found["scaled"] = scaled
        if not np.isnan(row["ci_low"]):
            found["intervals"] = [row["ci_low"], row["ci_high"]]
        if {"scaled", "intervals"} <= found.keys():
            low, high = row["baseline"], row["ceiling"]
            placed = sorted((bound - low) / (high - low) for bound in found["intervals"])
            found["scaled_intervals"] = placed
        for part, content in found.items():
            whole[part][model][metric] = content
    return whole | single


def competition_scores(
    by_context: Mapping[str, Mapping[str, Mapping[str, float | None]]],
    anchors: Mapping[str, Anchors],
) -> dict[str, dict[str, CompetitionScore]]:
    """Score every prediction in every context as the competition does."""
    return {
        model: {
            context: competition_score(means, anchors.get(context))
            for context, means in contexts.items()
        }
        for model, contexts in by_context.items()
    }


def competition_score(
    means: Mapping[str, float | None], anchors: Anchors | None
) -> CompetitionScore:
    """Score one prediction in one context as ``cell_eval2.score`` does with its anchor."""
    members: dict[str, float] = {}
    lacking = []
    for metric in competition_members():
        base = None if anchors is None else anchors.mean_response.get(metric)
        best = None if anchors is None else anchors.replicate.get(metric)
        if base is None or best is None:
            lacking.append(f"{metric}: {'mean response' if base is None else 'replicate'} missing")
            continue
        try:
            policy = replace(
                CATALOG[metric].scoring, anchor=float(best), allow_negative_baseline=False
            )
        except ValueError as error:
            lacking.append(f"{metric}: {error}")
            continue
        if is_degenerate(base, policy):
            lacking.append(
                f"{metric}: a replicate ({best:.4g}) is no better than the mean response "
                f"({base:.4g})"
            )
            continue
        members[metric] = score_one(means.get(metric), base, policy)
    if lacking:
        return CompetitionScore(None, members, "; ".join(lacking))
    return CompetitionScore(float(np.mean(list(members.values()))), members)
