"""The files of an evaluation."""

from __future__ import annotations

import json
from pathlib import Path

from workflow_scripts.cache.records import sealed
from workflow_scripts.evaluation.scoring import Evaluation
from workflow_scripts.evaluation.strata import KEYS


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
    """Write the files of an evaluation, each whole or not at all."""
    paths = (metrics, scores, effects, per_perturbation, genes, results)
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    parts = {path: path.with_name(path.name + ".partial") for path in paths}
    # Python's own repr of a float: the shortest text that reads back to the same number.
    result.table.to_csv(parts[metrics], sep="\t", index=False, na_rep="NaN")
    record = sealed(result.scores, {metrics.name: parts[metrics]})
    for path, content in ((scores, record), (results, result.documents)):
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
        parts[path].write_text(text, encoding="utf-8")
    result.effects.to_parquet(parts[effects], index=False)
    result.genes.to_parquet(parts[genes], index=False)
    wide = result.metrics.merge(result.facts, on=KEYS, how="left")
    wide.to_parquet(parts[per_perturbation], index=False)
    for path, part in parts.items():
        part.replace(path)
