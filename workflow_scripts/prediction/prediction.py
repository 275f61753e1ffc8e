"""What is predicted, from which cells, and how it is written: the same for every predictor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from jaxtyping import Int64

from workflow_scripts.cells.calibrated_cells import CalibratedCells, TrainingRows
from workflow_scripts.cells.gene_choice import ChosenGenes, read_gene_list
from workflow_scripts.cells.gene_names import check_genes
from workflow_scripts.cells.groups import Group, make_groups
from workflow_scripts.cells.leakage import refuse_leaks_of_others
from workflow_scripts.cells.predicted_cells import (
    Blocks,
    Predicted,
    describe,
    write_observed,
    write_predicted,
)
from workflow_scripts.cells.store import CellStore
from workflow_scripts.cells.targets import (
    Targets,
    groups_of_controls,
    groups_of_list,
    seed_of_draw,
)
from workflow_scripts.prediction.counts import Counts
from workflow_scripts.prediction.files import PredictionFiles
from workflow_scripts.settings.choices import CALIBRATED, DIRECT, WRITTEN_GENES
from workflow_scripts.settings.slices import Slice

Notes = np.ndarray | None
"""A remark for each predicted cell; None where there is none to make."""


class Predictor(Protocol):
    """A model, several of them, or a baseline."""

    @property
    def description(self) -> Mapping[str, Any]:
        """What a file says of it beside its name."""

    def predict(self, store: CellStore, targets: Targets, sets_per_pass: int) -> Blocks:
        """Yield predicted cells in the order of ``targets.paired``, log1p values of all genes."""

    def mean_effects(
        self, store: CellStore, groups: list[Group], settings: Slice
    ) -> np.ndarray | None:
        """Return the effect of each group [groups, genes]; None: its own cells are written."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Of which perturbation each one may borrow values, where not of itself."""

    def notes(self, store: CellStore, targets: Targets, others: Notes) -> Notes:
        """Return remarks on the predicted cells, other ones among them."""


