"""Read the cells of an h5ad file as CSR blocks, in bounded memory, however they are stored."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import scipy.sparse

from workflow_scripts.cells.matrices import Matrix
from workflow_scripts.cells.sampled import stored_lengths

BLOCK_VALUES = 8_000_000
"""Stored values read at once: 8 million float32 and their int64 indices are about 100 MB."""

_DEALT = np.dtype([("row", np.int32), ("column", np.int32), ("value", np.float32)])

Block = tuple[int, scipy.sparse.csr_matrix]


class CellBlocks:
    """The cells of a matrix, block by block in their order.

    CSC has no rows to stream. Before the first block its values are dealt out to files of some rows
    each, so that every block can be put together by itself.

    Attributes
    ----------
    lengths
        Values stored of each cell [n_cells]: what a block holds of it, or more where zeros are
        stored or an entry twice.
    dealt_bytes
        What is dealt out takes of the disk.
    """

    def __init__(self, matrix: Matrix, spill: Path) -> None:
        """Count the values of each cell.

        Parameters
        ----------
        matrix
            Of an open file.
        spill
            Folder for what has to be sorted on disk; `close` removes it.
        """
        self._matrix = matrix
        self._spill = spill
        self._edges = np.empty(0, dtype=np.int64)
        lengths = stored_lengths(matrix)
        if matrix.encoding == "dense":
            lengths = _count_dense(matrix)
        elif lengths is None:
            lengths = _count_columns(matrix)
        self.lengths: np.ndarray = lengths.astype(np.int64)
        values = int(self.lengths.sum()) if matrix.encoding == "csc" else 0
        self.dealt_bytes = values * _DEALT.itemsize

    def __iter__(self) -> Iterator[Block]:
        """Yield (first row, block): no stored zeros, no entry twice, columns in their order."""
        read = {"csr": self._read_rows, "dense": self._read_dense, "csc": self._read_dealt}
        for start, block in read[self._matrix.encoding]():
            block.sum_duplicates()
            block.eliminate_zeros()
            yield start, block

    def close(self) -> None:
        """Remove what was dealt out."""
        shutil.rmtree(self._spill, ignore_errors=True)

    def _windows(self) -> Iterator[tuple[int, int]]:
        """Yield rows (start, stop) of about `BLOCK_VALUES` values."""
        ends = np.concatenate([[0], np.cumsum(self.lengths)])
        start, n_cells = 0, len(self.lengths)
        while start < n_cells:
            stop = int(np.searchsorted(ends, ends[start] + BLOCK_VALUES, side="right")) - 1
            stop = min(max(stop, start + 1), n_cells)
            yield start, stop
            start = stop

    def _read_rows(self) -> Iterator[Block]:
        node = self._matrix.node
        indptr = self._matrix.indptr
        for start, stop in self._windows():
            span = slice(int(indptr[start]), int(indptr[stop]))
            values = np.asarray(node["data"][span], dtype=np.float32)
            columns = self._matrix.indices(span)
            yield start, self._block(values, columns, indptr[start : stop + 1] - indptr[start])

    def _read_dense(self) -> Iterator[Block]:
        for start, dense in dense_windows(self._matrix):
            yield start, scipy.sparse.csr_matrix(dense.astype(np.float32, copy=False))

    def _deal_out(self) -> None:
        """Write each value, with its place, to the file of the rows it belongs to."""
        node = self._matrix.node
        self._spill.mkdir(parents=True, exist_ok=True)
        self._edges = np.array([start for start, _ in self._windows()], dtype=np.int64)
        indptr = self._matrix.indptr
        for first, last in _column_windows(indptr):
            span = slice(int(indptr[first]), int(indptr[last]))
            rows = self._matrix.indices(span).astype(np.int64)
            parts = np.searchsorted(self._edges, rows, side="right") - 1
            dealt = np.empty(len(rows), dtype=_DEALT)
            dealt["row"] = rows - self._edges[parts]
            dealt["column"] = np.repeat(np.arange(first, last), np.diff(indptr[first : last + 1]))
            dealt["value"] = np.asarray(node["data"][span])
            order = np.argsort(parts, kind="stable")
            ends = np.searchsorted(parts[order], np.arange(len(self._edges) + 1))
            for part, (start, stop) in enumerate(pairwise(ends)):
                # Not by tofile, which doesn't say why a write failed.
                with self._part(part).open("ab") as file:
                    file.write(dealt[order[start:stop]].view(np.uint8).data)

    def _read_dealt(self) -> Iterator[Block]:
        self._deal_out()
        for part, (start, stop) in enumerate(self._windows()):
            dealt = np.fromfile(self._part(part), dtype=_DEALT)
            dealt = dealt[np.argsort(dealt["row"], kind="stable")]  # columns stay in their order
            lengths = np.bincount(dealt["row"], minlength=stop - start)
            indptr = np.concatenate([[0], np.cumsum(lengths)])
            yield start, self._block(dealt["value"].copy(), dealt["column"].copy(), indptr)

    def _part(self, number: int) -> Path:
        return self._spill / f"{number}.dealt"

    def _block(
        self, values: np.ndarray, columns: np.ndarray, indptr: np.ndarray
    ) -> scipy.sparse.csr_matrix:
        shape = (len(indptr) - 1, self._matrix.n_genes)
        return scipy.sparse.csr_matrix((values, columns, indptr), shape=shape)


def _count_columns(matrix: Matrix) -> np.ndarray:
    lengths = np.zeros(matrix.n_cells, dtype=np.int64)
    for start in range(0, len(matrix.node["indices"]), BLOCK_VALUES):
        rows = matrix.indices(slice(start, start + BLOCK_VALUES))
        lengths += np.bincount(rows, minlength=matrix.n_cells)
    return lengths


def _count_dense(matrix: Matrix) -> np.ndarray:
    return np.concatenate([np.count_nonzero(x, axis=1) for _, x in dense_windows(matrix)])


def dense_windows(matrix: Matrix) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, rows) of a dense matrix, about `BLOCK_VALUES` values at a time."""
    step = max(1, BLOCK_VALUES // matrix.n_genes)
    for start in range(0, matrix.n_cells, step):
        yield start, np.asarray(matrix.node[start : start + step])


def _column_windows(indptr: np.ndarray) -> Iterator[tuple[int, int]]:
    first, n_columns = 0, len(indptr) - 1
    while first < n_columns:
        last = int(np.searchsorted(indptr, indptr[first] + BLOCK_VALUES, side="right")) - 1
        last = min(max(last, first + 1), n_columns)
        yield first, last
        first = last
