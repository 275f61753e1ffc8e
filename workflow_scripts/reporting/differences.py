"""The model against each baseline on each metric: how much, how sure, and whether by chance."""

from __future__ import annotations

from dataclasses import dataclass

from workflow_scripts.reporting.formats import Scores
from workflow_scripts.reporting.tables import BETTER_WORDS
from workflow_scripts.reporting.words import (
    MetricWords,
    metric_words,
    metrics_in_order,
    model_label,
    models_in_order,
    number,
)


@dataclass(frozen=True)
class DifferenceRow:
    """One baseline on one metric; texts as shown, ``difference`` and ``p`` to sort by."""

    words: MetricWords
    better: str
    baseline: str
    difference: float
    shown: str
    interval: str
    n: int
    p: float
    p_shown: str


def difference_rows(scores: Scores) -> list[DifferenceRow]:
    """Return a row a metric and baseline, in the order of the table of scores."""
    compared = scores["comparisons"]
    metrics = metrics_in_order([name for of_one in compared.values() for name in of_one])
    rows = []
    for metric in metrics:
        for baseline in models_in_order(compared):
            if (found := compared[baseline].get(metric)) is None:
                continue
            ends = [found["low"], found["high"]]
            rows.append(
                DifferenceRow(
                    metric_words(metric),
                    BETTER_WORDS[scores["better"].get(metric, "neither")],
                    model_label(baseline),
                    found["difference"],
                    number(found["difference"], signed=True),
                    "" if None in ends else " – ".join(number(end, signed=True) for end in ends),
                    found["n"],
                    found["p_holm"],
                    "< 0.001" if found["p_holm"] < 0.001 else f"{found['p_holm']:.3f}",
                )
            )
    return rows
