"""The model's scores with one row a perturbation, and what is known of each beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from workflow_scripts.cells.results import MODEL, Better
from workflow_scripts.reporting.tables import BETTER_WORDS, Cell, finite
from workflow_scripts.reporting.words import metric_words, metrics_in_order, number


@dataclass(frozen=True)
class Column:
    """Heading of a column, and the longer text behind it; names are searched, numbers aren't."""

    name: str
    how_to_read: str
    is_number: bool = True


@dataclass(frozen=True)
class PerturbationTable:
    """The model's metrics and what is known beside them, one row a perturbation and context.

    Attributes
    ----------
    columns
        Those after perturbation and context.
    rows
        Perturbation first.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, str, tuple[Cell, ...]], ...]


_FACTS: Mapping[str, Column] = {
    "kind": Column(
        "Training had seen", "What training had seen of perturbation and context.", is_number=False
    ),
    "taken_for": Column(
        "Looks like",
        "The perturbation whose observed effect the prediction is closest to (cosine over genes).",
        is_number=False,
    ),
    "own_rank": Column(
        "Its own place",
        "Where its own observed effect stands when all are ranked by closeness to the prediction: "
        "1 is the first.",
    ),
    "source": Column("Rests on", "What the denoised effect rests on.", is_number=False),
    "trust": Column(
        "Trust",
        "Share of the observed effect that the denoised effect is expected to account for, by the "
        "width of its 90 % intervals: near 1, it can be trusted; near 0, noise may be as large.",
    ),
    "coverage": Column(
        "In the interval", "Share of genes whose observed effect lies in the 90 % interval."
    ),
    "n_cells": Column("Cells", "Observed cells of the perturbation in the context."),
    "n_de_genes": Column("DE genes", "Genes that the scorer calls changed in the observed cells."),
    "distance_to_training": Column(
        "Distance to training",
        "Cosine distance of its features to those of the nearest perturbation that was trained on; "
        "0 if it was trained on itself.",
    ),
}
"""What is known of a perturbation beside its scores, in the order of the table."""


def perturbation_table(
    metrics: pd.DataFrame,
    effects: pd.DataFrame,
    better: Mapping[str, Better],
    facts: pd.DataFrame,
) -> PerturbationTable:
    """Return the model's metrics and what is known beside them, a perturbation a row.

    Parameters
    ----------
    metrics
        One row a model, context, perturbation and metric.
    effects
        What `effects.summarise_effects` returned.
    better
        Which way each metric is better.
    facts
        One row a context and perturbation; columns of `inputs.FACT_COLUMNS`, those there are.
    """
    keys = ["context", "perturbation"]
    own = metrics[metrics["model"] == MODEL]
    wide = own.pivot_table(index=keys, columns="metric", values="value", dropna=False)
    words = {name: metric_words(name) for name in metrics_in_order(own["metric"])}
    known = facts.set_index(keys)
    # What says nothing of any perturbation is left out.
    shown = [name for name in _FACTS if name in known and known[name].notna().any()]
    names = [name for name in shown if not _FACTS[name].is_number]
    numbers = [name for name in shown if _FACTS[name].is_number]
    strengths = effects[effects["model"] == MODEL].set_index(keys)["strength"]
    columns = [
        *(_FACTS[name] for name in names),
        *(
            Column(entry.name, f"{entry.how_to_read} {BETTER_WORDS[better.get(name, 'neither')]}.")
            for name, entry in words.items()
        ),
        *(_FACTS[name] for name in numbers),
    ]
    if len(strengths):
        columns.append(
            Column(
                "Observed effect size",
                "Euclidean norm over genes of the observed effect (log1p units), noise included.",
            )
        )
    rows = []
    for pair in own[keys].drop_duplicates().itertuples(index=False, name=None):
        context, perturbation = pair
        cells = [Cell(_name(known[name].get(pair), perturbation)) for name in names]
        for name, entry in words.items():
            value = finite(wide[name].get(pair))
            cells.append(Cell(entry.shown(value), value))
        for name in numbers:
            value = finite(known[name].get(pair))
            whole = value is not None and name not in ("distance_to_training", "trust", "coverage")
            cells.append(Cell(f"{value:g}" if whole else number(value), value))
        if len(strengths):
            value = finite(strengths.get(pair))
            cells.append(Cell(number(value), value))
        rows.append((perturbation, context, tuple(cells)))
    return PerturbationTable(tuple(columns), tuple(rows))


def _name(value: object, perturbation: str) -> str:
    if not isinstance(value, str):
        return "–"
    return "itself" if value == perturbation else value
