"""The compiled kernel of the data path: compact rows of the store become dense ones."""

from __future__ import annotations

import numba
import numpy as np
from jaxtyping import Float32, Int64, Integer


@numba.njit(cache=True, nogil=True)
def gather_dense(
    indptr: Int64[np.ndarray, " cells_plus_one"],
    indices: Integer[np.ndarray, " values"],
    values: Float32[np.ndarray, " values"],
    rows: Int64[np.ndarray, " rows"],
    out: Float32[np.ndarray, "rows genes"],
) -> None:
    """Write the rows of a CSR matrix into ``out``, zeros included."""
    for position in range(rows.shape[0]):
        out[position] = 0.0
        row = rows[position]
        for at in range(indptr[row], indptr[row + 1]):
            out[position, indices[at]] = values[at]
