"""What each step gains, from the additive effect with its cells written simply to the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workflow_scripts.cells.results import LADDER, MODEL, Scores
from workflow_scripts.reporting.words import metric_words, metrics_in_order, number

LABELS: Mapping[str, str] = {
    "additive_direct": "Additive effect, added to drawn controls",
    "additive_recentred": "Re-centred on all controls",
    "additive": "Written as calibrated cells",
    "denoised": "Denoised effect",
    MODEL: "This model",
}
METRICS = ("pds_cosine", "delta_pearson", "expr_mse", "de_wilcoxon_overlap")


@dataclass(frozen=True)
class Rung:
    """One step: its score in each metric, and what it gains over the step before."""

    label: str
    cells: tuple[tuple[str, str], ...]


def ladder(scores: Scores) -> tuple[list[str], list[Rung]]:
    """Return the names of the metrics, and the steps that were scored."""
    steps = [name for name in LADDER if name in scores.overall]
    if len(steps) < 2:
        return [], []
    metrics = metrics_in_order(name for name in METRICS if name in scores.overall[steps[0]])
    rungs = []
    for step in steps:
        cells = []
        for metric in metrics:
            gain, found = "", scores.ladder.get(step, {}).get(metric)
            if found is not None:
                gain = number(found.difference, signed=True)
            if found is not None and found.low is not None:
                ends = number(found.low, signed=True), number(found.high, signed=True)
                gain += f" ({ends[0]} to {ends[1]})"
            cells.append((number(scores.overall[step].get(metric)), gain))
        rungs.append(Rung(LABELS[step], tuple(cells)))
    lower = {name for name in metrics if scores.better.get(name) == "lower"}
    names = [metric_words(name).name + (" ↓" if name in lower else " ↑") for name in metrics]
    return names, rungs
