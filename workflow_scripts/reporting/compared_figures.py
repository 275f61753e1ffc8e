"""Figures of several runs: their validation losses, and what their scores cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from workflow_scripts.reporting.figures import Drawing
from workflow_scripts.reporting.svg import (
    BASELINE,
    INK,
    OWN,
    VALIDATION,
    blank_figure,
    to_markup,
)

if TYPE_CHECKING:
    from workflow_scripts.reporting.compared import ComparedRun

_NAMED = 12
"""Groups whose dots carry their names; more would cover one another."""


def validation_curves(
    runs: Sequence[ComparedRun], groups: Mapping[str, Sequence[str]], order: Sequence[str]
) -> Drawing | None:
    """Draw the validation losses of all runs, the first two groups in colour.

    Parameters
    ----------
    runs
        With their training logs.
    groups
        Names of the runs of each group.
    order
        Labels of the groups, the best first.
    """
    by_name = {run.name: run for run in runs}
    colours = dict(zip(order, (OWN, VALIDATION), strict=False))
    marks = dict(zip(order, ("o", "s"), strict=False))
    drawn = 0
    with blank_figure(7.2, 3.1) as figure:
        axes = figure.add_subplot()
        for label in reversed(order):  # the best on top
            for at, name in enumerate(groups[label]):
                training = by_name[name].training
                if training is None:
                    continue
                rows = training[np.isfinite(training["val_loss"])]
                if rows.empty:
                    continue
                drawn += 1
                axes.plot(
                    rows["step"],
                    rows["val_loss"],
                    color=colours.get(label, BASELINE),
                    alpha=1.0 if label in colours else 0.5,
                    marker=marks.get(label, ""),
                    markersize=3.5,
                    linewidth=1.4 if label in colours else 0.9,
                    label=label if label in colours and at == 0 else None,
                )
        if not drawn:
            return None
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("validation loss")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        if axes.get_legend_handles_labels()[1]:
            axes.legend(loc="best")
        svg = to_markup(figure, "curves", "Validation losses of all runs over optimizer steps")
    others = len(order) - len(colours)
    return Drawing(svg, f"In grey: {others} more." if others > 0 else "")


def score_against_cost(
    points: Sequence[tuple[str, float | None, Mapping[str, Any]]], metric: str
) -> Drawing | None:
    """Draw the score of each group against the time of one training.

    Parameters
    ----------
    points
        Label, seconds, and standing on the main metric; the best first.
    metric
        What that is called.
    """
    there = [
        (label, seconds, standing)
        for label, seconds, standing in points
        if seconds is not None and standing["mean"] is not None
    ]
    if len(there) < 2:
        return None
    longest = max(seconds for _, seconds, _ in there)
    unit, long = next(
        (name, n)
        for name, n in (("hours", 3600), ("minutes", 60), ("seconds", 1))
        if longest > 2 * n or n == 1
    )
    with blank_figure(7.2, 3.1) as figure:
        axes = figure.add_subplot()
        for at, (label, seconds, standing) in enumerate(there):
            x = seconds / long
            colour = OWN if at == 0 else BASELINE
            if standing["low"] is not None:
                ends = [standing["low"], standing["high"]]
                axes.plot([x, x], ends, color=colour, linewidth=1.0)
            axes.plot(x, standing["mean"], "o" if at == 0 else "s", color=colour)
            if len(there) <= _NAMED:
                axes.annotate(
                    label,
                    (x, standing["mean"]),
                    xytext=(5, 3),
                    textcoords="offset points",
                    fontsize=7,
                    color=INK,
                )
        axes.set_xlabel(f"time of one training ({unit})")
        axes.set_ylabel(metric)
        axes.margins(x=0.15)
        axes.set_xlim(left=0)
        svg = to_markup(figure, "cost", f"{metric} of each group against the time of its training")
    return Drawing(svg)
