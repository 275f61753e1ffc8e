"""Matrices of cells that are written a block at a time, sparse or dense, compressed on the way."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias

import anndata.io
import h5py
import numpy as np
from isal import isal_zlib
from jaxtyping import Float32
from scipy.sparse import csr_matrix, issparse

Block: TypeAlias = Any
"""Cells as rows, dense or as a CSR matrix (of which scipy has no types)."""

SPARSE_BELOW = 1 / 3
"""Share of values that aren't zero below which a matrix is sparse: a stored value takes twice the
bytes there, and is compressed half as well."""

_CHUNK = 262_144
"""Values that are compressed together, about: neither many seeks nor much memory."""

_LEVEL = 1
"""Of HDF5's own compression: higher ones take several times as long for a few per cent."""


def new_matrix(file: h5py.File, place: str, shape: tuple[int, int], first: Block) -> Matrix:
    """Begin a matrix, sparse if its first block is or has few values.

    Parameters
    ----------
    file, place
        Where it lies: an AnnData element.
    shape
        Of all blocks together.
    first
        The first of them, which is not written yet.
    """
    if issparse(first) or np.count_nonzero(first) < SPARSE_BELOW * max(1, first.size):
        return SparseMatrix(file, place, shape)
    return DenseMatrix(file, place, shape)


class SparseMatrix:
    """Cells as compressed sparse rows, ``shape`` of all of them together.

    Row starts and columns have one type, as scanpy's compiled code needs it: int32, or int64 where
    there could be more values than that counts.
    """

    def __init__(
        self, file: h5py.File, place: str, shape: tuple[int, int], *, compressed: bool = True
    ) -> None:
        packed = {"compression": "gzip", "compression_opts": _LEVEL, "shuffle": True}
        kind = np.int64 if shape[0] * shape[1] > np.iinfo(np.int32).max else np.int32
        empty = csr_matrix((0, shape[1]), dtype=np.float32)
        empty.indices = empty.indices.astype(kind)
        anndata.io.write_elem(
            file,
            place,
            empty,
            dataset_kwargs={
                **(packed if compressed else {}),
                "chunks": (_CHUNK,),
                "indptr_dtype": np.dtype(kind),
            },
        )
        self._matrix = anndata.io.sparse_dataset(file[place])

    def append(self, block: Block) -> None:
        """Add cells below those that are there."""
        self._matrix.append(csr_matrix(block, dtype=np.float32))

    def close(self) -> None:
        """Do nothing: everything is written."""


class DenseMatrix:
    """Cells as full rows; threads compress them, outside the interpreter's lock, while others come.

    HDF5 compresses in the thread that writes, one chunk after the other. Here chunks are made as
    its filters (shuffle, then gzip) make them, and written as they are.
    """

    def __init__(self, file: h5py.File, place: str, shape: tuple[int, int]) -> None:
        n_columns = max(shape[1], 1)
        self._rows = max(1, min(shape[0], _CHUNK // n_columns))
        self._matrix = file.create_dataset(
            place,
            shape=shape,
            dtype=np.float32,
            chunks=(self._rows, n_columns) if shape[0] and shape[1] else None,
            compression="gzip",
            compression_opts=_LEVEL,
            shuffle=True,
        )
        self._matrix.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        self._rest = np.empty((0, shape[1]), dtype=np.float32)
        self._written = 0
        threads = min(8, len(os.sched_getaffinity(0)))
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="compress")
        self._pending: deque[Future[bytes]] = deque()
        self._most_pending = 4 * threads

    def append(self, block: Block) -> None:
        """Add cells below those that are there; a dense block must stay as it is from then on."""
        rows = np.ascontiguousarray(block.toarray() if issparse(block) else block)
        if len(self._rest):
            rows = np.concatenate([self._rest, rows])
        whole = len(rows) - len(rows) % self._rows
        for start in range(0, whole, self._rows):
            self._send(rows[start : start + self._rows])
        self._rest = rows[whole:].copy()

    def close(self) -> None:
        """Write what is left."""
        if lacking := -len(self._rest) % self._rows:
            self._send(np.pad(self._rest, ((0, lacking), (0, 0))))
        self._drain(0)
        self._threads.shutdown()

    def _send(self, chunk: Float32[np.ndarray, "rows columns"]) -> None:
        self._pending.append(self._threads.submit(_compressed, chunk))
        self._drain(self._most_pending)

    def _drain(self, leave: int) -> None:
        while len(self._pending) > leave:
            place = (self._written * self._rows, 0)
            self._matrix.id.write_direct_chunk(place, self._pending.popleft().result())
            self._written += 1


Matrix: TypeAlias = SparseMatrix | DenseMatrix


def _compressed(chunk: Float32[np.ndarray, "rows columns"]) -> bytes:
    """Return a chunk as HDF5's shuffle and gzip leave it: all first bytes first, and so on.

    ISA-L's deflate takes a third to a fifth of zlib's time, even of its Huffman codes alone, for
    files that are as large within a tenth (benchmarks/RESULTS.md).
    """
    apart = chunk.reshape(-1).view(np.uint8).reshape(-1, 4).T
    return isal_zlib.compress(apart.tobytes(), _LEVEL)
