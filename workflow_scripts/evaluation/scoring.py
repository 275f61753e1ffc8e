"""One observed file and several files of predictions become one table of scores."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import pandas as pd

from workflow_scripts.evaluation.diagnosis import diagnose
from workflow_scripts.evaluation.effects import mean_effects
from workflow_scripts.evaluation.engine import (
    EvaluationSettings,
    PairScores,
    better_directions,
    describe_config,
    describe_engine,
    engine_config,
    score_pair,
)
from workflow_scripts.evaluation.populations import (
    check_same_cells_asked,
    open_population,
)
from workflow_scripts.evaluation.reference_ends import Reference
from workflow_scripts.evaluation.scaling import Means, long_table, mark_noise, scale_all, scale_rows
from workflow_scripts.evaluation.statistics import comparisons, intervals
from workflow_scripts.settings.errors import DataError

# The name under which the trained model's predictions come; all others are baselines.
MODEL = "model"


@dataclass(frozen=True)
class Evaluation:
    """Hold everything that an evaluation found.

    Attributes
    ----------
    metrics
        Columns model, context, perturbation, metric, value, scaled, baseline, ceiling, sorted by
        the first four.
    table
        What ``metrics.tsv`` says (`scaling.long_table`).
    scores
        What ``scores.json`` says.
    effects
        Columns model, context, perturbation, gene, observed_effect, predicted_effect for `MODEL`
        (or for the first of the predictions where none has that name).
    """

    metrics: pd.DataFrame
    table: pd.DataFrame
    scores: dict[str, object]
    effects: pd.DataFrame


def evaluate(
    observed_path: Path,
    prediction_paths: Mapping[str, Path],
    settings: EvaluationSettings,
    *,
    reference: Reference | None = None,
    resamples: int = 1000,
    threads: int = -1,
    tell: Callable[[str], None] = print,
) -> Evaluation:
    """Score every file of predictions in every context, each by one call of the engine.

    Parameters
    ----------
    observed_path
        Observed cells of the test perturbations, and the controls of their contexts.
    prediction_paths
        Files of predictions by the name of what predicted them, the observed controls in each.
    settings
        What to compute.
    reference
        The ends of the scale of every context; None: nothing is scaled.
    resamples
        How often perturbations are drawn anew for intervals; 0 for none.
    threads
        CPU threads; -1 for all.
    tell
        Is given one line for each pair of model and context.

    Raises
    ------
    DataError
        A file can't be used, predictions don't answer to the observed cells, or the engine
        refused everything.
    """
    with ExitStack() as stack:
        observed = stack.enter_context(open_population(observed_path))
        predictions = {
            model: stack.enter_context(open_population(path))
            for model, path in prediction_paths.items()
        }
        contexts, run = observed.tested_contexts(), observed.run
        if not contexts:
            raise DataError(
                f"{observed_path}: every cell is a control ({observed.control!r}), so there is "
                "nothing to score: hold some perturbations out for test"
            )
        for predicted in predictions.values():
            check_same_cells_asked(observed, predicted)

        subject = MODEL if MODEL in predictions else next(iter(predictions))
        pairs: dict[tuple[str, str], PairScores] = {}
        effects, sizes, diagnosis = [], {}, {}
        for number, context in enumerate(contexts):
            observed_cells = observed.cells(context)
            is_control = observed_cells.obs["perturbation"] == observed.control
            sizes[context] = {
                "n_perturbations": len(observed.perturbations(context)),
                "n_cells_observed": int((~is_control).sum()),
                "n_control_cells": int(is_control.sum()),
            }
            config = engine_config(
                settings, observed.control, observed.outside_panel(context), threads
            )
            with TemporaryDirectory(prefix="stateline-observed-") as cache:
                if reference is not None:
                    reference.copy_engine_cache(number, Path(cache))
                for model, predicted in predictions.items():
                    start = perf_counter()
                    cells = predicted.cells(context)
                    pair = score_pair(cells, observed_cells, config, Path(cache))
                    pairs[model, context] = pair
                    if model == subject:
                        table = mean_effects(cells, observed_cells, observed.control)
                        diagnosis[context] = diagnose(table)
                        table.insert(0, "context", context)
                        table.insert(0, "model", model)
                        effects.append(table)
                    tell(_line(model, context, sizes[context], pair, perf_counter() - start))

        notes = {model: predicted.notes() for model, predicted in sorted(predictions.items())}
        outside = {name for context in contexts for name in observed.outside_panel(context)}
    metrics, overall = _long_table(pairs, observed_path), _means_over_contexts(pairs)
    better = better_directions(config)
    ends = {} if reference is None else dict(reference.ends)
    by_context, metrics = _means_by_context(pairs), scale_rows(metrics, ends, better)
    compared = comparisons(metrics, subject, better, resamples)
    mark_noise(compared, ends)
    scores = {
        "engine": describe_engine(config),
        "settings": describe_config(config),
        "contexts": sizes,
        "better": better,
        "overall": overall,
        "resamples": resamples,
        "intervals": intervals(metrics, overall, resamples),
        "comparisons": compared,
        "by_context": by_context,
        "ends": {context: found.to_dict() for context, found in ends.items()},
        **scale_all(metrics, by_context, ends, better, resamples),
        "diagnosis": diagnosis,
        "refused": [
            {"model": model, "context": context, "metric": metric, "reason": reason}
            for (model, context), pair in sorted(pairs.items())
            for metric, reason in pair.refused
        ],
        "notes": {model: found for model, found in notes.items() if found},
        "targets_outside_panel": sorted(outside),
    }
    return Evaluation(
        metrics=metrics,
        table=long_table(run, metrics, scores, ends, better),
        scores=scores,
        effects=pd.concat(effects, ignore_index=True).astype(
            dict.fromkeys(("model", "context", "perturbation", "gene"), "category")
        ),
    )


def _line(
    model: str, context: str, sizes: Mapping[str, int], pair: PairScores, seconds: float
) -> str:
    refusals = f", {len(pair.refused)} refused" if pair.refused else ""
    return (
        f"{model} in {context}: {len(pair.means)} metrics of {sizes['n_perturbations']} "
        f"perturbations{refusals}, {seconds:.1f} s"
    )


def _long_table(pairs: Mapping[tuple[str, str], PairScores], observed_path: Path) -> pd.DataFrame:
    """Join the engine's tables into one, sorted."""
    columns = ["model", "context", "perturbation", "metric", "value"]
    tables = [
        pair.values.assign(model=model, context=context)[columns]
        for (model, context), pair in pairs.items()
        if len(pair.values)
    ]
    if not tables:
        reasons = sorted({reason for pair in pairs.values() for _, reason in pair.refused})
        raise DataError(
            f"{observed_path}: the engine refused every metric of every prediction: "
            + "; ".join(reasons)
        )
    return pd.concat(tables).sort_values(columns[:4], ignore_index=True)


