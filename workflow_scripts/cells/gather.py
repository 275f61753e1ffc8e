"""The compiled kernels of the data path: compact rows of the store become dense ones.

Where some genes are read, ``columns`` gives the place of each packed gene among them, -1 where it
isn't read. Without it, the loop is compiled as if there were no such thing.
"""

from __future__ import annotations

import numba
import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64, Integer

_TABLE = 64
"""Counts below this are looked up, once a row: nearly all of a droplet screen's are."""


@numba.njit(cache=True, nogil=True)
def gather_values(
    indptr: Int64[np.ndarray, " cells_plus_one"],
    indices: Integer[np.ndarray, " values"],
    values: Float32[np.ndarray, " values"],
    rows: Int64[np.ndarray, " rows"],
    out: Float32[np.ndarray, "rows genes"],
    columns: Int32[np.ndarray, " packed_genes"] | None = None,
) -> None:
    """Write the rows of a CSR matrix into ``out``, zeros included."""
    chosen = np.empty(out.shape[1] + 1, dtype=np.float32)
    for position in range(rows.shape[0]):
        row = rows[position]
        if columns is None:
            if indptr[row + 1] - indptr[row] == out.shape[1]:
                out[position] = values[indptr[row] : indptr[row + 1]]  # no gene is zero: in order
                continue
            out[position] = 0.0
            for at in range(indptr[row], indptr[row + 1]):
                out[position, indices[at]] = values[at]
        else:
            # Without a branch: what isn't chosen (-1) goes to the last place, which isn't copied.
            chosen[:] = 0.0
            for at in range(indptr[row], indptr[row + 1]):
                chosen[columns[indices[at]]] = values[at]
            out[position] = chosen[:-1]


@numba.njit(cache=True, nogil=True)
def gather_stored(
    indptr: Int64[np.ndarray, " cells_plus_one"],
    indices: Integer[np.ndarray, " values"],
    values: Float32[np.ndarray, " values"] | Integer[np.ndarray, " values"],
    rows: Int64[np.ndarray, " rows"],
    starts: Int64[np.ndarray, " rows"],
    out_indices: Integer[np.ndarray, " room"],
    out_values: Float32[np.ndarray, " room"] | Integer[np.ndarray, " room"],
) -> None:
    """Copy the rows of a CSR matrix as they are, each to its place in ``out_…``."""
    for position in range(rows.shape[0]):
        first, last = indptr[rows[position]], indptr[rows[position] + 1]
        place = starts[position]
        out_indices[place : place + last - first] = indices[first:last]
        out_values[place : place + last - first] = values[first:last]


@numba.njit(cache=True, nogil=True)
def gather_counts(
    indptr: Int64[np.ndarray, " cells_plus_one"],
    indices: Integer[np.ndarray, " values"],
    counts: Integer[np.ndarray, " values"],
    scales: Float64[np.ndarray, " cells"],
    rows: Int64[np.ndarray, " rows"],
    out: Float32[np.ndarray, "rows genes"],
    columns: Int32[np.ndarray, " packed_genes"] | None = None,
) -> None:
    """Write log1p(count · scale of its cell) into ``out``, zeros included."""
    table = np.empty(_TABLE, dtype=np.float32)
    chosen = np.empty(out.shape[1] + 1, dtype=np.float32)
    for position in range(rows.shape[0]):
        row = rows[position]
        scale = scales[row]
        for count in range(_TABLE):
            table[count] = np.log1p(count * scale)
        if columns is None:
            out[position] = 0.0
            for at in range(indptr[row], indptr[row + 1]):
                count = counts[at]
                if count < _TABLE:
                    out[position, indices[at]] = table[count]
                else:
                    out[position, indices[at]] = np.log1p(count * scale)
        else:
            chosen[:] = 0.0
            for at in range(indptr[row], indptr[row + 1]):
                count = counts[at]
                if count < _TABLE:
                    chosen[columns[indices[at]]] = table[count]
                else:
                    chosen[columns[indices[at]]] = np.log1p(count * scale)
            out[position] = chosen[:-1]
