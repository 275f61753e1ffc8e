"""Predictions that know nothing, beside the model: whether its score means anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workflow_scripts.cells.results import MODEL, NegativeControl, Scores
from workflow_scripts.reporting.words import metric_words, number

WAYS: Mapping[str, tuple[str, str, str]] = {
    "shuffled_features": (
        "Features of other perturbations",
        "the model reads the features of another perturbation in place of each one's own",
        "With the features of other perturbations the model is not measurably worse: nothing shows "
        "that its score comes from knowing what was perturbed.",
    ),
    "random_features": (
        "Random features",
        "the model reads random numbers in place of features",
        "With random features the model is not measurably worse: nothing shows that its score "
        "comes from knowing what was perturbed.",
    ),
    "same_cells": (
        "The same cells for all",
        "every perturbation gets the same predicted cells",
        "The same predicted cells for all perturbations are not measurably worse: nothing shows "
        "that the model tells perturbations apart.",
    ),
    "doubled_variance": (
        "Twice the variance",
        "the differences between the predicted cells of a perturbation are enlarged, their mean is "
        "kept",
        "Twice the variance between predicted cells is not measurably worse on any metric: none of "
        "them says that these cells vary as real ones do.",
    ),
}
"""Label, what is done, and what it means where the model is no better."""


@dataclass(frozen=True)
class NegativeControlRow:
    """A negative control of a model.

    Attributes
    ----------
    way, label, meaning
        Its name in the files and on the page, and what is done.
    score, difference
        Its own score on the main metric, and the model's less it, as shown.
    outcome
        Whether the model was better.
    mark
        What to say of the model; empty where it was better, or too few perturbations were tested.
    """

    way: str
    label: str
    meaning: str
    score: str
    difference: str
    outcome: str
    mark: str


def negative_control_rows(scores: Scores, metric: str | None) -> list[NegativeControlRow]:
    """Return a row for each way that was tried.

    Parameters
    ----------
    scores
        Aggregated scores.
    metric
        The main one; None where there is none, and no row.
    """
    rows = []
    for way, (label, meaning, sentence) in WAYS.items():
        found = scores.negative_controls.get(way, {})
        if metric is None or metric not in found:
            continue
        pair, own = found[metric], scores.overall[MODEL][metric] or 0.0
        matches = _on_any(found) if way == "doubled_variance" else pair.matches
        rows.append(
            NegativeControlRow(
                way,
                label,
                meaning,
                metric_words(metric).shown(own - pair.difference),
                number(pair.difference, signed=True),
                {None: "too few perturbations to tell", True: "no better", False: "better"}[
                    matches
                ],
                sentence if matches else "",
            )
        )
    return rows


def _on_any(found: Mapping[str, NegativeControl]) -> bool | None:
    """Say whether it does as well on all metrics that it changes at all: means it doesn't."""
    known = [pair.matches for pair in found.values() if abs(pair.difference) > 1e-6]
    if not known or None in known:
        return None
    return all(known)
