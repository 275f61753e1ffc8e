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
from anndata import AnnData
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
    PER_PERTURBATION,
    Anchors,
    Coverage,
    Diagnosis,
    Refusal,
    ScoredContext,
    Scores,
)
from workflow_scripts.errors import DataError
from workflow_scripts.evaluation import effects, engine, scaling, statistics, strata
from workflow_scripts.evaluation.anchors import engine_cache
from workflow_scripts.evaluation.engine import PairScores
from workflow_scripts.evaluation.intervals import check_intervals
from workflow_scripts.evaluation.negative_controls import DERIVED
from workflow_scripts.evaluation.populations import (
    Population,
    check_same_cells_asked,
    check_scale,
    open_population,
)
from workflow_scripts.settings.choices import COUNTS
from workflow_scripts.settings.stages import numerics_of


@dataclass(frozen=True)
class Evaluation:
    """The files of an evaluation.

    Attributes
    ----------
    table
        What ``metrics.tsv`` says.
    metrics, facts
        Scores of single perturbations, and what is known of each perturbation in a context.
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
        """Write all of them."""
        # Python's own repr of a float: the shortest text that reads back to the same number.
        self.table.to_csv(metrics, sep="\t", index=False, na_rep="NaN")
        record = sealed(asdict(self.scores), {metrics.name: metrics})
        for path, content in ((scores, record), (results, self.documents)):
            text = json.dumps(content, indent=2, allow_nan=False) + "\n"
            path.write_text(text, encoding="utf-8")
        self.effects.to_parquet(effects, index=False)
        self.genes.to_parquet(genes, index=False)
        wide = self.metrics[PER_PERTURBATION].merge(self.facts, on=PAIR, how="left")
        wide.to_parquet(per_perturbation, index=False)


@dataclass(frozen=True)
class Context:
    """Observed cells of one context, and how predictions are scored against them.

    Attributes
    ----------
    shared
        Folder of what runs with the same observed cells share, if any.
    engine_cache
        Where the engine keeps what it computed of the observed cells.
    tell
        Is given one line for each call of the engine.
    """

    name: str
    observed: AnnData
    size: ScoredContext
    config: EvalConfig
    shared: Path | None
    engine_cache: Path
    tell: Callable[[str], None]

    def score(
        self, name: str, predicted: Population, cells: AnnData | None = None, way: str = ""
    ) -> PairScores:
        """Score a prediction, or what is made of it in some way, if no other run has done so.

        ``cells`` are its cells, where they have been read before.
        """
        if self.shared is None:
            return self._compute(name, predicted, cells, way)
        content = {
            "numerics": numerics_of("evaluate"),
            "predicted": file_digest(predicted.path),
            "way": way,
            "context": self.name,
        }
        work = IdentityFolder(self.shared / "scores", text_digest(canonical_json(content))[:32])
        with work.lock():
            file = work.path / "scores.json"
            if not work.has_finished(file.name):
                found = self._compute(name, predicted, cells, way)
                file.write_text(found.to_json(), encoding="utf-8")
                work.finish(file.name)
            return PairScores.from_json(file.read_text(encoding="utf-8"))

    def _compute(
        self, name: str, predicted: Population, cells: AnnData | None, way: str
    ) -> PairScores:
        start = perf_counter()
        cells = predicted.cells(self.name) if cells is None else cells
        if way:
            cells = DERIVED[predicted.scale][way](cells, predicted.control)
        found = engine.score_pair(cells, self.observed, self.config, self.engine_cache)
        refusals = f", {len(found.refused)} refused" if found.refused else ""
        self.tell(
            f"{name} in {self.name}: {len(found.means)} metrics of {self.size.n_perturbations} "
            f"perturbations{refusals}, {perf_counter() - start:.1f} s"
        )
        return found

    def look_at(
        self, predicted: Population, cells: AnnData, values: pd.DataFrame
    ) -> tuple[Diagnosis, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """Return a prediction's diagnosis, effects, genes, and what is known of perturbations."""
        control = predicted.control
        genes = effects.compare_genes(cells, self.observed, control)
        on_log = cells, self.observed
        if predicted.scale == COUNTS:
            on_log = effects.log1p_values(cells), effects.log1p_values(self.observed)
        own = self.config.control_source == "pred"
        table = effects.mean_effects(*on_log, control=control, own_controls=own)
        facts = effects.describe_perturbations(table)
        names = facts["perturbation"]
        facts["n_cells"] = names.map(self.observed.obs["perturbation"].astype(str).value_counts())
        significant = values[values["metric"].astype(str).str.endswith("nsig_counts_real")]
        if len(significant):
            counts = significant.drop_duplicates("perturbation").set_index("perturbation")
            facts["n_de_genes"] = names.map(counts["value"])
        correlations = effects.correlation_errors(*on_log, control)
        return effects.diagnose(table, genes, correlations), table, genes, facts


