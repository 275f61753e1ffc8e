"""What a model and the baselines predict alike: from which cells, which targets, of which genes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.cells.gene_choice import ChosenGenes, read_gene_list
from workflow_scripts.cells.gene_names import check_genes
from workflow_scripts.cells.leakage import refuse_leaks_of_others
from workflow_scripts.cells.store import CellStore
from workflow_scripts.prediction.counts import CountDraws, check_counts, fit_dispersion
from workflow_scripts.prediction.files import PredictionFiles
from workflow_scripts.prediction.targets import (
    Targets,
    novelty,
    seed_of_draw,
    targets_of_controls,
    targets_of_list,
    targets_of_test,
)
from workflow_scripts.prediction.writing import Blocks, Predicted, describe
from workflow_scripts.settings.choices import COUNTS, WRITTEN_GENES
from workflow_scripts.settings.slices import Slice


@dataclass(frozen=True)
class PredictionInputs:
    """What is predicted, and from what.

    Attributes
    ----------
    trained_on
        The cells of the run, with the genes that are read.
    store
        The cells that are predicted from: the same, or others with those genes in that order.
    splits
        The split of each group of the run's cells.
    draws
        What is predicted, once for each draw of controls whose predictions are averaged.
    notes
        A remark for each predicted cell; None for the test split, of which the audit says it.
    described
        What files of predicted and observed cells say of themselves.
    written
        Names of the genes that are written; None for all.
    counts
        How counts are drawn of what is predicted; None: log1p values are written.
    """

    trained_on: CellStore
    store: CellStore
    splits: pd.DataFrame
    draws: tuple[Targets, ...]
    notes: np.ndarray | None
    described: Mapping[str, Any]
    written: tuple[str, ...] | None
    counts: CountDraws | None = None

    @classmethod
    def open(cls, given: PredictionFiles, settings: Slice) -> PredictionInputs:
        """Open the files of a prediction; ``settings`` is the slice of its stage."""
        trained_on, of_genes = CellStore.open(given.cells), {}
        if given.genes is not None:
            genes = ChosenGenes.read(given.genes)
            trained_on, of_genes = trained_on.select(genes.names), {"genes": genes.sentence}
        store = trained_on
        if given.asked_cells is not None and given.asked_cells != given.cells:
            store = CellStore.open(given.asked_cells).in_order(list(trained_on.genes))
        splits, notes = pd.read_parquet(given.splits), None
        asked = None if given.targets is None else pd.read_parquet(given.targets)
        listed = asked is not None and "split" not in asked
        if asked is not None and not listed:
            refuse_leaks_of_others(trained_on, splits, store, asked)
        first, *others = (
            (targets_of_list if listed else targets_of_test)(
                store,
                splits if asked is None else asked,
                set_size=settings["model.kwargs.cell_set_len"],
                by_batch=settings["data.kwargs.basal_mapping_strategy"] == "batch",
                seed=seed_of_draw(settings["prediction.seed"], draw),
            )
            for draw in range(settings["prediction.draws"])
        )
        if not settings["prediction.average_draws"]:
            first, others = first.and_draws(others), []
        if asked is not None:
            notes = novelty(first, splits)
        written = None
        if (path := settings[WRITTEN_GENES]) is not None:
            written = tuple(read_gene_list(path, WRITTEN_GENES))
            check_genes(written, store.genes, f"{path} ({WRITTEN_GENES})")
        counts = _count_draws(settings, store, first)
        scale = settings["prediction.output"]
        described = {**describe(store, settings.get("name"), scale), **of_genes}
        if counts is not None:
            described["count_distribution"] = settings["prediction.count_distribution"]
            described["denoised"] = counts.denoise
        draws = (first, *others)
        return cls(trained_on, store, splits, draws, notes, described, written, counts)

    @property
    def targets(self) -> Targets:
        """What is predicted, with the controls of the first draw."""
        return self.draws[0]

    @property
    def written_store(self) -> CellStore:
        """The cells that are predicted from, with the genes that are written, in their order."""
        return self.store if self.written is None else self.store.in_order(self.written)

    def predict(self, with_controls: Callable[[Targets], Blocks]) -> Blocks:
        """Yield what is written: averaged over draws of controls, and of the genes asked for.

        Parameters
        ----------
        with_controls
            Yields the predicted cells of one draw, log1p values of all genes that are read.
        """
        return self._as_written(mean_of(map(with_controls, self.draws)), self.targets, 0)

    def predict_controls(
        self, with_controls: Callable[[Targets], Blocks], *, set_size: int, seed: int
    ) -> tuple[Targets, Blocks]:
        """Return the control cells of the targets as something to predict, and what is written.

        Parameters
        ----------
        with_controls
            As `predict` takes it.
        set_size, seed
            As `targets_of_test` takes them.
        """
        control = self.store.manifest["control"]
        draws = [
            targets_of_controls(draw, control, set_size=set_size, seed=seed_of_draw(seed, number))
            for number, draw in enumerate(self.draws)
        ]
        blocks = mean_of(map(with_controls, draws))
        return draws[0], self._as_written(blocks, draws[0], len(self.targets.paired))

    def _as_written(self, blocks: Blocks, targets: Targets, first: int) -> Blocks:
        if self.counts is not None:
            sizes = targets.sets.counts
            blocks = self.counts.draw(blocks, self.store, targets.paired, sizes, first=first)
        if self.written is None:
            yield from blocks
            return
        places = pd.Index(self.store.genes).get_indexer(list(self.written))
        for block in blocks:
            yield Predicted(block.expression[:, places], block.embedding)


def _count_draws(settings: Slice, store: CellStore, targets: Targets) -> CountDraws | None:
    distribution, denoise = (
        settings[f"prediction.{name}"] for name in ("count_distribution", "denoise")
    )
    if settings["prediction.output"] != COUNTS:
        return None
    check_counts(store)
    dispersion = None
    if distribution == "negative_binomial":
        contexts = store.cells["context"].iloc[targets.controls]
        rows = contexts.reset_index(drop=True).groupby(contexts.to_numpy(str)).indices
        dispersion = fit_dispersion(store, [targets.controls[at] for at in rows.values()])
    return CountDraws(settings["prediction.seed"], dispersion, denoise)


def mean_of(predictions: Iterable[Blocks]) -> Blocks:
    """Yield the mean of several predictions of the same cells, block by block."""
    return map(_mean, zip(*predictions, strict=True))


def _mean(draws: Sequence[Predicted]) -> Predicted:
    if len(draws) == 1:
        return draws[0]
    embedded = [draw.embedding for draw in draws if draw.embedding is not None]
    return Predicted(
        np.stack([draw.expression for draw in draws]).mean(axis=0),
        np.stack(embedded).mean(axis=0) if embedded else None,
    )


def join_notes(*notes: np.ndarray | None) -> np.ndarray | None:
    """Join remarks on the same cells; None where there are none."""
    given = [texts for texts in notes if texts is not None]
    if not given:
        return None
    cells = zip(*given, strict=True)
    return np.array(["; ".join(filter(None, texts)) for texts in cells], dtype=object)
