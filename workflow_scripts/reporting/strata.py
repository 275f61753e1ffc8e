"""Scores of kinds of perturbations, a kind a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workflow_scripts.cells.results import Better, Scores
from workflow_scripts.reporting.tables import Cell, best_of
from workflow_scripts.reporting.words import metric_words, model_label, models_in_order

STRATA: Mapping[str, str] = {
    "effect_size": "Observed effect (norm over genes, log1p units)",
    "n_de_genes": "Significant genes, observed",
    "n_cells": "Observed cells",
    "distance_to_training": "Cosine distance to the nearest features trained on",
    "kind": "What is new",
}
"""Names of the facts by which perturbations are scored apart."""


@dataclass(frozen=True)
class StratumRow:
    """A kind of perturbations, and what each model scores on it."""

    fact: str
    range: str
    n: int
    cells: tuple[Cell, ...]


def strata_rows(scores: Scores, metric: str | None) -> tuple[list[str], list[StratumRow]]:
    """Return the labels of the models, and a row a kind of perturbations, on the main metric."""
    if metric is None:
        return [], []
    models = models_in_order(scores.overall)
    better: Better = scores.better.get(metric, "neither")
    words, rows = metric_words(metric), []
    for fact, parts in scores.strata.items():
        for part in parts:
            values = [part.scores.get(model, {}).get(metric) for model in models]
            best = best_of(values, better)
            cells = tuple(
                Cell(words.shown(value), value, is_best=value is not None and value == best)
                for value in values
            )
            rows.append(StratumRow(STRATA.get(fact, fact), part.range, part.n, cells))
    return [model_label(model) for model in models], rows
