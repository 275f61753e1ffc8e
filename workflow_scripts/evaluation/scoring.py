"""Observed cells and files of predictions become scores, beside what is known of each of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from types import MappingProxyType
from typing import Any

import pandas as pd
from cell_eval2 import EvalConfig
from cell_eval2.competition import COMPETITION_PROFILE, competition_members

from workflow_scripts.cache.digests import canonical_json, file_digest, text_digest
from workflow_scripts.cache.identity import IdentityFolder
from workflow_scripts.cache.records import sealed
from workflow_scripts.cells.results import (
    ALL,
    EFFECTS,
    FACTS,
    GENES,
    KEYS,
    METRICS,
    MODEL,
    PAIR,
    Diagnosis,
    Refusal,
    ScoredContext,
    Scores,
)
from workflow_scripts.errors import DataError
from workflow_scripts.evaluation.anchors import Reference, engine_cache
from workflow_scripts.evaluation.effects import (
    compare_genes,
    describe_perturbations,
    diagnose,
    log1p_values,
    mean_effects,
)
from workflow_scripts.evaluation.engine import (
    EvaluationSettings,
    PairScores,
    better_directions,
    describe_config,
    describe_engine,
    engine_config,
    score_pair,
)
from workflow_scripts.evaluation.negative_controls import DERIVED
from workflow_scripts.evaluation.populations import (
    Population,
    check_same_cells_asked,
    check_scale,
    open_population,
)
from workflow_scripts.evaluation.scaling import (
    add_scales,
    competition_score,
    find_scales,
    mark_noise,
    nested,
    summarise,
)
from workflow_scripts.evaluation.statistics import comparisons, mark_matches
from workflow_scripts.evaluation.strata import TrainedOn, claims_of, stratified, what_is_new
from workflow_scripts.settings.choices import COUNTS
from workflow_scripts.settings.stages import numerics_of


@dataclass(frozen=True)
class Evaluation:
    """Everything that an evaluation found.

    Attributes
    ----------
    table
        What ``metrics.tsv`` says.
    scores
        What ``scores.json`` says.
    metrics
        The rows of single perturbations, without what is known of these.
    facts
        A row a context and perturbation: what is known of it, and how the model took it.
    effects, genes
        Of `MODEL` (or of the first of the predictions where none has that name).
    documents
        What the engine itself writes of the model, by context; None where it writes nothing.
    """

    table: pd.DataFrame
    scores: Scores
    metrics: pd.DataFrame
    facts: pd.DataFrame
    effects: pd.DataFrame
    genes: pd.DataFrame
    documents: dict[str, dict[str, Any] | None]

    def write(
        self,
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
        self.table.to_csv(metrics, sep="\t", index=False, na_rep="NaN")
        record = sealed(asdict(self.scores), {metrics.name: metrics})
        for path, content in ((scores, record), (results, self.documents)):
            text = json.dumps(content, indent=2, allow_nan=False) + "\n"
            path.write_text(text, encoding="utf-8")
        self.effects.to_parquet(effects, index=False)
        self.genes.to_parquet(genes, index=False)
        wide = self.metrics.merge(self.facts, on=PAIR, how="left")
        wide.to_parquet(per_perturbation, index=False)


@dataclass(frozen=True)
class ContextScores:
    """What was found in one context: the engine's answers by what predicted, and of the model."""

    pairs: dict[str, PairScores]
    effects: pd.DataFrame
    genes: pd.DataFrame
    facts: pd.DataFrame
    diagnosis: Diagnosis
    size: ScoredContext
    config: EvalConfig


