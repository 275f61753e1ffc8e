"""Batches for the trainer: row numbers become tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from workflow_scripts.cells.groups import Group
from workflow_scripts.cells.sampling import SetRows, SetSampler
from workflow_scripts.cells.store import CellStore
from workflow_scripts.features.validation import Features
from workflow_scripts.settings.errors import DataError
from workflow_scripts.settings.findings import listing


class Batch(NamedTuple):
    """Some cell sets, ready for the model.

    Attributes
    ----------
    control
        Control cells [sets, cells, genes].
    observed
        Cells to predict [sets, cells, genes].
    features
        Perturbation features [sets, dimension].
    batch
        Codes of the control cells' technical batches [sets, cells].
    """

    control: Tensor
    observed: Tensor
    features: Tensor
    batch: Tensor


class BatchMaker:
    """Turns row numbers into batches."""

    def __init__(self, store: CellStore, groups: Sequence[Group], features: Features) -> None:
        self._store = store
        self._batch_codes = store.cells["batch"].cat.codes.to_numpy(np.int64)
        index = {name: at for at, name in enumerate(features.names)}
        lacking = sorted({group.perturbation for group in groups} - index.keys())
        if lacking:
            raise DataError(
                f"no features for {listing(lacking)}; the feature file was checked against other "
                "cells, run the workflow again"
            )
        vectors = np.array([index[group.perturbation] for group in groups], dtype=np.int64)
        self._features = torch.from_numpy(features.matrix)[torch.from_numpy(vectors)]

    def make(self, sets: SetRows) -> Batch:
        """Read the cells of some sets."""
        shape = (*sets.control.shape, self._store.n_genes)
        control, observed = (
            torch.from_numpy(self._store.dense(rows.ravel()).reshape(shape))
            for rows in (sets.control, sets.observed)
        )
        return Batch(
            control,
            observed,
            self._features[torch.from_numpy(sets.groups)],
            torch.from_numpy(self._batch_codes[sets.control]),
        )


class TrainingBatches(IterableDataset[Batch]):
    """The steps from ``start`` to ``stop``, in order."""

    def __init__(self, sampler: SetSampler, maker: BatchMaker, start: int, stop: int) -> None:
        super().__init__()
        self._sampler = sampler
        self._maker = maker
        self._start = start
        self._stop = stop

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batch of each step; with several workers, each takes its share in turn."""
        info = torch.utils.data.get_worker_info()
        first, stride = (0, 1) if info is None else (info.id, info.num_workers)
        for step in range(self._start + first, self._stop, stride):
            yield self._maker.make(self._sampler.step(step))


class FixedBatches(IterableDataset[Batch]):
    """Some sets, always the same, a few at a time."""

    def __init__(self, sets: SetRows, maker: BatchMaker, sets_per_batch: int) -> None:
        super().__init__()
        self._sets = sets
        self._maker = maker
        self._sets_per_batch = sets_per_batch

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches that cover every set once."""
        for start in range(0, len(self._sets.groups), self._sets_per_batch):
            yield self._maker.make(self._sets.take(slice(start, start + self._sets_per_batch)))
