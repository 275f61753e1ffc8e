"""Several runs beside one another: what a page of them is made from, and its tables."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from workflow_scripts.cache.kept import ANCHORS
from workflow_scripts.cache.writing import refuse_damaged
from workflow_scripts.cells.results import MODEL, AnchorsFile, Scores, read_result
from workflow_scripts.reporting.compared_figures import score_against_cost, validation_curves
from workflow_scripts.reporting.inputs import (
    read_config,
    read_metrics,
    read_training,
)
from workflow_scripts.reporting.templating import template_environment
from workflow_scripts.reporting.words import (
    MAIN_METRICS,
    metric_words,
    metrics_in_order,
    model_label,
    models_in_order,
    number,
    on_scale,
)
from workflow_scripts.settings.dump import inline

_NOTHING = 1e-9
"""Differences below this are those of rounding."""


@dataclass(frozen=True)
class ComparedRun:
    """One of the runs.

    Attributes
    ----------
    name, folder
        What it is called, and where it lies.
    config
        Frozen.
    scores
        ``scores.json``.
    metrics
        Columns context, perturbation, metric, value, of the model.
    training
        A row a logged step; None where it trained no model.
    tested_on
        Names the cells that it was tested on, and how they were scored.
    """

    name: str
    folder: Path
    config: Mapping[str, Any]
    scores: Scores
    metrics: pd.DataFrame
    training: pd.DataFrame | None
    tested_on: str

    @classmethod
    def read(cls, folder: Path) -> ComparedRun:
        """Read a run's folder.

        Raises
        ------
        DataError
            Where a file is missing, or isn't what its name says.
        """
        for name in ("metrics.tsv", "scores.json", "training.csv", ANCHORS):
            refuse_damaged(folder / name)
        metrics = read_metrics(folder / "metrics.tsv")
        training = folder / "training.csv"
        config = read_config(folder / "config.yaml")
        return cls(
            str(config["name"]),
            folder,
            config,
            read_result(folder / "scores.json", Scores),
            metrics[metrics["model"] == MODEL].drop(columns="model"),
            read_training(training) if training.exists() else None,
            read_result(folder / ANCHORS, AnchorsFile).identity,
        )

    @property
    def seconds(self) -> float | None:
        """How long its steps took; None where it trained none."""
        return None if self.training is None else float(self.training["seconds"].sum())


@dataclass(frozen=True)
class GroupRow:
    """A line of the leaderboard: a run, or several replicates.

    Attributes
    ----------
    label
        What tells it from the others.
    runs
        Its runs, with the link to each one's report.
    cells
        What stands under each metric.
    seconds
        Mean time of a training.
    """

    label: str
    runs: tuple[tuple[str, str], ...]
    cells: tuple[Mapping[str, Any], ...]
    seconds: float | None = None


def render_comparison(
    runs: Sequence[ComparedRun],
    groups: Mapping[str, Sequence[str]],
    standings: Mapping[str, Mapping[str, Any]],
    differing: Mapping[str, Sequence[Any]],
    *,
    replicates: Sequence[str],
    version: str,
    place: Path,
) -> str:
    """Return the page: one HTML file that needs nothing beside it, with links to the reports.

    Parameters
    ----------
    runs
        In the order in which they were asked for.
    groups
        Names of the runs of each group, by its label.
    standings
        By group and metric, `evaluation.replicates.Standing` as mappings.
    differing
        Keys in which the groups differ, each with the value of every group.
    replicates
        Keys that make replicates.
    version
        Of the project.
    place
        Where the page will lie, which links start from.
    """
    by_name = {run.name: run for run in runs}
    metrics = metrics_in_order(metric for of in standings.values() for metric in of)
    main = next((metric for metric in MAIN_METRICS if metric in metrics), metrics[0])
    metrics = [main, *(metric for metric in metrics if metric != main)]
    first = runs[0].scores
    alike = comparable(runs, groups)
    rows = [
        GroupRow(
            label,
            tuple((name, _report(by_name[name], place)) for name in names),
            tuple(_cell(standings[label].get(metric)) for metric in metrics),
            _mean_seconds([by_name[name] for name in names]),
        )
        for label, names in groups.items()
    ]
    lower = first.better.get(main) == "lower"

    def worst_last(row: GroupRow) -> float:
        value = row.cells[0]["value"]
        return float("inf") if value is None else value if lower else -value

    rows.sort(key=worst_last)
    baselines = [
        GroupRow(
            model_label(name),
            (),
            tuple(_plain(_mean_of(runs, groups, name, metric)) for metric in metrics),
        )
        for name in models_in_order(first.overall)
        if alike and name not in {MODEL, *first.negative_controls}
    ]
    order = [row.label for row in rows]
    points = [(row.label, row.seconds, standings[row.label][main]) for row in rows]
    return (
        template_environment()
        .get_template("compare.html")
        .render(
            title="Runs compared",
            version=version,
            n_runs=len(runs),
            replicates=replicates,
            combined=any(len(names) > 1 for names in groups.values()),
            alike=alike,
            columns=[(metric, metric_words(metric), first.better[metric]) for metric in metrics],
            rows=rows,
            baselines=baselines,
            differing=[
                (key, [_value(values[list(groups).index(label)]) for label in order])
                for key, values in differing.items()
            ],
            order=order,
            curves=validation_curves(runs, groups, order),
            cost=score_against_cost(points, metric_words(main).name),
        )
    )


def comparable(runs: Sequence[ComparedRun], groups: Mapping[str, Sequence[str]]) -> bool:
    """Return whether all groups were tested on the same cells, be it in several folds."""
    cells = {run.name: run.tested_on for run in runs}
    return len({frozenset(cells[name] for name in names) for names in groups.values()}) == 1


def comparison_table(
    runs: Sequence[ComparedRun],
    groups: Mapping[str, Sequence[str]],
    standings: Mapping[str, Mapping[str, Any]],
) -> pd.DataFrame:
    """Return the same numbers as a long table: a row a group and metric.

    Columns group, runs, n_runs, metric, mean, sd, scaled, ci_low, ci_high, difference,
    difference_low, difference_high, training_seconds.
    """
    by_name = {run.name: run for run in runs}
    rows = []
    for label, names in groups.items():
        seconds = _mean_seconds([by_name[name] for name in names])
        for metric, found in standings[label].items():
            difference = found["difference"] or {}
            rows.append(
                {
                    "group": label,
                    "runs": ",".join(names),
                    "n_runs": len(names),
                    "metric": metric,
                    "mean": found["mean"],
                    "sd": found["sd"],
                    "scaled": found["scaled"],
                    "ci_low": found["low"],
                    "ci_high": found["high"],
                    "difference": difference.get("difference"),
                    "difference_low": difference.get("low"),
                    "difference_high": difference.get("high"),
                    "training_seconds": seconds,
                }
            )
    return pd.DataFrame(rows)


def _mean_of(
    runs: Sequence[ComparedRun], groups: Mapping[str, Sequence[str]], model: str, metric: str
) -> float | None:
    """Return a baseline's mean over the runs of a group, of which each may be another fold."""
    names = next(iter(groups.values()))
    scores = [run.scores.overall.get(model, {}).get(metric) for run in runs if run.name in names]
    there = [score for score in scores if score is not None]
    return sum(there) / len(there) if there and len(there) == len(scores) else None