@dataclass(frozen=True)
class Scorer:
    """What is scored, the same for every context.

    Attributes
    ----------
    observed, predictions
        Open files, the latter by what predicted.
    subject
        The prediction that is looked at more closely: the model's.
    derived
        What is made of it beside it (`negative_controls.DERIVED`).
    settings, reference, threads, tell
        As `evaluate` takes them.
    """

    observed: Population
    predictions: Mapping[str, Population]
    subject: str
    derived: Sequence[str]
    settings: EvaluationSettings
    reference: Reference | None
    threads: int
    tell: Callable[[str], None]

    def score(self, number: int, context: str) -> ContextScores:
        """Score a context, which is the ``number``-th."""
        control = self.observed.control
        observed = self.observed.cells(context)
        sizes = observed.obs["perturbation"].astype(str).value_counts()
        size = ScoredContext(len(sizes) - 1, int(sizes.drop(control).sum()), int(sizes[control]))
        config = engine_config(
            self.settings, control, self.observed.outside_panel(context), self.threads
        )
        subject = self.predictions[self.subject]
        asked = [(name, predicted, "") for name, predicted in self.predictions.items()]
        asked += [(way, subject, way) for way in self.derived]
        shared = None if self.reference is None else self.reference.folder
        pairs = {}
        with TemporaryDirectory(prefix="stateline-observed-") as temporary:
            cache = Path(temporary) if shared is None else engine_cache(shared, number)
            for name, predicted, way in asked:

                def compute(
                    name: str = name, predicted: Population = predicted, way: str = way
                ) -> PairScores:
                    start = perf_counter()
                    cells = predicted.cells(context)
                    if way:
                        cells = DERIVED[predicted.scale][way](cells, control)
                    found = score_pair(cells, observed, config, cache)
                    refusals = f", {len(found.refused)} refused" if found.refused else ""
                    self.tell(
                        f"{name} in {context}: {len(found.means)} metrics of "
                        f"{size.n_perturbations} perturbations{refusals}, "
                        f"{perf_counter() - start:.1f} s"
                    )
                    return found

                what = f"{way} in {context}"
                pairs[name] = (
                    compute()
                    if shared is None
                    else _computed_once(shared, predicted.path, what, compute)
                )
        cells = subject.cells(context)
        on_log = cells, observed
        if self.observed.scale == COUNTS:
            on_log = log1p_values(cells), log1p_values(observed)
        own = self.settings.controls == "predicted"
        effects = mean_effects(*on_log, control=control, own_controls=own)
        genes = compare_genes(cells, observed, control)
        facts = describe_perturbations(effects)
        facts["n_cells"] = facts["perturbation"].map(sizes)
        values = pairs[self.subject].values
        significant = values[values["metric"].astype(str).str.endswith("nsig_counts_real")]
        if len(significant):
            counts = significant.drop_duplicates("perturbation").set_index("perturbation")["value"]
            facts["n_de_genes"] = facts["perturbation"].map(counts)
        return ContextScores(pairs, effects, genes, facts, diagnose(effects, genes), size, config)


