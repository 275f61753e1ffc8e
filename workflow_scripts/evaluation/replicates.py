"""Scores of several runs beside one another, those of replicates combined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.cells.results import Paired
from workflow_scripts.evaluation.statistics import comparisons, intervals

Scores = Mapping[str, Mapping[str, float | None]]
"""By run, or by group, and metric."""


@dataclass(frozen=True)
class Standing:
    """One group of runs on one metric.

    Attributes
    ----------
    mean
        Of the runs' scores; None where one has none.
    sd
        Standard deviation between the runs (n − 1); None of a single one.
    scaled
        Mean of their places between the mean response (0) and a replicate (1).
    low, high
        95 % interval over perturbations (bootstrap) of the mean over the runs.
    difference
        To the group that leads on this metric, perturbation by perturbation: `statistics.Paired`;
        None of that group itself, and where runs were tested on other cells.
    """

    mean: float | None
    sd: float | None
    scaled: float | None
    low: float | None
    high: float | None
    difference: Paired | None = None


def standings(
    metrics: Mapping[str, pd.DataFrame],
    overall: Scores,
    scaled: Scores,
    groups: Mapping[str, Sequence[str]],
    better: Mapping[str, str],
    resamples: int,
    *,
    paired: bool = True,
) -> dict[str, dict[str, Standing]]:
    """Combine the scores of replicates, and compare the groups, by group and metric.

    A perturbation's value of a group is the mean over its runs; what is compared is that mean.

    Parameters
    ----------
    metrics
        By run: columns context, perturbation, metric, value of its model.
    overall, scaled
        Scores by run and metric.
    groups
        Runs of each group.
    better
        Which way is better, by metric.
    resamples
        See `statistics.interval`.
    paired
        All runs were tested on the same cells, so that groups can be compared.
    """
    tables = [
        pd.concat([metrics[run] for run in runs])
        .groupby(["context", "perturbation", "metric"], as_index=False)["value"]
        .mean()
        .assign(model=name)
        for name, runs in groups.items()
    ]
    combined = pd.concat(tables, ignore_index=True)
    means = {name: _over_runs(overall, runs, np.mean) for name, runs in groups.items()}
    sds = {name: _over_runs(overall, runs, _sd) for name, runs in groups.items()}
    places = {name: _over_runs(scaled, runs, np.mean) for name, runs in groups.items()}
    ends = intervals(combined, means, resamples)
    found: dict[str, dict[str, Standing]] = {name: {} for name in groups}
    for metric in dict.fromkeys(metric for scores in means.values() for metric in scores):
        leader = _leader(means, metric, better.get(metric, "neither"))
        rows = combined[combined["metric"] == metric]
        tests = comparisons(rows, leader, better, resamples) if paired and leader else {}
        for name in groups:
            low, high = ends[name].get(metric, (None, None))
            difference = tests.get(name, {}).get(metric)
            found[name][metric] = Standing(
                means[name].get(metric),
                sds[name].get(metric),
                places[name].get(metric),
                low,
                high,
                None if difference is None else _turned(difference),
            )
    return found


def _over_runs(scores: Scores, runs: Sequence[str], how: Any) -> dict[str, float | None]:
    """Sum up each metric that all runs have."""
    shared = [metric for metric in scores[runs[0]] if all(metric in scores[run] for run in runs)]
    found = {}
    for metric in shared:
        values = [scores[run][metric] for run in runs]
        there = [value for value in values if value is not None and np.isfinite(value)]
        value = how(there) if len(there) == len(values) else None
        found[metric] = None if value is None else float(value)
    return found


def _sd(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _leader(means: Scores, metric: str, better: str) -> str | None:
    there = {name: value for name, of in means.items() if (value := of.get(metric)) is not None}
    if not there or better == "neither":
        return None
    return (max if better == "higher" else min)(there, key=lambda name: there[name])


def _turned(difference: Paired) -> Paired:
    """Say a difference of the leader to a group as one of the group to the leader."""
    low, high = difference.low, difference.high
    return replace(
        difference,
        difference=-difference.difference,
        low=None if high is None else -high,
        high=None if low is None else -low,
    )