def evaluate(
    observed_path: Path,
    prediction_paths: Mapping[str, Path],
    settings: engine.EvaluationSettings,
    *,
    negative_controls: Mapping[str, Path] = MappingProxyType({}),
    derived: Sequence[str] = (),
    anchors: Mapping[str, Anchors] = MappingProxyType({}),
    shared: Path | None = None,
    denoised: Path | None = None,
    trained_on: strata.TrainedOn | None = None,
    rivals: tuple[str, str] = ("denoised", "ridge"),
    resamples: int = 1000,
    threads: int = -1,
    tell: Callable[[str], None] = print,
) -> Evaluation:
    """Score every file of predictions in every context, each by one call of the engine.

    Parameters
    ----------
    prediction_paths, negative_controls
        Predictions by the name of what predicted them, the observed controls in each.
    derived
        Negative controls that are made of the model's predictions (`negative_controls.DERIVED`).
    anchors
        Of every context; empty: nothing is scaled.
    shared
        Folder of what runs with the same observed cells and settings share: what the engine
        computed of them, and scores.
    denoised
        Denoised effects and their intervals (`prediction.effect_table`).
    rivals
        The baselines to beat on perturbations that were trained on, and on those that were not.
    resamples
        How often perturbations are drawn anew for intervals; 0 for none.
    tell
        Is given one line for each call of the engine.

    Raises
    ------
    DataError
        A file can't be used, predictions don't answer to the observed cells, or the engine
        refused everything.
    """
    pairs: dict[tuple[str, str], PairScores] = {}
    sizes, diagnosis, documents = {}, {}, {}
    parts: list[tuple[pd.DataFrame, ...]] = []
    outside: set[str] = set()
    with ExitStack() as stack:
        observed = stack.enter_context(open_population(observed_path))
        predictions = {
            model: stack.enter_context(open_population(path))
            for model, path in {**prediction_paths, **negative_controls}.items()
        }
        contexts = observed.tested_contexts()
        if not contexts:
            raise DataError(
                f"{observed_path}: every cell is a control ({observed.control!r}), so there is "
                "nothing to score: hold some perturbations out for test"
            )
        check_scale(observed, settings.input_type)
        for predicted in predictions.values():
            check_same_cells_asked(observed, predicted)
        subject = MODEL if MODEL in predictions else next(iter(predictions))
        temporary = Path(stack.enter_context(TemporaryDirectory(prefix="stateline-observed-")))
        for number, name in enumerate(contexts):
            cells = observed.cells(name)
            n_controls = int((cells.obs["perturbation"] == observed.control).sum())
            unmeasured = observed.outside_panel(name)
            outside |= {*unmeasured}
            sizes[name] = ScoredContext(
                len(observed.perturbations(name)), cells.n_obs - n_controls, n_controls
            )
            config = engine.engine_config(settings, observed.control, unmeasured, threads)
            cache = engine_cache(shared or temporary, number)
            context = Context(name, cells, sizes[name], config, shared, cache, tell)
            own, own_cells = predictions[subject], predictions[subject].cells(name)
            pair = pairs[subject, name] = context.score(subject, own, own_cells)
            documents[name] = pair.document
            for way in derived:
                pairs[way, name] = context.score(way, own, own_cells, way)
            diagnosis[name], *found = context.look_at(own, own_cells, pair.values)
            parts.append(tuple(table.assign(context=name) for table in found))
            del own_cells  # the memory of one prediction at a time
            for model, predicted in predictions.items():
                if model != subject:
                    pairs[model, name] = context.score(model, predicted)
        notes = {model: predictions[model].notes() for model in sorted(predictions)}
    changes, genes, facts = (
        pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True)
    )
    facts = strata.what_is_new(facts, trained_on, observed.control)
    coverage: list[Coverage] = []
    if denoised is not None and observed.scale != COUNTS:
        of_pairs, coverage = check_intervals(denoised, changes)
        facts = facts.merge(of_pairs, on=PAIR, how="left")
    facts = facts[[*PAIR, *(name for name in FACTS if name in facts)]]
    better = engine.better_directions(config)
    scales = scaling.find_scales(anchors, better)
    metrics = scaling.add_scales(_values(pairs, observed_path), scales)
    summary = scaling.summarise(metrics, _means(pairs), scales, resamples)
    summarised = scaling.nested(summary, sorted({model for model, _ in pairs}), contexts)
    if not anchors:
        summarised |= {part: {} for part in summarised if part.startswith("scaled")}
    is_control = metrics["model"].isin([*negative_controls, *derived])
    of_baselines, controls = (
        statistics.comparisons(rows, subject, better, resamples)
        for rows in (metrics[~is_control], metrics[is_control | (metrics["model"] == subject)])
    )
    competes = settings.preset == COMPETITION_PROFILE
    competes = competes and {*competition_members()} <= {*config.metrics}
    scores = Scores(
        engine=engine.describe_engine(config),
        settings=engine.describe_config(config),
        predicted=predictions[subject].description,
        contexts=sizes,
        better=better,
        resamples=resamples,
        comparisons=scaling.mark_noise(of_baselines, scales),
        **strata.claims_of(facts, trained_on, *rivals),
        negative_controls=statistics.mark_matches(controls, better),
        anchors=anchors,
        **summarised,
        unscaled=scaling.unscaled(scales, better),
        competition=scaling.competition_scores(summarised["by_context"], anchors)
        if competes
        else None,
        diagnosis=diagnosis,
        strata=strata.stratified(metrics[~is_control], facts, better),
        refused=[
            Refusal(model, context, metric, reason)
            for model, context in sorted(pairs)
            for metric, reason in pairs[model, context].refused
        ],
        notes={model: found for model, found in notes.items() if found},
        targets_outside_panel=sorted(outside),
        coverage=coverage,
        ladder=statistics.ladder(metrics, better, resamples),
    )
    table = pd.concat([metrics, summary.assign(perturbation=ALL)], ignore_index=True)
    table = table.rename(columns={"value": "raw"})
    table["run"] = str(observed.description.get("run", ""))
    names = dict.fromkeys(EFFECTS[:4], "category")
    return Evaluation(
        table=table[METRICS].sort_values(KEYS, ignore_index=True),
        scores=scores,
        metrics=metrics,
        facts=facts,
        effects=changes.assign(model=subject)[EFFECTS].astype(names),
        genes=genes[GENES],
        documents=documents,
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
