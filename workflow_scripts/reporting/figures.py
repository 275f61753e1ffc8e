"""The figures of a report: each is a function from numbers to one piece of SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from workflow_scripts.cells.results import MODEL
from workflow_scripts.reporting.effects import PanelEffects
from workflow_scripts.reporting.inputs import VALIDATION_SCORES
from workflow_scripts.reporting.svg import (
    BASELINE,
    HIGHLIGHT,
    INK,
    MUTED,
    OWN,
    VALIDATION,
    blank_figure,
    to_markup,
)
from workflow_scripts.reporting.words import metric_words, model_label, number

MAX_POINTS = 1000
"""Most points of the raw loss curve: more than a page's width has pixels, and 30 kB of SVG."""

MAX_GENES = 1000
"""Most genes drawn in one panel, near 60 kB of SVG: a transcriptome would be a megabyte. The
caption says where the others lie."""

_COURSE = {"lr": "learning rate", "gradient_norm": "gradient norm", "cells_per_second": "cells / s"}
"""Columns of a training's log, and what they are called beside the axis."""


@dataclass(frozen=True)
class Drawing:
    """A figure, its caption's varying half, and the words a heading needs."""

    svg: Markup
    note: str = ""


def loss_curves(training: pd.DataFrame) -> Drawing | None:
    """Draw training loss, its running mean and the validation losses over steps.

    Returns
    -------
    Drawing or None
        None where no step was logged with a finite loss; the note names the running mean's width.
    """
    train = training[np.isfinite(training["train_set_loss"])]
    validation = training[np.isfinite(training["val_loss"])]
    if train.empty and validation.empty:
        return None
    window = max(5, len(train) // 40)
    smooth = train["train_set_loss"].rolling(window, center=True, min_periods=1).mean()
    with blank_figure(7.2, 3.1) as figure:
        axes = figure.add_subplot()
        few = len(train) < 40
        raw = train.iloc[:: -(-len(train) // MAX_POINTS) or 1]
        axes.plot(
            raw["step"],
            raw["train_set_loss"],
            color=OWN,
            alpha=1.0 if few else 0.35,
            linewidth=1.6 if few else 0.7,
            marker="." if few else "",
            label="training, each logged step",
        )
        if not few:
            kept = slice(None, None, -(-len(train) // MAX_POINTS))
            label = f"training, mean of {window} steps"
            axes.plot(train["step"][kept], smooth[kept], color=OWN, linewidth=1.8, label=label)
        if not validation.empty:
            axes.plot(
                validation["step"],
                validation["val_loss"],
                color=VALIDATION,
                marker="o",
                markersize=4,
                linewidth=1.4,
                label="validation",
            )
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("loss")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        _log_if_it_helps(axes, pd.concat([smooth, validation["val_loss"]]))
        axes.legend(loc="upper right")
        svg = to_markup(figure, "loss", "Training and validation loss over optimizer steps")
    return Drawing(svg, "" if few else f"The line is a running mean over {window} logged steps.")


def score_curves(training: pd.DataFrame) -> Drawing | None:
    """Draw the scores of the validations over steps; None where none was scored."""
    scored = training.dropna(subset=list(VALIDATION_SCORES), how="all")
    if scored.empty:
        return None
    with blank_figure(7.2, 2.6) as figure:
        axes = figure.add_subplot()
        axes.axhline(0.5, color=MUTED, linewidth=0.8, linestyle=":")
        colours = (OWN, VALIDATION, BASELINE)
        for column, marker, colour in zip(VALIDATION_SCORES, "os^", colours, strict=True):
            axes.plot(
                scored["step"],
                scored[column],
                color=colour,
                marker=marker,
                markersize=4,
                linewidth=1.4,
                label=metric_words(column.removeprefix("val_")).name,
            )
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("score")
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        axes.legend(loc="best")
        svg = to_markup(figure, "validation-scores", "Scores of the validations over steps")
    return Drawing(svg)


def course_curves(training: pd.DataFrame) -> Drawing | None:
    """Draw learning rate, gradient norm and pace over steps, one under the other.

    Returns
    -------
    Drawing or None
        None where no step was logged; a row that has no finite number is left out.
    """
    rows = [
        (column, label) for column, label in _COURSE.items() if np.isfinite(training[column]).any()
    ]
    if not rows:
        return None
    shown = training.iloc[:: -(-len(training) // MAX_POINTS) or 1]
    few = len(shown) < 40
    with blank_figure(7.2, 0.5 + 1.15 * len(rows)) as figure:
        panels = figure.subplots(len(rows), sharex=True, squeeze=False)[:, 0]
        for axes, (column, label) in zip(panels, rows, strict=True):
            axes.plot(
                shown["step"],
                shown[column],
                color=OWN,
                linewidth=1.6 if few or column == "lr" else 0.8,
                marker="." if few else "",
            )
            axes.set_ylabel(label, fontsize=8)
            axes.tick_params(labelsize=8)
            axes.set_ylim(0, 1.08 * max(float(shown[column].max()), 1e-12))
            axes.yaxis.set_major_locator(MaxNLocator(nbins=3))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        panels[-1].set_xlabel("optimizer step")
        panels[-1].set_xlim(left=0)
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        svg = to_markup(figure, "course", "Learning rate, gradient norm and pace over steps")
    return Drawing(svg)


def _log_if_it_helps(axes: Axes, losses: pd.Series[float]) -> None:
    """Use a logarithmic axis for positive losses that span more than a factor of five."""
    if losses.min() <= 0 or losses.max() / losses.min() <= 5:
        return
    axes.set_yscale("log")
    axes.set_ylabel("loss (log scale)")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.minorticks_off()


def strips(
    values: pd.DataFrame,
    models: Sequence[str],
    *,
    name: str,
    label: str,
    reference: tuple[float, str] | None = None,
) -> Drawing:
    """Draw one row of dots a model, a dot a perturbation, and the mean that scores are.

    Parameters
    ----------
    values
        Columns model, context and value.
    models
        Rows, from the top.
    name
        Name of the figure on the page.
    label
        What the values are, for the axis.
    reference
        A value to draw a line at, and what it means.
    """
    with blank_figure(7.2, 0.75 + 0.42 * len(models)) as figure:
        axes = figure.add_subplot()
        axes.grid(visible=False, axis="y")
        if reference is not None:
            axes.axvline(reference[0], color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
            axes.annotate(
                reference[1],
                (reference[0], 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(4, 2),
                textcoords="offset points",
                color=MUTED,
                fontsize=8,
            )
        for row, model in enumerate(models):
            shown = values[values["model"] == model].dropna(subset=["value"])
            _strip(axes, row, shown, OWN if model == MODEL else BASELINE)
        axes.set_ylim(len(models) - 0.4, -0.6)
        axes.set_yticks(range(len(models)), [model_label(model) for model in models])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(label)
        finite = values["value"].dropna()
        # The anchors of the scale are part of the message, unless the values go beyond.
        axes.set_xlim(min(-0.03, finite.min() - 0.05), max(1.03, finite.max() + 0.05))
        svg = to_markup(figure, name, f"{label}, one row a model")
    return Drawing(svg)


def _strip(axes: Axes, row: int, values: pd.DataFrame, colour: str) -> None:
    if not len(values):
        axes.annotate(
            "no value",
            (0.0, row),
            xycoords=("axes fraction", "data"),
            xytext=(20, 0),
            textcoords="offset points",
            va="center",
            color=MUTED,
            fontsize=8,
        )
        return
    # Golden-ratio steps spread dots evenly without chance, so that a page is reproducible.
    offsets = (np.arange(len(values)) * 0.618034 % 1 - 0.5) * 0.44
    ordered = np.sort(values["value"].to_numpy(dtype=float))
    axes.scatter(ordered, row + offsets, s=13, color=colour, alpha=0.6, linewidths=0)
    mean = float(values.groupby("context", observed=True)["value"].mean().mean())
    axes.plot([mean, mean], [row - 0.32, row + 0.32], color=INK, linewidth=2.2)


def effect_panel(panel: PanelEffects, name: str) -> Drawing:
    """Draw predicted against observed effects of one perturbation, a dot a gene.

    Returns
    -------
    Drawing
        The note says how many genes aren't drawn because they lie close to the origin.
    """
    observed = panel.genes["observed_effect"].to_numpy(dtype=float)
    predicted = panel.genes["predicted_effect"].to_numpy(dtype=float)
    distance = np.maximum(np.abs(observed), np.abs(predicted))
    order = np.argsort(-distance, kind="stable")
    drawn, left = order[:MAX_GENES], order[MAX_GENES:]
    limit = 1.12 * max(float(distance.max(initial=0.0)), 1e-6)
    with blank_figure(2.7, 2.7) as figure:
        axes = figure.add_subplot()
        axes.plot([-limit, limit], [-limit, limit], color=MUTED, linewidth=1, dashes=(4, 3))
        if len(left):
            inner = float(distance[left].max())
            axes.fill(
                [-inner, inner, inner, -inner], [-inner, -inner, inner, inner], color=OWN, alpha=0.3
            )
        axes.scatter(observed[drawn], predicted[drawn], s=9, color=OWN, alpha=0.6, linewidths=0)
        if np.isfinite(panel.slope):
            middle = predicted.mean() - panel.slope * observed.mean()
            reach = np.array([observed.min(), observed.max()])
            axes.plot(reach, middle + panel.slope * reach, color=HIGHLIGHT, linewidth=1.3)
        _name_genes(axes, panel, drawn, limit)
        axes.set_xlim(-limit, limit)
        axes.set_ylim(-limit, limit)
        axes.set_aspect("equal")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(nbins=5, symmetric=True))
        axes.tick_params(labelsize=8)
        axes.set_xlabel("observed effect", fontsize=8)
        axes.set_ylabel("predicted effect", fontsize=8)
        words = (
            f"Predicted against observed effect of {panel.perturbation} in {panel.context}: slope "
            f"{number(panel.slope)}, correlation {number(panel.correlation)}"
        )
        svg = to_markup(figure, name, words)
    note = (
        f"{len(left):,} of {len(order):,} genes lie inside the shaded square." if len(left) else ""
    )
    return Drawing(svg, note)


def _name_genes(axes: Axes, panel: PanelEffects, drawn: np.ndarray, limit: float) -> None:
    """Write the names of the strongest observed genes, and of the target where it's measured."""
    genes = panel.genes.iloc[drawn]
    strongest = genes["observed_effect"].abs().sort_values(ascending=False).index[:4]
    target = genes.index[genes["gene"] == panel.perturbation]
    taken: list[tuple[float, float]] = []
    for row in dict.fromkeys([*target, *strongest]):
        gene, x, y = panel.genes.loc[row, ["gene", "observed_effect", "predicted_effect"]]
        # Two names closer than a line of text would cover one another.
        if any(abs(y - other) < 0.16 * limit and abs(x - at) < 0.9 * limit for at, other in taken):
            continue
        taken.append((x, y))
        axes.annotate(
            gene,
            (x, y),
            # Away from the fitted line, which is flatter than the diagonal where effects are
            # predicted too small, and into the panel.
            xytext=(3, -9) if x > 0 else (-3, 5),
            textcoords="offset points",
            ha="right" if x > 0 else "left",
            fontsize=7,
            color=HIGHLIGHT if row in target else INK,
        )
