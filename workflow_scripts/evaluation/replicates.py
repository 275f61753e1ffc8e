"""Scores of several runs beside one another, those of replicates combined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from workflow_scripts.cells.results import PAIR, Better, Paired
from workflow_scripts.evaluation.statistics import comparisons, interval_of_score

Scores = Mapping[str, Mapping[str, float | None]]
"""By run and metric."""


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
        To the group that leads on this metric, perturbation by perturbation; None of that group
        itself, and where runs were tested on other cells.
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
    better: Mapping[str, Better],
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
        .groupby([*PAIR, "metric"], as_index=False)["value"]
        .mean()
        .assign(model=name)
        for name, runs in groups.items()
    ]
    combined = pd.concat(tables, ignore_index=True)
    scores = pd.DataFrame(overall, dtype=float)
    places = pd.DataFrame(scaled, dtype=float).reindex(index=scores.index, columns=scores.columns)
    found: dict[str, dict[str, Standing]] = {name: {} for name in groups}
    for metric in scores.index:
        means = {
            name: scores.loc[metric, [*runs]].mean(skipna=False) for name, runs in groups.items()
        }
        known = {name: mean for name, mean in means.items() if np.isfinite(mean)}
        way, rows = better.get(metric, "neither"), combined[combined["metric"] == metric]
        leader, tests = None, {}
        if known and way != "neither":
            leader = (max if way == "higher" else min)(known, key=lambda name: known[name])
        if paired and leader is not None:
            tests = comparisons(rows, leader, better, resamples)
        for name, runs in groups.items():
            of_group = rows[rows["model"] == name].dropna(subset="value")
            values = of_group.pivot(index="perturbation", columns="context", values="value")
            bounds = interval_of_score(values, means[name], resamples) or (None, None)
            test = tests.get(name, {}).get(metric)
            found[name][metric] = Standing(
                _or_none(means[name]),
                _or_none(scores.loc[metric, [*runs]].std(skipna=False)),
                _or_none(places.loc[metric, [*runs]].mean(skipna=False)),
                bounds[0],
                bounds[1],
                None if test is None else _turned(test),
            )
    return found


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _turned(difference: Paired) -> Paired:
    """Return a difference of the leader to a group as one of the group to the leader."""
    return replace(
        difference,
        difference=-difference.difference,
        low=None if difference.high is None else -difference.high,
        high=None if difference.low is None else -difference.low,
    )
