"""What models and metrics are called in front of a person, and how to read them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workflow_scripts.cells.results import MODEL, CompetitionScore

MODEL_LABELS: Mapping[str, str] = {
    MODEL: "Model",
    "mean_response": "Mean response",
    "context_mean": "Context mean",
    "perturbation_mean_effect": "Perturbation mean effect",
    "additive": "Additive effect",
    "additive_direct": "Additive effect, cells shifted",
    "additive_recentred": "Additive effect, cells shifted and re-centred",
    "denoised": "Denoised effect",
    "ridge": "Ridge on features",
    "ridge_shuffled": "Ridge on shuffled features",
    "nearest_neighbour": "Nearest neighbour",
    "nearest_neighbour_shuffled": "Nearest neighbour by shuffled features",
    "control": "Control",
}
"""Names of the scored models, in the order in which they are shown."""

MODEL_MEANINGS: Mapping[str, str] = {
    MODEL: "what this run trained",
    "mean_response": "one profile for all perturbations: no information about which is which",
    "context_mean": (
        "the mean of the context's perturbed training cells, for all perturbations: no information "
        "either"
    ),
    "perturbation_mean_effect": "controls plus this perturbation's mean effect in other contexts",
    "additive": (
        "controls plus an effect of the context and one of the perturbation, fitted together"
    ),
    "additive_direct": (
        "the same effect added to every drawn control and cut at 0, not written as calibrated cells"
    ),
    "additive_recentred": (
        "the same, the drawn controls first shifted to the mean of all controls of their context"
    ),
    "denoised": (
        "controls plus the effect measured in other contexts, its noise removed as low rank plus "
        "large single genes"
    ),
    "ridge": (
        "controls plus the effect that a ridge regression predicts from the perturbation's features"
    ),
    "ridge_shuffled": (
        "the same regression with the features dealt out to other perturbations: what ridge gains "
        "over it, it has from the features"
    ),
    "nearest_neighbour": (
        "controls plus the mean effect of the training perturbation with the nearest features: "
        "itself, where it was trained on"
    ),
    "nearest_neighbour_shuffled": (
        "the same with the features dealt out to other perturbations: what nearest neighbour gains "
        "over it, it has from the features"
    ),
    "control": "cells as if nothing had been done to them",
}

MAIN_METRICS = ("pds_cosine", "pds_l1", "pds_l2")
"""Discrimination scores, the preferred first: the only metrics here that the mean response can't
win by being close to every perturbation at once."""


@dataclass(frozen=True)
class MetricWords:
    """A metric for a person.

    Attributes
    ----------
    name
        Short name, for a table.
    how_to_read
        One line: what is measured, in which unit, and what a good value is.
    is_count
        Whether it counts something, for one perturbation.
    """

    name: str
    how_to_read: str
    is_count: bool = False

    def shown(self, value: float | None) -> str:
        """Return a value as a table shows it."""
        if self.is_count and value is not None and value == value:
            return f"{value:,.0f}" if value == round(value) or value >= 100 else f"{value:,.1f}"
        return number(value)


_RANK = (
    "How close the predicted effect is to its own perturbation's observed effect, ranked among all "
    "({} distance): 1 is closest to its own, 0.5 carries no information."
)

_WORDS: Mapping[str, MetricWords] = {
    "pds_cosine": MetricWords("Discrimination, cosine", _RANK.format("cosine")),
    "pds_l1": MetricWords("Discrimination, L1", _RANK.format("L1")),
    "pds_l2": MetricWords("Discrimination, L2", _RANK.format("Euclidean")),
    "expr_mae": MetricWords(
        "Expression error, absolute",
        "Mean absolute error of mean expression over genes (log1p units): 0 is exact. Rewards "
        "staying near the mean.",
    ),
    "expr_mse": MetricWords(
        "Expression error, squared",
        "Mean squared error of mean expression over genes (log1p units squared): 0 is exact. "
        "Rewards staying near the mean.",
    ),
    "delta_pearson": MetricWords(
        "Effect correlation",
        "Pearson correlation of predicted and observed effect over genes: 1 is the same pattern. "
        "High for any shared response.",
    ),
    "delta_mae": MetricWords(
        "Effect error, absolute",
        "Mean absolute error of the effect over genes (log1p units): 0 is exact.",
    ),
    "delta_mse": MetricWords(
        "Effect error, squared",
        "Mean squared error of the effect over genes (log1p units squared): 0 is exact.",
    ),
    "overlap": MetricWords(
        "DE gene overlap",
        "Share of the observed differentially expressed genes among as many top predicted ones.",
    ),
    "precision": MetricWords(
        "DE gene precision",
        "Share of the predicted differentially expressed genes among as many top observed ones.",
    ),
    "nsig_counts_pred": MetricWords(
        "DE genes, predicted",
        "Number of genes called significant in the prediction. Compare it with the observed "
        "number: neither more nor less is better.",
        is_count=True,
    ),
    "nsig_counts_real": MetricWords(
        "DE genes, observed",
        "Number of genes called significant in the observed cells: what there is to find.",
        is_count=True,
    ),
    "nsig_spearman": MetricWords(
        "DE gene count correlation",
        "Rank correlation, over perturbations, of observed and predicted numbers of DE genes.",
    ),
    "sig_recall": MetricWords(
        "DE gene recall", "Share of the observed DE genes that the prediction calls significant."
    ),
    "sig_jaccard": MetricWords(
        "DE gene Jaccard",
        "Observed and predicted DE genes in common, over those in either: 1 is the same set.",
    ),
    "lfc_spearman": MetricWords(
        "Fold change correlation",
        "Rank correlation of observed and predicted log2 fold changes over observed DE genes.",
    ),
    "lfc_nmae": MetricWords(
        "Fold change error, normalised",
        "Error of log2 fold changes of observed DE genes, over their mean size: 1 is predicting "
        "no change.",
    ),
    "direction_match": MetricWords(
        "Direction agreement", "Share of the observed DE genes that are predicted to go that way."
    ),
}

# The scorer puts the test it uses in front: one description serves all tests.
_TEST = re.compile(r"^de_(wilcoxon|deseq2)_(.+)$")


def metric_words(metric: str) -> MetricWords:
    """Return how to show a metric; a metric that is unknown here keeps its own name."""
    match = _TEST.match(metric)
    stem = match.group(2) if match else metric
    return _WORDS.get(stem) or MetricWords(
        stem.replace("_", " "), "As the scorer's documentation defines it."
    )


def model_label(model: str) -> str:
    """Return what a scored model is called on the page."""
    return MODEL_LABELS.get(model) or model.replace("_", " ").capitalize()


def models_in_order(models: Iterable[str]) -> list[str]:
    """Sort scored models: the run's own first, then known baselines, then others by name."""
    known = list(MODEL_LABELS)
    return sorted(
        set(models),
        key=lambda model: (known.index(model) if model in known else len(known), model),
    )


