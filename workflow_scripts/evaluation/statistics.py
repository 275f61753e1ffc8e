"""How sure a score is, and whether a difference of two is more than chance: over perturbations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64
from scipy import stats

SEED = 0
"""Of the resampling: the same scores have the same intervals."""

_SAME = 1e-9
"""Largest distance between the engine's aggregate and a mean, where it is one."""

Samples = Sequence[Float64[np.ndarray, " perturbations"]]


@dataclass(frozen=True)
class Paired:
    """A model against a baseline on one metric, perturbation by perturbation.

    Attributes
    ----------
    difference
        Score of the model less that of the baseline: a mean over the perturbations of a context,
        then over contexts.
    low, high
        Interval of the difference that holds 95 %; None where there are too few perturbations.
    p
        Two-sided Wilcoxon signed-rank test (Wilcoxon 1945) of the differences of all contexts,
        those of zero left out; 1 where there are no others.
    p_holm
        The same, corrected for the number of baselines (Holm 1979).
    n
        Perturbations that both have a value of.
    """

    difference: float
    low: float | None
    high: float | None
    p: float
    p_holm: float
    n: int


def interval(samples: Samples, resamples: int) -> tuple[float, float] | None:
    """Return the 95 % percentile bootstrap interval of a mean of means (Efron 1979).

    Perturbations are drawn with replacement within their context, contexts are kept: it says how
    much the score depends on which perturbations were tested, not on which contexts.

    Parameters
    ----------
    samples
        Values of the perturbations of each context, none of them NaN.
    resamples
        How often they are drawn; 0 for no interval.

    Returns
    -------
    None where there is none: a context with a single perturbation has nothing to draw from.
    """
    if not resamples or not samples or any(len(values) < 2 for values in samples):
        return None
    drawn = stats.bootstrap(
        tuple(samples),
        lambda *parts, axis: np.mean([part.mean(axis=axis) for part in parts], axis=0),
        n_resamples=resamples,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return float(drawn.low), float(drawn.high)


def intervals(
    metrics: pd.DataFrame,
    overall: Mapping[str, Mapping[str, float | None]],
    resamples: int,
    *,
    column: str = "value",
) -> dict[str, dict[str, list[float]]]:
    """Return the interval of each model's score, by metric.

    Left out are metrics that the engine doesn't average over perturbations (ratios of sums).

    Parameters
    ----------
    metrics
        Columns model, context, perturbation, metric, and ``column``.
    overall
        Score of each model and metric.
    resamples
        See `interval`.
    column
        Of the values whose mean the score is.
    """
    found: dict[str, dict[str, list[float]]] = {model: {} for model in overall}
    there = metrics.dropna(subset=column) if column in metrics else metrics.head(0)
    for (model, metric), rows in there.groupby(["model", "metric"], sort=True):
        samples = _by_context(rows, column)
        score = overall.get(str(model), {}).get(str(metric))
        if score is None or abs(_mean(samples) - score) > _SAME * max(1.0, abs(score)):
            continue
        if (ends := interval(samples, resamples)) is not None:
            found[str(model)][str(metric)] = list(ends)
    return found


def comparisons(
    metrics: pd.DataFrame, model: str, better: Mapping[str, str], resamples: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """Compare a model with every other on the metrics that have a better way: baseline, metric.

    Parameters
    ----------
    metrics, resamples
        As `intervals` takes them.
    model
        The one that is compared.
    better
        Which way is better, by metric; ``neither`` is left out.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for metric, rows in metrics[metrics["metric"].map(better) != "neither"].groupby("metric"):
        table = rows.pivot(index=["context", "perturbation"], columns="model", values="value")
        if model not in table:
            continue
        pairs = {
            str(name): paired(table[model] - table[name], resamples)
            for name in table
            if name != model and (table[model] - table[name]).notna().any()
        }
        corrected = holm([pair.p for pair in pairs.values()])
        for (name, pair), p_holm in zip(pairs.items(), corrected, strict=True):
            found.setdefault(name, {})[str(metric)] = asdict(pair) | {"p_holm": p_holm}
    return found


def paired(differences: pd.Series[float], resamples: int) -> Paired:
    """Test differences, indexed by context and perturbation; NaN are left out.

    ``p_holm`` is that of a single baseline.
    """
    there = differences.dropna().rename("value").reset_index()
    samples = _by_context(there, "value")
    values = there["value"].to_numpy(np.float64)
    p = float(stats.wilcoxon(values).pvalue) if values.any() else 1.0
    low, high = interval(samples, resamples) or (None, None)
    return Paired(_mean(samples), low, high, p, p, len(values))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values of several tests so that one false finding among all is as rare as asked.

    Sorted ascending, the i-th of n is multiplied by n − i + 1, never falls below one before it,
    and never exceeds one (Holm 1979, "A simple sequentially rejective multiple test procedure").
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    stepped = np.maximum.accumulate(np.asarray(p_values, dtype=np.float64)[order] * factors)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(stepped, 1.0)
    return [float(p) for p in corrected]


def _by_context(rows: pd.DataFrame, column: str) -> list[Float64[np.ndarray, " perturbations"]]:
    return [values.to_numpy(np.float64) for _, values in rows.groupby("context", sort=True)[column]]


def _mean(samples: Samples) -> float:
    return float(np.mean([values.mean() for values in samples]))