def _means_by_context(pairs: Mapping[tuple[str, str], PairScores]) -> Means:
    """Arrange the engine's means as model, then context, then metric."""
    means: Means = {}
    for (model, context), pair in sorted(pairs.items()):
        means.setdefault(model, {})[context] = {
            metric: _or_none(value) for metric, value in sorted(pair.means.items())
        }
    return means


def _means_over_contexts(
    pairs: Mapping[tuple[str, str], PairScores],
) -> dict[str, dict[str, float | None]]:
    """Average each metric over the contexts in which it has a value, with equal weights."""
    found: dict[str, dict[str, list[float]]] = {}
    for (model, _), pair in sorted(pairs.items()):
        of_model = found.setdefault(model, {})
        for metric, value in sorted(pair.means.items()):
            values = of_model.setdefault(metric, [])
            if not math.isnan(value):
                values.append(value)
    return {
        model: {
            metric: sum(values) / len(values) if values else None
            for metric, values in metrics.items()
        }
        for model, metrics in found.items()
    }


def _or_none(value: float) -> float | None:
    """Say None for NaN, which JSON has no word for."""
    return None if math.isnan(value) else value


def write_evaluation(result: Evaluation, metrics: Path, scores: Path, effects: Path) -> None:
    """Write ``metrics.tsv``, ``scores.json`` and ``effects.parquet``, each whole or not at all."""
    for path in (metrics, scores, effects):
        path.parent.mkdir(parents=True, exist_ok=True)
    parts = {path: path.with_name(path.name + ".partial") for path in (metrics, scores, effects)}
    # Python's own repr of a float: the shortest text that reads back to the same number.
    result.table.to_csv(parts[metrics], sep="\t", index=False, na_rep="NaN")
    parts[scores].write_text(
        json.dumps(result.scores, indent=2, allow_nan=False) + "\n", encoding="utf-8"
    )
    result.effects.to_parquet(parts[effects], index=False)
    for path, part in parts.items():
        part.replace(path)
