"""Rows for a look before packing: all of a small file, a seeded sample of a large one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse

from workflow_scripts.cells.matrices import Matrix

WHOLE_VALUES = 20_000_000
"""A file of up to this many stored values is read whole: half a second, 240 MB."""

SAMPLED_CELLS = 2000
"""Cells looked at in a larger file: each costs two reads, and a chunk to decompress."""

BLOCK_VALUES = 4_000_000
"""Values of a CSC matrix that are read at once: 32 MB, and as much for where they belong."""


@dataclass(frozen=True)
class SampledRows:
    """Some rows of a matrix, as the file has them.

    Attributes
    ----------
    rows
        Their numbers, ascending.
    matrix
        Their values [rows, genes], CSR; stored zeros are left out.
    whole
        Whether these are all rows.
    n_empty
        Cells of the whole file in which nothing is stored; of the sample alone where the format
        doesn't tell without reading.
    n_values
        Values that the whole file stores; an estimate from the sample for a dense matrix.
    """

    rows: np.ndarray
    matrix: scipy.sparse.csr_matrix
    whole: bool
    n_empty: int
    n_values: int


def sample_rows(matrix: Matrix, groups: np.ndarray) -> SampledRows:
    """Read rows of a matrix.

    Parameters
    ----------
    matrix
        Of an open file.
    groups
        Number of each cell's group [n_cells]: of a large file, groups are sampled alike.
    """
    n_cells, dense = matrix.n_cells, matrix.encoding == "dense"
    n_stored = n_cells * matrix.n_genes if dense else matrix.node["data"].shape[0]
    rows, whole = choose_rows(n_stored, groups)
    read = read_rows(matrix, rows)
    empty = int((np.diff(read.indptr) == 0).sum())
    lengths = stored_lengths(matrix)
    if lengths is not None:
        empty = max(empty, int((lengths == 0).sum()))
    share = read.nnz / max(len(rows), 1)
    return SampledRows(rows, read, whole, empty, round(share * n_cells) if dense else n_stored)


def choose_rows(n_stored: int, groups: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the rows to look at, ascending, and whether these are all.

    Parameters
    ----------
    n_stored
        Values that the whole matrix stores.
    groups
        Number of each cell's group [n_cells].
    """
    whole = n_stored <= WHOLE_VALUES
    return np.arange(len(groups)) if whole else _draw(groups, SAMPLED_CELLS), whole


def read_dense(matrix: Matrix, rows: np.ndarray) -> np.ndarray:
    """Read rows (ascending) of a dense matrix as float32 [rows, columns]."""
    parts = [np.asarray(matrix.node[a:b], dtype=np.float32) for a, b in _runs(rows)]
    return np.concatenate([np.empty((0, matrix.n_genes), dtype=np.float32), *parts])


def read_rows(matrix: Matrix, rows: np.ndarray) -> scipy.sparse.csr_matrix:
    """Read rows (ascending) of a matrix, without stored zeros; of CSC, everything is read."""
    if matrix.encoding == "csc":
        return _tidy(_csc_rows(matrix, rows))
    if matrix.encoding == "dense":
        parts = [scipy.sparse.csr_matrix(matrix.node[a:b]) for a, b in _runs(rows)]
        empty = scipy.sparse.csr_matrix((0, matrix.n_genes), dtype=np.float32)
        return _tidy(scipy.sparse.vstack(parts or [empty], format="csr"))
    return _tidy(_csr_rows(matrix, rows))


def stored_lengths(matrix: Matrix) -> np.ndarray | None:
    """Return how many values are stored of each cell [n_cells], where the format tells: CSR."""
    return np.diff(matrix.indptr) if matrix.encoding == "csr" else None


def _tidy(read: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    read.sum_duplicates()
    read.eliminate_zeros()
    return read


def _draw(groups: np.ndarray, count: int) -> np.ndarray:
    """Draw cells by seed, about as many of each group while it lasts."""
    generator = np.random.default_rng(0)
    shuffled = generator.permutation(len(groups))
    order = shuffled[np.argsort(groups[shuffled], kind="stable")]
    sizes = np.bincount(groups)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(order[np.argsort(rank, kind="stable")[:count]])


def _runs(rows: np.ndarray) -> list[tuple[int, int]]:
    """Return consecutive rows as (start, stop), so that they are read at once."""
    edges = np.flatnonzero(np.diff(rows) != 1) + 1
    starts = [0, *edges.tolist(), len(rows)]
    return [(int(rows[a]), int(rows[b - 1]) + 1) for a, b in pairwise(starts) if b > a]


def _csr_rows(matrix: Matrix, rows: np.ndarray) -> scipy.sparse.csr_matrix:
    indptr = matrix.indptr
    spans = [(indptr[start], indptr[stop]) for start, stop in _runs(rows)]
    data = [np.asarray(matrix.node["data"][a:b]) for a, b in spans]
    indices = [matrix.indices(slice(a, b)) for a, b in spans]
    lengths = np.diff(indptr)[rows]
    return scipy.sparse.csr_matrix(
        (
            np.concatenate(data) if data else np.empty(0, np.float32),
            np.concatenate(indices) if indices else np.empty(0, np.int32),
            np.concatenate([[0], np.cumsum(lengths)]),
        ),
        shape=(len(rows), matrix.n_genes),
    )


def _csc_rows(matrix: Matrix, rows: np.ndarray) -> scipy.sparse.csr_matrix:
    # The values of a row lie anywhere: all are read, a block at a time, and those of rows kept.
    starts = matrix.indptr
    place = np.full(matrix.n_cells, -1, dtype=np.int32)
    place[rows] = np.arange(len(rows), dtype=np.int32)
    values, at, columns = [matrix.node["data"][:0]], [place[:0]], [place[:0]]
    for start in range(0, int(starts[-1]), BLOCK_VALUES):
        span = slice(start, min(start + BLOCK_VALUES, int(starts[-1])))
        row = place[matrix.indices(span)]
        kept = np.flatnonzero(row >= 0)
        values.append(matrix.node["data"][span][kept])
        at.append(row[kept])
        column = np.searchsorted(starts, start + kept, side="right") - 1
        columns.append(column.astype(np.int32))
    found = (np.concatenate(values), (np.concatenate(at), np.concatenate(columns)))
    return scipy.sparse.coo_matrix(found, shape=(len(rows), matrix.n_genes)).tocsr()
