"""The files of an evaluation."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from workflow_scripts.cache.records import sealed
from workflow_scripts.cells.results import PAIR
from workflow_scripts.evaluation.scoring import Evaluation


def write_evaluation(
    result: Evaluation,
    *,
    metrics: Path,
    scores: Path,
    effects: Path,
    per_perturbation: Path,
    genes: Path,
    results: Path,
) -> None:
    """Write the files of an evaluation."""
    # Python's own repr of a float: the shortest text that reads back to the same number.
    result.table.to_csv(metrics, sep="\t", index=False, na_rep="NaN")
    for path, content in (
        (scores, sealed(asdict(result.scores), {metrics.name: metrics})),
        (results, result.documents),
    ):
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
        path.write_text(text, encoding="utf-8")
    result.effects.to_parquet(effects, index=False)
    result.genes.to_parquet(genes, index=False)
    wide = result.metrics.merge(result.facts, on=PAIR, how="left")
    wide.to_parquet(per_perturbation, index=False)