def _report(run: ComparedRun, place: Path) -> str:
    return Path(os.path.relpath(run.folder / "report.html", place.parent)).as_posix()


def _mean_seconds(runs: Sequence[ComparedRun]) -> float | None:
    there = [run.seconds for run in runs if run.seconds is not None]
    return sum(there) / len(there) if there else None


def _cell(standing: Mapping[str, Any] | None) -> dict[str, Any]:
    if standing is None:
        return _plain(None)
    interval, difference, words = "", standing["difference"], ""
    if standing["low"] is not None:
        interval = f"{number(standing['low'])} to {number(standing['high'])}"
    if difference is not None:
        words = f"{number(difference['difference'], signed=True)} to the best"
        if difference["low"] is not None:
            ends = (number(difference[end], signed=True) for end in ("low", "high"))
            words += f" ({' to '.join(ends)})"
        if abs(difference["difference"]) < _NOTHING:
            words = "equal to the best"
    return {
        "value": standing["mean"],
        "text": number(standing["mean"]),
        "sd": "" if standing["sd"] is None else f"± {number(standing['sd'])} between runs",
        "interval": interval,
        "scaled": on_scale(standing["scaled"]),
        "difference": words,
    }


def _plain(value: float | None) -> dict[str, Any]:
    nothing = dict.fromkeys(("sd", "interval", "scaled", "difference"), "")
    return {"value": value, "text": number(value), **nothing}


def _value(value: Any) -> str:
    return "–" if value is None else value if isinstance(value, str) else inline(value)