def _computed_once(
    shared: Path, predicted: Path, what: str, compute: Callable[[], PairScores]
) -> PairScores:
    """Return scores that all runs with the same observed cells and predictions share."""
    content = {
        "numerics": numerics_of("evaluate"),
        "predicted": file_digest(predicted),
        "what": what,
    }
    work = IdentityFolder(shared / "scores", text_digest(canonical_json(content))[:32])
    with work.lock():
        file = work.path / "scores.json"
        if not work.has_finished(file.name):
            file.write_text(compute().to_json(), encoding="utf-8")
            work.finish([file.name])
        return PairScores.from_json(file.read_text(encoding="utf-8"))


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
        Files of predictions by the model with features without information, by name.
    derived
        What is made of the model's predictions beside them (`negative_controls.DERIVED`).
    reference
        The anchors of the scale of every context; None: nothing is scaled.
    trained_on
        What the model was trained on, for what is new in the test; None: it isn't known.
    resamples
        How often perturbations are drawn anew for intervals; 0 for none.
    threads
        CPU threads; -1 for all.
    tell
        Is given one line for each call of the engine.

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
        if not contexts:
            raise DataError(
                f"{observed_path}: every cell is a control ({observed.control!r}), so there is "
                "nothing to score: hold some perturbations out for test"
            )
        check_scale(observed, settings.input_type)
        for predicted in predictions.values():
            check_same_cells_asked(observed, predicted)
        scorer = Scorer(observed, predictions, subject, derived, settings, reference, threads, tell)
        scored = {context: scorer.score(n, context) for n, context in enumerate(contexts)}
        described = predictions[subject].description
        notes = {model: predicted.notes() for model, predicted in sorted(predictions.items())}
        outside = {name for context in contexts for name in observed.outside_panel(context)}
    config = next(iter(scored.values())).config
    better = better_directions(config)
    pairs = {
        (model, context): pair
        for context, found in scored.items()
        for model, pair in sorted(found.pairs.items())
    }
    effects, genes, facts = (
        pd.concat(
            [getattr(found, part).assign(context=context) for context, found in scored.items()],
            ignore_index=True,
        )
        for part in ("effects", "genes", "facts")
    )
    facts = what_is_new(facts, trained_on, observed.control)
    facts = facts[[*PAIR, *(name for name in FACTS if name in facts)]]
    anchors = {} if reference is None else reference.anchors
    scales = find_scales(anchors, better)
    metrics = add_scales(_values(pairs, observed_path), scales)
    summary = summarise(metrics, _means(pairs), scales, resamples)
    ways = [*negative_controls, *derived]
    rivals = metrics[~metrics["model"].isin(ways)]
    parts = nested(summary, sorted({model for model, _ in pairs}), contexts)
    if not anchors:
        parts |= {part: {} for part in parts if part.startswith("scaled")}
    scores = Scores(
        engine=describe_engine(config),
        settings=describe_config(config),
        predicted=described,
        contexts={context: found.size for context, found in scored.items()},
        better=better,
        overall=parts["overall"],
        resamples=resamples,
        intervals=parts["intervals"],
        comparisons=mark_noise(comparisons(rivals, subject, better, resamples), scales),
        **claims_of(facts, trained_on),
        negative_controls=mark_matches(
            comparisons(
                metrics[metrics["model"].isin([subject, *ways])], subject, better, resamples
            ),
            better,
        ),
        by_context=parts["by_context"],
        anchors=anchors,
        scaled=parts["scaled"],
        scaled_by_context=parts["scaled_by_context"],
        scaled_intervals=parts["scaled_intervals"],
        unscaled={
            context: {
                metric: reason
                for metric in sorted(better)
                if better[metric] != "neither"
                and (reason := scales[context, metric].unscaled) is not None
            }
            for context in anchors
        },
        competition={
            model: {
                context: competition_score(means, anchors.get(context))
                for context, means in of_model.items()
            }
            for model, of_model in parts["by_context"].items()
        }
        if settings.preset == COMPETITION_PROFILE and {*competition_members()} <= {*config.metrics}
        else None,
        diagnosis={context: found.diagnosis for context, found in scored.items()},
        strata=stratified(rivals, facts, better),
        refused=[
            Refusal(model, context, metric, reason)
            for (model, context), pair in sorted(pairs.items(), key=lambda item: item[0])
            for metric, reason in pair.refused
        ],
        notes={model: found for model, found in notes.items() if found},
        targets_outside_panel=sorted(outside),
    )
    table = pd.concat([metrics, summary.assign(perturbation=ALL)], ignore_index=True)
    table = table.rename(columns={"value": "raw"}).assign(run=run)
    return Evaluation(
        table=table[METRICS].sort_values(KEYS, ignore_index=True),
        scores=scores,
        metrics=metrics,
        facts=facts,
        effects=effects.assign(model=subject)[EFFECTS].astype(
            dict.fromkeys(EFFECTS[:4], "category")
        ),
        genes=genes[GENES],
        documents={context: found.pairs[subject].document for context, found in scored.items()},
    )


def _values(pairs: Mapping[tuple[str, str], PairScores], observed_path: Path) -> pd.DataFrame:
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


def _means(pairs: Mapping[tuple[str, str], PairScores]) -> pd.DataFrame:
    """Return the engine's aggregates: columns model, context, metric, value."""
    rows = [
        (model, context, metric, value)
        for (model, context), pair in pairs.items()
        for metric, value in pair.means.items()
    ]
    return pd.DataFrame(rows, columns=["model", "context", "metric", "value"])
