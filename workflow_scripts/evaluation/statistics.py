"""How sure a score is, and a difference of two: over perturbations."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float64
from scipy import stats

from workflow_scripts.cells.results import Paired

SEED = 0
"""Of the resampling: the same scores have the same intervals."""

LEVEL = 0.05
"""An interval holds 1 - LEVEL; a difference whose interval excludes 0 counts as one."""

LEAST = 6
"""Fewer perturbations have no interval: of five, all differ to one side by chance in 1 of 16."""

_SAME = 1e-9
"""Largest distance between the engine's aggregate and a mean, where it is one."""


def interval(values: pd.DataFrame, resamples: int) -> tuple[float, float] | None:
    """Return the 95 % bootstrap interval of a mean over perturbations, then over contexts.

    Perturbations are drawn with replacement, each with its values in all contexts, since these
    depend on one another (a cluster bootstrap): it says how much the score depends on which
    perturbations were tested, not on which contexts. Percentiles lie as far out as few
    perturbations need (Hesterberg 2015, "What teachers should know about the bootstrap").

    Parameters
    ----------
    values
        A row a perturbation, a column a context; NaN where it wasn't tested.
    resamples
        How often perturbations are drawn; 0 for no interval.

    Returns
    -------
    None where there are fewer than `LEAST` perturbations.
    """
    n = len(values)
    if not resamples or n < LEAST:
        return None
    matrix, drawn = values.to_numpy(np.float64), _draws(n, resamples)
    with np.errstate(invalid="ignore"):  # no value of a context may be drawn
        by_context = drawn @ np.nan_to_num(matrix) / (drawn @ ~np.isnan(matrix))
    tail = stats.norm.sf(np.sqrt(n / (n - 1)) * stats.t.isf(LEVEL / 2, n - 1))
    low, high = np.quantile(np.nanmean(by_context, axis=1), [tail, 1 - tail])
    return float(low), float(high)


@functools.lru_cache(maxsize=1)
def _draws(n: int, resamples: int) -> Float64[np.ndarray, "resamples perturbations"]:
    """Return how often each perturbation is drawn."""
    rng = np.random.default_rng(SEED)
    return rng.multinomial(n, np.full(n, 1 / n), resamples).astype(np.float64)


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
        values = rows.pivot(index="perturbation", columns="context", values=column)
        score = overall.get(str(model), {}).get(str(metric))
        if score is None or abs(_mean(values) - score) > _SAME * max(1.0, abs(score)):
            continue
        if (ends := interval(values, resamples)) is not None:
            found[str(model)][str(metric)] = list(ends)
    return found


def comparisons(
    metrics: pd.DataFrame, model: str, better: Mapping[str, str], resamples: int
) -> dict[str, dict[str, Paired]]:
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
    found: dict[str, dict[str, Paired]] = {}
    for metric, rows in metrics[metrics["metric"].map(better) != "neither"].groupby("metric"):
        table = rows.pivot(index=["context", "perturbation"], columns="model", values="value")
        for name in table.columns.drop(model) if model in table else ():
            differences = (table[model] - table[name]).dropna()
            if len(differences):
                pair = paired(differences, resamples)
                found.setdefault(str(name), {})[str(metric)] = pair
    return found


def paired(differences: pd.Series[float], resamples: int) -> Paired:
    """Sum up differences, indexed by context and perturbation."""
    values = differences.unstack("context")
    low, high = interval(values, resamples) or (None, None)
    return Paired(_mean(values), low, high, len(values))


def _mean(values: pd.DataFrame) -> float:
    return float(values.mean().mean())
