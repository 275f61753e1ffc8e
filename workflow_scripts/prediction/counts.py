"""Integer counts of predicted cells, with the library sizes of the controls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from workflow_scripts.cells.predicted_cells import Blocks, Predicted
from workflow_scripts.cells.store import CellStore
from workflow_scripts.cells.targets import Targets
from workflow_scripts.errors import DataError
from workflow_scripts.prediction.readiness import NO_COUNTS
from workflow_scripts.settings.choices import COUNTS
from workflow_scripts.settings.slices import Slice

_PURPOSE = 11
"""Of these random numbers: no other draw shares its key."""


@dataclass(frozen=True)
class Counts:
    """How predicted log1p values become counts; ``seed`` is that of the random numbers."""

    seed: int

    @classmethod
    def of(cls, settings: Slice, store: CellStore) -> Counts | None:
        """Return how the counts of a prediction are made; None where log1p values are written.

        Raises
        ------
        DataError
            Where the cells came as log1p values, so that nobody knows how many counts a cell has.
        """
        if settings["prediction.output"] != COUNTS:
            return None
        if store.manifest["holds"] != COUNTS:
            raise DataError(NO_COUNTS)
        return cls(settings["prediction.seed"])

    def round(
        self, blocks: Blocks, store: CellStore, targets: Targets, n_before: int = 0
    ) -> Blocks:
        """Round the expected counts of predicted cells, up as often as their fractions say.

        The expected count of a gene is L·e / Σe: L the counts that the cell's control has in the
        genes that are read, e = expm1 of the predicted value. So each mean is kept but for chance:
        the error of a mean over n cells has a standard deviation of at most 1 / (2√n) counts. The
        random number depends on (seed, cell, gene) alone.

        Parameters
        ----------
        blocks
            Predicted log1p values.
        store
            Cells with raw counts, of the same genes.
        targets
            What is predicted.
        n_before
            Number of cells that were rounded before.
        """
        at = 0
        for cells, embedding in blocks:
            rows = targets.paired[at : at + len(cells)]
            for place, size in enumerate(library_sizes(store, rows)):
                expected = _shares(cells[place]) * size
                random = _uniforms(self.seed, n_before + at + place, len(expected))
                cells[place] = np.floor(expected + random)
            yield Predicted(cells, embedding)
            at += len(cells)


def library_sizes(
    store: CellStore, rows: Int64[np.ndarray, " cells"]
) -> Float64[np.ndarray, " cells"]:
    """Return how many counts cells have in the genes that are read."""
    sizes: np.ndarray = np.asarray(store.stored(rows).sum(axis=1, dtype=np.float64)).ravel()
    return sizes


def _shares(values: Float32[np.ndarray, " genes"]) -> Float64[np.ndarray, " genes"]:
    """Return the share of a cell's counts that each gene has, by its log1p values."""
    expected: np.ndarray = np.expm1(np.maximum(values, 0.0, dtype=np.float64))
    expected /= max(expected.sum(), np.finfo(np.float64).tiny)
    return expected


def _uniforms(seed: int, cell: int, n: int) -> Float64[np.ndarray, " genes"]:
    # The generator counts in the low words: two cells share no number.
    bits = np.random.Philox(counter=[0, 0, 0, cell], key=[seed, _PURPOSE])
    return np.random.Generator(bits).random(n)
