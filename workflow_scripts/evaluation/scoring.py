"""One observed file and several files of predictions become one table of scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from workflow_scripts.cells.results import (
    EFFECTS,
    GENES,
    KEYS,
    MODEL,
    PAIR,
    Anchors,
    CompetitionScore,
    Diagnosis,
    Refusal,
    Scores,
)
from workflow_scripts.errors import DataError
from workflow_scripts.evaluation.anchors import Reference
from workflow_scripts.evaluation.competition import competition_score, is_competition
from workflow_scripts.evaluation.context_scores import Scoring
from workflow_scripts.evaluation.diagnosis import diagnose, summarise_genes
from workflow_scripts.evaluation.engine import (
    EvaluationSettings,
    PairScores,
    better_directions,
    describe_config,
    describe_engine,
)
from workflow_scripts.evaluation.negative_controls import compare_negative_controls
from workflow_scripts.evaluation.populations import (
    check_same_cells_asked,
    check_scale,
    open_population,
)
from workflow_scripts.evaluation.scaling import Means, long_table, mark_noise, scale_all, scale_rows
from workflow_scripts.evaluation.statistics import comparisons, intervals
from workflow_scripts.evaluation.strata import (
    TrainedOn,
    claims_of,
    distance_to_training,
    how_new,
    stratified,
)


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
    documents
        What the engine itself writes of the model, by context; None where it writes nothing.
    effects
        Columns model, context, perturbation, gene, observed_effect, predicted_effect for `MODEL`
        (or for the first of the predictions where none has that name).
    facts
        A row a context and perturbation: its cells, effect and what is new in it, and which one the
        prediction looks like (`diagnosis.confusion`, `strata`).
    genes
        A row a context and gene (`diagnosis.compare_genes`).
    """

    metrics: pd.DataFrame
    table: pd.DataFrame
    scores: Scores
    documents: dict[str, dict[str, Any] | None]
    effects: pd.DataFrame
    facts: pd.DataFrame
    genes: pd.DataFrame


def evaluate(
    observed_path: Path,
    prediction_paths: Mapping[str, Path],
    settings: EvaluationSettings,
    *,
    negative_controls: Mapping[str, Path] = MappingProxyType({}),
    derived: Sequence[str] = (),
    reference: Reference | None = None,
    trained_on: TrainedOn | None = None,
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
    negative_controls
        Files of predictions by the model with features that say nothing, by the way they do.
    derived
        What is made of the model's predictions beside them (`negative_controls.DERIVED`).
    reference
        The anchors of the scale of every context; None: nothing is scaled.
    trained_on
        What the model was trained on, for what is new in the test; None: it isn't said.
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
            for model, path in {**prediction_paths, **negative_controls}.items()
        }
        contexts, run = observed.tested_contexts(), observed.run
        subject = MODEL if MODEL in predictions else next(iter(predictions))
        described = predictions[subject].description
        if not contexts:
            raise DataError(
                f"{observed_path}: every cell is a control ({observed.control!r}), so there is "
                "nothing to score: hold some perturbations out for test"
            )
        check_scale(observed, settings.input_type)
        for predicted in predictions.values():
            check_same_cells_asked(observed, predicted)
        call = Scoring(observed, predictions, subject, tuple(derived), settings, reference, threads)
        scored = {
            context: call.score(number, context, tell) for number, context in enumerate(contexts)
        }
        notes = {model: predicted.notes() for model, predicted in sorted(predictions.items())}
        outside = {name for context in contexts for name in observed.outside_panel(context)}
    config = next(iter(scored.values())).config
    pairs = {
        (model, context): pair
        for context, found in scored.items()
        for model, pair in found.pairs.items()
    }
    effects, genes, facts = (
        pd.concat(
            [getattr(found, part).assign(context=context) for context, found in scored.items()],
            ignore_index=True,
        )
        for part in ("effects", "genes", "facts")
    )
    if trained_on is not None:
        facts["kind"] = how_new(facts, trained_on.splits, observed.control)
    if trained_on is not None and trained_on.features is not None:
        facts["distance_to_training"] = distance_to_training(
            facts, trained_on.splits, trained_on.features, observed.control
        )
    ways = [*negative_controls, *derived]
    metrics, overall = _long_table(pairs, observed_path), _means_over_contexts(pairs)
    better = better_directions(config)
    anchors = {} if reference is None else dict(reference.anchors)
    by_context, metrics = _means_by_context(pairs), scale_rows(metrics, anchors, better)
    compared = comparisons(metrics[~metrics["model"].isin(ways)], subject, better, resamples)
    bounds = intervals(metrics, overall, resamples)
    scores = Scores(
        engine=describe_engine(config),
        settings=describe_config(config),
        predicted=described,
        contexts={context: found.sizes for context, found in scored.items()},
        better=better,
        overall=overall,
        resamples=resamples,
        intervals=bounds,
        comparisons=mark_noise(compared, anchors),
        **claims_of(facts, trained_on),
        negative_controls=compare_negative_controls(metrics, subject, ways, better, resamples),
        by_context=by_context,
        anchors=anchors,
        **scale_all(overall, by_context, bounds, anchors, better),
        competition=_competition(by_context, anchors)
        if is_competition(config, settings.preset)
        else None,
        diagnosis={
            context: Diagnosis(**diagnose(found.effects), **summarise_genes(found.genes))
            for context, found in scored.items()
        },
        strata=stratified(metrics[~metrics["model"].isin(ways)], facts, better),
        refused=[
            Refusal(model, context, metric, reason)
            for (model, context), pair in sorted(pairs.items())
            for metric, reason in pair.refused
        ],
        notes={model: found for model, found in notes.items() if found},
        targets_outside_panel=sorted(outside),
    )
    return Evaluation(
        metrics=metrics,
        table=long_table(run, metrics, scores, anchors, better),
        scores=scores,
        effects=effects.assign(model=subject)[EFFECTS].astype(
            dict.fromkeys(("model", "context", "perturbation", "gene"), "category")
        ),
        documents={context: found.pairs[subject].document for context, found in scored.items()},
        facts=facts[PAIR + [name for name in facts if name not in PAIR]],
        genes=genes[GENES],
    )


def _long_table(pairs: Mapping[tuple[str, str], PairScores], observed_path: Path) -> pd.DataFrame:
    """Join the engine's tables into one, sorted."""
    tables = [
        pair.values.assign(model=model, context=context)[[*KEYS, "value"]]
        for (model, context), pair in pairs.items()
        if len(pair.values)
    ]
    if not tables:
        reasons = sorted({reason for pair in pairs.values() for _, reason in pair.refused})
        raise DataError(
            f"{observed_path}: the engine refused every metric of every prediction: "
            + "; ".join(reasons)
        )
    return pd.concat(tables).sort_values(KEYS, ignore_index=True)


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


def _competition(
    by_context: Means, anchors: Mapping[str, Anchors]
) -> dict[str, dict[str, CompetitionScore]]:
    """Score every prediction as the competition does, by context."""
    return {
        model: {
            context: competition_score(means, anchors.get(context))
            for context, means in contexts.items()
        }
        for model, contexts in by_context.items()
    }


def _or_none(value: float) -> float | None:
    """Say None for NaN, which JSON has no word for."""
    return None if math.isnan(value) else value
