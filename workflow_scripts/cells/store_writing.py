"""Write the arrays of a packed store: rows come in any order, and each lands in its place."""

from __future__ import annotations

import math
import os
from itertools import pairwise
from pathlib import Path
from types import TracebackType

import numpy as np
import scipy.sparse
from jaxtyping import Float32, Int64

COPIED_VALUES = 8_000_000
"""Values moved at once where a store is made tight."""

_ROW_TYPE = np.dtype(np.float32)


class StoreWriter:
    """Writes indices and values beside one another, in the store's order of rows.

    Plain writes at an offset, not a memory map: pages of a map count as this process's memory until
    the system wants them, so that a large store would look as if it didn't fit.
    """

    def __init__(
        self, folder: Path, room: np.ndarray, index_type: np.dtype, value_type: np.dtype
    ) -> None:
        """Make the files.

        Parameters
        ----------
        folder
            Where they lie.
        room
            Values that each row may have, in the store's order [n_cells].
        index_type, value_type
            Of the arrays.
        """
        self._folder = folder
        self._starts = np.concatenate([[0], np.cumsum(room)]).astype(np.int64)
        self._lengths = np.zeros(len(room), dtype=np.int64)
        self._types = {"indices": np.dtype(index_type), "values": np.dtype(value_type)}
        self._files: dict[str, int] = {}
        self._heads: dict[str, int] = {}

    def __enter__(self) -> StoreWriter:
        for name, kind in self._types.items():
            self._heads[name] = _new_array(self._path(name), kind, (int(self._starts[-1]),))
            self._files[name] = os.open(self._path(name), os.O_WRONLY)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in self._files.values():
            os.close(file)

    def write(self, rows: np.ndarray, block: scipy.sparse.csr_matrix) -> None:
        """Put the rows of a block to their places in the store."""
        order = np.argsort(rows, kind="stable")
        rows, block = rows[order], block[order]
        lengths = np.diff(block.indptr)
        self._lengths[rows] = lengths
        arrays = {
            "indices": block.indices.astype(self._types["indices"], copy=False),
            "values": block.data.astype(self._types["values"], copy=False),
        }
        # Rows that follow one another in the store, and fill their room, are written at once.
        tight = self._starts[rows] + lengths
        breaks = np.flatnonzero(tight[:-1] != self._starts[rows[1:]]) + 1
        for first, last in pairwise([0, *breaks.tolist(), len(rows)]):
            start, stop = block.indptr[first], block.indptr[last]
            for name, array in arrays.items():
                size = self._types[name].itemsize
                offset = self._heads[name] + int(self._starts[rows[first]]) * size
                _write_at(self._files[name], array[start:stop], offset)

    def finish(self) -> np.ndarray:
        """Close up what rows left of their room; return and write indptr [n_cells + 1]."""
        indptr = np.concatenate([[0], np.cumsum(self._lengths)]).astype(np.int64)
        if indptr[-1] < self._starts[-1]:
            for name, kind in self._types.items():
                self._close_up(name, kind, indptr)
        head = _new_array(self._path("indptr"), indptr.dtype, indptr.shape)
        with self._path("indptr").open("r+b") as file:
            file.seek(head)
            file.write(_bytes(indptr))
        return indptr

    def _close_up(self, name: str, kind: np.dtype, indptr: np.ndarray) -> None:
        tight = self._folder / f"{name}.tight"
        head = _new_array(tight, kind, (int(indptr[-1]),))
        loose = np.load(self._path(name), mmap_mode="r") if self._starts[-1] else np.empty(0, kind)
        with tight.open("r+b") as file:
            file.seek(head)
            start, n_rows = 0, len(self._lengths)
            while start < n_rows:
                stop = int(np.searchsorted(indptr, indptr[start] + COPIED_VALUES, side="right")) - 1
                stop = min(max(stop, start + 1), n_rows)
                lengths = self._lengths[start:stop]
                shift = np.repeat(self._starts[start:stop] - indptr[start:stop], lengths)
                file.write(_bytes(loose[np.arange(indptr[start], indptr[stop]) + shift]))
                start = stop
        os.replace(tight, self._path(name))

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.npy"


class RowWriter:
    """Writes the rows of a dense float32 matrix, in any order, to their places in a ``.npy``."""

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        self._path = path
        self._shape = shape
        self._head = 0
        self._file = -1

    def __enter__(self) -> RowWriter:
        self._head = _new_array(self._path, _ROW_TYPE, self._shape)
        self._file = os.open(self._path, os.O_WRONLY)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)

    def write(
        self, rows: Int64[np.ndarray, " rows"], block: Float32[np.ndarray, "rows width"]
    ) -> None:
        """Put the rows of a block to their places."""
        order = np.argsort(rows, kind="stable")
        rows, block = rows[order], block[order]
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        for first, last in pairwise([0, *breaks.tolist(), len(rows)]):
            offset = self._head + int(rows[first]) * self._shape[1] * _ROW_TYPE.itemsize
            _write_at(self._file, block[first:last], offset)


def _new_array(path: Path, kind: np.dtype, shape: tuple[int, ...]) -> int:
    """Make a ``.npy`` file without its values; return where they begin."""
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False}
        np.lib.format.write_array_header_2_0(file, {**header, "shape": shape})
        head = file.tell()
        file.truncate(head + math.prod(shape) * kind.itemsize)
    return head


def _write_at(file: int, array: np.ndarray, offset: int) -> None:
    left = _bytes(array)
    while left:  # a write may be cut short, at 2 GB for one
        written = os.pwrite(file, left, offset)
        left, offset = left[written:], offset + written


def _bytes(array: np.ndarray) -> memoryview:
    """Return what to write of an array; numpy's own ways to a file don't say why one failed."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