def metrics_in_order(metrics: Iterable[str]) -> list[str]:
    """Sort metrics: discrimination first, then as described here, then others by name."""
    known = list(_WORDS)

    def place(metric: str) -> tuple[int, str]:
        match = _TEST.match(metric)
        stem = match.group(2) if match else metric
        return (known.index(stem) if stem in known else len(known), metric)

    return sorted(set(metrics), key=place)


def together(names: Sequence[str]) -> str:
    """Return names as a person would list them: a, b and c."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def counted(n: int, noun: str) -> str:
    """Return a number of things, in words."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def number(value: float | None, *, signed: bool = False) -> str:
    """Return a number with three digits after the point, a small one with its exponent.

    Parameters
    ----------
    value
        The number, or nothing for a missing one.
    signed
        Show a plus sign, for differences.
    """
    if value is None or value != value:
        return "–"
    sign = "+" if signed else ""
    if value == 0 or 0.001 <= abs(value) < 100:
        text = f"{value:{sign}.3f}"
    elif abs(value) >= 100:
        text = f"{value:{sign},.0f}"
    else:
        text = f"{value:{sign}.1e}"
    return text.replace("-", "−")


def on_scale(value: float | None) -> str:
    """Say where a score stands between the mean response (0) and a replicate (1)."""
    if value is None or value != value:
        return ""
    return f"{number(value)} of 1" if -1 <= value <= 2 else "off scale"


def how_predicted(described: Mapping[str, str | float | bool]) -> str:
    """Say what was made of the model's own output, where that is anything.

    Parameters
    ----------
    described
        What the file of predictions says of itself.
    """
    said = []
    factor = float(described.get("amplitude", 1.0))
    if factor != 1.0:
        said.append(f"predicted effects were multiplied by {factor:.3g} (prediction.amplitude)")
    if described.get("cells") == "calibrated":
        said.append(
            "each gene has its predicted mean, and values that vary as among the controls; how "
            "genes vary together is that of the controls, and not predicted"
        )
    if described.get("scale") == "counts":
        said.append("cells are integer counts with the library sizes of the controls")
    if described.get("controls") == "predicted":
        said.append("they are held against controls that the model predicted itself")
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}." if said else ""


def in_order(findings: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return findings with errors first, then warnings, then notes."""
    order = ("error", "warning", "note")
    return sorted(findings, key=lambda entry: order.index(entry["severity"]))


def in_competition(scores: Mapping[str, Mapping[str, CompetitionScore]] | None) -> str:
    """Say what the model would get in the competition whose metrics were asked for.

    Parameters
    ----------
    scores
        Of each model, by context (``scores.json``); None where it isn't that competition.
    """
    if scores is None or MODEL not in scores:
        return ""
    of_context = scores[MODEL]
    there = [found.score for found in of_context.values() if found.score is not None]
    rules = "By the rules of the Virtual Cell Challenge 2026"
    if len(there) < len(of_context):
        name, found = next(item for item in of_context.items() if item[1].score is None)
        return f"{rules} there is no score in {name}: {found.reason}."
    mean = sum(there) / len(there)
    return (
        f"{rules}, the mean of six metrics on the scale from the mean response (0) to a replicate "
        f"(1), the model gets {number(mean)}."
    )
