"""The scores of one context: the engine is asked for one prediction after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import pandas as pd
from anndata import AnnData
from cell_eval2 import EvalConfig

from workflow_scripts.cells.results import ScoredContext
from workflow_scripts.evaluation.anchors import Reference
from workflow_scripts.evaluation.diagnosis import compare_genes, confusion
from workflow_scripts.evaluation.effects import log1p_values, mean_effects
from workflow_scripts.evaluation.engine import (
    EvaluationSettings,
    PairScores,
    engine_config,
    score_pair,
)
from workflow_scripts.evaluation.negative_controls import DERIVED
from workflow_scripts.evaluation.populations import Population
from workflow_scripts.settings.choices import COUNTS


@dataclass(frozen=True)
class ContextScores:
    """What was found in one context.

    Attributes
    ----------
    pairs
        What the engine said, by what predicted.
    effects, genes
        Of the model: `effects.mean_effects` and `diagnosis.compare_genes`.
    facts
        A row a perturbation: what is known of it, and how the model took it.
    sizes
        Numbers of perturbations, observed cells and controls.
    config
        How the engine was asked.
    """

    pairs: dict[str, PairScores]
    effects: pd.DataFrame
    genes: pd.DataFrame
    facts: pd.DataFrame
    sizes: ScoredContext
    config: EvalConfig


@dataclass(frozen=True)
class Scoring:
    """What is scored, the same for every context.

    Attributes
    ----------
    observed, predictions
        Open files, the latter by what predicted.
    subject
        The one that is looked at more closely: the model.
    derived
        What is made of its predictions (`negative_controls.DERIVED`).
    settings, reference, threads
        As `scoring.evaluate` takes them.
    """

    observed: Population
    predictions: Mapping[str, Population]
    subject: str
    derived: tuple[str, ...]
    settings: EvaluationSettings
    reference: Reference | None
    threads: int

    def score(self, number: int, context: str, tell: Callable[[str], None]) -> ContextScores:
        """Score a context, which is the ``number``-th; tell a line for each call of the engine."""
        observed, control = self.observed.cells(context), self.observed.control
        is_control = observed.obs["perturbation"] == control
        sizes = ScoredContext(
            n_perturbations=len(self.observed.perturbations(context)),
            n_cells_observed=int((~is_control).sum()),
            n_control_cells=int(is_control.sum()),
        )
        outside = self.observed.outside_panel(context)
        config = engine_config(self.settings, control, outside, self.threads)
        pairs: dict[str, PairScores] = {}
        effects, genes = pd.DataFrame(), pd.DataFrame()
        with TemporaryDirectory(prefix="stateline-observed-") as cache:
            if self.reference is not None:
                self.reference.copy_engine_cache(number, Path(cache))
            for model, cells in self._cells(context):
                start = perf_counter()
                pairs[model] = score_pair(cells, observed, config, Path(cache))
                tell(_line(model, context, sizes, pairs[model], perf_counter() - start))
                if model == self.subject:
                    own = self.settings.controls == "predicted"
                    on_log = cells, observed
                    if self.observed.scale == COUNTS:
                        on_log = log1p_values(cells), log1p_values(observed)
                    effects = mean_effects(*on_log, control=control, own_controls=own)
                    genes = compare_genes(cells, observed, control)
        facts = _facts(effects, observed, pairs[self.subject])
        return ContextScores(pairs, effects, genes, facts, sizes, config)

    def _cells(self, context: str) -> Iterator[tuple[str, AnnData]]:
        """Yield the predicted cells of a context, and what is made of the model's."""
        for model, predicted in self.predictions.items():
            cells = predicted.cells(context)
            yield model, cells
            ways = DERIVED[self.observed.scale]
            for way in self.derived if model == self.subject else ():
                yield way, ways[way](cells, self.observed.control)


def _facts(effects: pd.DataFrame, observed: AnnData, pair: PairScores) -> pd.DataFrame:
    """Return what is known of each perturbation of a context, and how the model took it."""
    facts = confusion(effects)
    sizes = observed.obs["perturbation"].astype(str).value_counts()
    squares = effects.groupby("perturbation", observed=False)["observed_effect"].agg(
        lambda effect: float((effect.astype(float) ** 2).sum())
    )
    named = pair.values.pivot_table(index="perturbation", columns="metric", values="value")
    significant = next((name for name in named if str(name).endswith("nsig_counts_real")), None)
    names = facts["perturbation"]
    facts = facts.assign(n_cells=names.map(sizes), effect_size=names.map(squares**0.5))
    if significant is not None:
        facts["n_de_genes"] = names.map(named[significant])
    return facts


def _line(model: str, context: str, sizes: ScoredContext, pair: PairScores, seconds: float) -> str:
    refusals = f", {len(pair.refused)} refused" if pair.refused else ""
    return (
        f"{model} in {context}: {len(pair.means)} metrics of {sizes.n_perturbations} "
        f"perturbations{refusals}, {seconds:.1f} s"
    )
