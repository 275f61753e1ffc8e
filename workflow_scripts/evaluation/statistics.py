"""How sure a score is, and a difference of two: over perturbations."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import pandas as pd
from jaxtyping import Float64
from scipy import stats

from workflow_scripts.cells.results import LADDER, PAIR, Better, NegativeControl, Paired

SEED = 0
"""Of the resampling: the same scores have the same intervals."""

LEVEL = 0.05
"""An interval holds 1 - LEVEL; a difference whose interval excludes 0 counts as one."""

_SAME = 1e-9
"""Largest distance between a score and a mean, where it is one."""

LEAST = 6
"""Fewer perturbations have no interval: of five, all differ to one side by chance in 1 of 16."""


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


def interval_of_score(
    values: pd.DataFrame, score: float, resamples: int
) -> tuple[float, float] | None:
    """Return the `interval` of a score; None where it is no mean over perturbations, then contexts.

    The engine computes some scores as ratios of sums.
    """
    is_mean = abs(_mean(values) - score) <= _SAME * max(1.0, abs(score))
    return interval(values, resamples) if is_mean else None


@functools.lru_cache(maxsize=4)
def _draws(n: int, resamples: int) -> Float64[np.ndarray, "resamples perturbations"]:
    """Return how often each perturbation is drawn."""
    rng = np.random.default_rng(SEED)
    return rng.multinomial(n, np.full(n, 1 / n), resamples).astype(np.float64)


def comparisons(
    metrics: pd.DataFrame, model: str, better: Mapping[str, Better], resamples: int
) -> dict[str, dict[str, Paired]]:
    """Compare a model with every other, by the other's name and metric.

    ``metrics`` has the columns model, context, perturbation, metric and value.
    """
    found: dict[str, dict[str, Paired]] = {}
    for metric, rows in metrics[metrics["metric"].map(better) != "neither"].groupby("metric"):
        table = rows.pivot(index=PAIR, columns="model", values="value")
        for name in table.columns.drop(model) if model in table else ():
            differences = (table[model] - table[name]).dropna()
            if len(differences):
                found.setdefault(str(name), {})[str(metric)] = paired(differences, resamples)
    return found


def ladder(
    metrics: pd.DataFrame, better: Mapping[str, Better], resamples: int
) -> dict[str, dict[str, Paired]]:
    """Compare each step of `LADDER` that was scored with the one before."""
    steps = [name for name in LADDER if name in {*metrics["model"]}]
    return {
        step: comparisons(metrics[metrics["model"].isin([before, step])], step, better, resamples)[
            before
        ]
        for before, step in itertools.pairwise(steps)
    }


def paired(differences: pd.Series[float], resamples: int) -> Paired:
    """Sum up differences, indexed by context and perturbation."""
    values = differences.unstack("context")
    low, high = interval(values, resamples) or (None, None)
    return Paired(_mean(values), low, high, len(values))


def _mean(values: pd.DataFrame) -> float:
    return float(values.mean().mean())


def mark_matches(
    compared: Mapping[str, Mapping[str, Paired]], better: Mapping[str, Better]
) -> dict[str, dict[str, NegativeControl]]:
    """Say of each negative control whether the model is no better than it.

    It is no better unless the interval of their difference lies on the better side of 0. None where
    there is no interval.
    """
    marked: dict[str, dict[str, NegativeControl]] = {}
    for name, metrics in compared.items():
        for metric, pair in metrics.items():
            matches = None
            if pair.low is not None and pair.high is not None:
                matches = not (pair.low > 0 if better[metric] == "higher" else pair.high < 0)
            marked.setdefault(name, {})[metric] = NegativeControl(**asdict(pair), matches=matches)
    return marked
