"""Batches for the trainer: row numbers become tensors, ahead of the steps that use them."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from torch import Tensor

from workflow_scripts.cells.groups import Group
from workflow_scripts.cells.sampling import SetRows
from workflow_scripts.errors import DataError
from workflow_scripts.features.vectors import Features
from workflow_scripts.settings.findings import listing
from workflow_scripts.training.readers import Buffer, CellReader

AHEAD = 2
"""Batches that are read before they are asked for: one that is ready, one in the making."""


class Batch(NamedTuple):
    """Some cell sets, ready for the model.

    Attributes
    ----------
    control
        Control cells as the model reads them: expression or embedding [sets, cells, input].
    observed
        Cells to predict, likewise [sets, cells, output].
    features
        Perturbation features [sets, dimension].
    batch
        Codes of the control cells' technical batches [sets, cells].
    numbers
        Which set each one is (`SetRows.numbers`) [sets].
    expression
        Expression of the cells to predict [sets, cells, genes]: `observed` itself, unless that is
        their embedding.
    """

    control: Tensor
    observed: Tensor
    features: Tensor
    batch: Tensor
    numbers: Tensor
    expression: Tensor


class BatchMaker:
    """Turns row numbers into batches."""

    def __init__(self, reader: CellReader, groups: Sequence[Group], features: Features) -> None:
        self.reader = reader
        cells = reader.store.cells
        self._batch_codes = cells["batch"].cat.codes.to_numpy(np.int64)
        index = {name: at for at, name in enumerate(features.names)}
        lacking = sorted({group.perturbation for group in groups} - index.keys())
        if lacking:
            raise DataError(
                f"no features for {listing(lacking)}; the feature file was checked against other "
                "cells, run the workflow again"
            )
        vectors = np.array([index[group.perturbation] for group in groups], dtype=np.int64)
        self._features = features.matrix[vectors]

    def buffer(self, most_cells: int) -> Buffer:
        """Return room for a batch of at most so many cells to predict, and their controls."""
        if self.reader.store.embedding is None:
            return self.reader.buffer(2 * most_cells)
        return self.reader.buffer(most_cells, 2 * most_cells)

    def make(self, sets: SetRows, buffer: Buffer) -> Batch:
        """Read the cells of some sets into a buffer; the batch is there until its next use."""
        # Before the cells: the end of reading those is the moment that the device waits for.
        features = self.reader.on(self._features[sets.groups])
        codes = self.reader.on(self._batch_codes[sets.control])
        numbers = self.reader.on(sets.numbers)
        n_sets, n_cells = sets.control.shape
        rows = np.concatenate([sets.control.ravel(), sets.observed.ravel()])
        if self.reader.store.embedding is None:
            dense = self.reader.read(rows, buffer)
            control, observed = dense.view(2, n_sets, n_cells, dense.shape[1])
            return Batch(control, observed, features, codes, numbers, observed)
        embedded = self.reader.read_embedding(rows, buffer)
        control, observed = embedded.view(2, n_sets, n_cells, embedded.shape[1])
        # Of controls nothing is decoded: their expression isn't read.
        expression = self.reader.read(sets.observed.ravel(), buffer)
        expression = expression.view(n_sets, n_cells, expression.shape[1])
        return Batch(control, observed, features, codes, numbers, expression)


class Feeder:
    """The batches of some passes, in order; a batch is there until the next one is asked for.

    A pass is what goes through the model at once: a step's sets, or a part of them. A thread of its
    own reads the batches to come while a pass runs. Nothing but row numbers and
    what is stored goes anywhere: no matrix is copied, and none crosses a process.

    Attributes
    ----------
    waited
        Seconds that the last batch was waited for.
    """

    def __init__(
        self,
        sets_of: Callable[[int], SetRows],
        passes: range,
        maker: BatchMaker,
        *,
        most_cells: int,
        ahead: int,
    ) -> None:
        """Prepare the batches.

        Parameters
        ----------
        sets_of
            Sets of a pass.
        passes
            The passes to feed.
        maker
            Reads their cells.
        most_cells
            Most cells to predict in a pass; as many controls are read with them.
        ahead
            Batches that are read before they are asked for; 0: each when it is.
        """
        self._sets_of = sets_of
        self._passes = passes
        self._maker = maker
        self._most_cells = most_cells
        self._ahead = ahead
        self.waited = 0.0

    def __len__(self) -> int:
        """Return the number of the last pass: Lightning counts those of an earlier start too."""
        return self._passes.stop

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batch of each pass."""
        reader = self._maker.reader
        free = deque(self._maker.buffer(self._most_cells) for _ in range(self._ahead + 1))
        passes = iter(self._passes)
        pending: deque[tuple[Future[Batch], Buffer]] = deque()
        thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        try:
            while True:
                for at in itertools.islice(passes, len(free)):
                    buffer = free.popleft()
                    pending.append((thread.submit(self._make, at, buffer), buffer))
                if not pending:
                    return
                started = time.perf_counter()
                made, buffer = pending.popleft()
                batch = made.result()
                reader.hand_over(buffer, batch)
                self.waited = time.perf_counter() - started
                yield batch
                reader.take_back(buffer)
                free.append(buffer)
        finally:
            thread.shutdown(cancel_futures=True)
            reader.settle()

    def _make(self, at: int, buffer: Buffer) -> Batch:
        return self._maker.make(self._sets_of(at), buffer)