@dataclass(frozen=True)
class Prediction:
    """What is predicted, and from what.

    Attributes
    ----------
    settings
        Slice of the stage.
    trained_on
        The cells of the run, with the genes that are read.
    store
        The cells that are predicted from: the same, or others with those genes in that order.
    splits
        The split of each group of the run's cells.
    draws
        What is predicted, once for each draw of controls whose predictions are averaged.
    novelty
        What of each predicted cell was not trained on; None for the test split, of which the audit
        says it.
    described
        What files of predicted and observed cells say of themselves.
    written
        The cells that are predicted from, with the genes that are written, in their order.
    counts
        How counts are made of what is predicted; None: log1p values are written.
    """

    settings: Slice
    trained_on: CellStore
    store: CellStore
    splits: pd.DataFrame
    draws: tuple[Targets, ...]
    novelty: Notes
    described: Mapping[str, Any]
    written: CellStore
    counts: Counts | None

    @classmethod
    def open(cls, given: PredictionFiles, settings: Slice) -> Prediction:
        """Open the files of a prediction; ``settings`` is the slice of its stage."""
        trained_on, of_genes = CellStore.open(given.cells), {}
        if given.genes is not None:
            genes = ChosenGenes.read(given.genes)
            trained_on, of_genes = trained_on.select(genes.names), {"genes": genes.sentence}
        store = trained_on
        if given.asked_cells is not None and given.asked_cells != given.cells:
            store = CellStore.open(given.asked_cells).in_order(list(trained_on.genes))
        splits = pd.read_parquet(given.splits)
        asked = None if given.targets is None else pd.read_parquet(given.targets)
        by_batch = settings["data.kwargs.basal_mapping_strategy"] == "batch"
        measured = asked is None or "split" in asked
        if asked is not None and not measured:
            groups = groups_of_list(store, asked, by_batch=by_batch)
        else:
            if asked is not None:
                refuse_leaks_of_others(trained_on, splits, store, asked)
            table = splits if asked is None else asked
            groups = make_groups(store.cells, table, "test", by_batch=by_batch, controls=False)
        draws = _draws(groups, settings, settings["prediction.draws"], measured=measured)
        if not settings["prediction.average_draws"]:
            draws = [draws[0].and_draws(draws[1:])]
        written = store
        if (path := settings[WRITTEN_GENES]) is not None:
            names = read_gene_list(path, WRITTEN_GENES)
            check_genes(names, store.genes, f"{path} ({WRITTEN_GENES})")
            written = store.in_order(names)
        counts = Counts.of(settings, store)
        scale = settings["prediction.output"]
        described = {**describe(store, settings.get("name"), scale), **of_genes}
        return cls(
            settings,
            trained_on,
            store,
            splits,
            tuple(draws),
            None if asked is None else novelty(draws[0], splits),
            described,
            written,
            counts,
        )

    @property
    def targets(self) -> Targets:
        """What is predicted, with the controls of the first draw."""
        return self.draws[0]

    def targets_of(self, split: str) -> Targets:
        """Return what a split of the run's own cells asks to predict."""
        by_batch = self.settings["data.kwargs.basal_mapping_strategy"] == "batch"
        cells = self.trained_on.cells
        groups = make_groups(cells, self.splits, split, by_batch=by_batch, controls=False)
        return _draws(groups, self.settings, 1)[0]

    def write(self, path: Path, predictor: Predictor, name: str) -> int:
        """Write predicted cells and the controls below them; return how many values were cut.

        Parameters
        ----------
        path
            The h5ad file.
        predictor, name
            What predicts, and its name in the file.
        """
        settings, controls = self.settings, None
        calibrated = self.calibrated(predictor, self.targets)
        written_as: dict[str, Any] = {"cells": DIRECT}
        borrowing = None
        if calibrated is not None:
            borrowing = calibrated.borrowing_groups[self._places]
            written_as = {"cells": CALIBRATED, "borrowed_genes": int(borrowing.sum())}
        if predicts_controls(settings):
            groups = groups_of_controls(self.targets.groups, self.store.manifest["control"])
            of_controls = _draws(groups, settings, len(self.draws))
            calibrated_controls = self.calibrated(predictor, of_controls[0])
            n_before = len(self.targets.paired)
            blocks = self.blocks(predictor, of_controls, calibrated_controls, n_before)
            controls = of_controls[0], blocks
        return write_predicted(
            path,
            self.written,
            self.targets,
            self.blocks(predictor, self.draws, calibrated),
            {**self.described, "model": name, **written_as, **predictor.description},
            clip=settings["prediction.clip"],
            notes=predictor.notes(self.store, self.targets, self.novelty),
            decoded_from=predictor.description.get("embedding"),
            controls=controls,
            borrowing=borrowing,
        )

    def calibrated(self, predictor: Predictor, targets: Targets) -> CalibratedCells | None:
        """Return what writes effects as cells; None where the predictor's own are written."""
        if self.settings["prediction.cells"] != CALIBRATED:
            return None
        effects = predictor.mean_effects(self.store, targets.groups, self.settings)
        if effects is None:
            return None
        train = make_groups(
            self.trained_on.cells, self.splits, "train", by_batch=False, controls=False
        )
        return CalibratedCells(
            self.store,
            targets,
            effects,
            TrainingRows(self.trained_on, train),
            predictor.labels,
            self.settings["prediction.seed"],
        )

    def write_observed(self, path: Path) -> None:
        """Write the observed cells of the same perturbations, with the same controls."""
        write_observed(path, self.written, self.targets, self.described)

    def blocks(
        self,
        predictor: Predictor,
        draws: Sequence[Targets],
        calibrated: CalibratedCells | None = None,
        n_before: int = 0,
    ) -> Blocks:
        """Yield what is written: averaged over draws of controls, and of the genes asked for.

        Parameters
        ----------
        predictor
            What predicts.
        draws
            What is predicted, from several draws of controls.
        calibrated
            What writes the effects as cells; None: the predictor's own cells.
        n_before
            Number of cells that were predicted before.
        """
        if calibrated is None:
            sets_per_pass = self.settings["prediction.sets_per_pass"]
            blocks = mean_of(predictor.predict(self.store, drawn, sets_per_pass) for drawn in draws)
        else:
            blocks = calibrated.blocks()
        if self.counts is not None:
            blocks = self.counts.round(blocks, self.store, draws[0], n_before)
        if self.written is self.store:
            return blocks
        return (Predicted(cells[:, self._places], embedding) for cells, embedding in blocks)

    @cached_property
    def _places(self) -> Int64[np.ndarray, " genes"]:
        """Where the genes that are written stand among those that are read."""
        places: np.ndarray = pd.Index(self.store.genes).get_indexer(self.written.genes)
        return places


def _draws(
    groups: list[Group], settings: Slice, n_draws: int, *, measured: bool = True
) -> list[Targets]:
    set_size, seed = settings["model.kwargs.cell_set_len"], settings["prediction.seed"]
    seeds = (seed_of_draw(seed, number) for number in range(n_draws))
    return [Targets.draw(groups, set_size=set_size, seed=each, measured=measured) for each in seeds]


def novelty(targets: Targets, splits: pd.DataFrame) -> np.ndarray:
    """Return a remark for each predicted cell: what of it the training cells did not hold."""
    trained = splits[splits["split"] == "train"]
    known = {name: set(trained[name].astype(str)) for name in ("perturbation", "context")}
    texts = [
        "; ".join(f"{name} not trained on" for name in known if getattr(g, name) not in known[name])
        for g in targets.groups
    ]
    of_cells: np.ndarray = np.array(texts, dtype=object)[targets.group_of_cell]
    return of_cells


def predicts_controls(settings: Slice) -> bool:
    """Tell whether predictions are held against predicted controls (``evaluation.controls``)."""
    key = "evaluation.controls"
    return key in settings.paths() and settings[key] == "predicted"


def mean_of(predictions: Iterable[Blocks]) -> Blocks:
    """Yield the mean of several predictions of the same cells, block by block."""
    for draws in zip(*predictions, strict=True):
        if len(draws) == 1:
            yield draws[0]
            continue
        embedded = [draw.embedding for draw in draws if draw.embedding is not None]
        yield Predicted(
            np.stack([draw.expression for draw in draws]).mean(axis=0),
            np.stack(embedded).mean(axis=0) if embedded else None,
        )


def join_notes(*notes: Notes) -> Notes:
    """Join remarks on the same cells; None where there are none."""
    given = [texts for texts in notes if texts is not None]
    if not given:
        return None
    cells = zip(*given, strict=True)
    return np.array(["; ".join(filter(None, texts)) for texts in cells], dtype=object)
