"""Cells as they are stored, on a device: where they become dense log1p values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64, Integer
from torch import Tensor

from workflow_scripts.cells.store import CellStore

_PIECE = 1 << 24
"""Values that are moved to a device at once."""


@dataclass(frozen=True)
class StoredCells:
    """Some cells as they are stored, on a device.

    Attributes
    ----------
    starts, lengths
        Where a cell's values stand, and how many there are.
    indices, values
        Genes and what was measured of them, of these cells and maybe of others.
    scales
        Factors that normalise counts; None for log1p values.
    """

    starts: Int64[Tensor, " rows"]
    lengths: Int64[Tensor, " rows"]
    indices: Integer[Tensor, " values"]
    values: Tensor
    scales: Float64[Tensor, " rows"] | None


@dataclass(frozen=True)
class MovedStore:
    """All packed cells on a device."""

    indptr: Int64[Tensor, " cells_plus_one"]
    indices: Integer[Tensor, " all_values"]
    values: Tensor
    scales: Float64[Tensor, " cells"] | None
    embedding: Float32[Tensor, "cells width"] | None

    @staticmethod
    def size(store: CellStore) -> int:
        """Return the bytes that a store takes there."""
        arrays = [store.indptr, store.indices, store.values, store.scales, store.embedding]
        return sum(array.nbytes for array in arrays if array is not None)

    @classmethod
    def of(cls, store: CellStore, device: torch.device) -> MovedStore:
        """Copy a store to a device."""
        indptr, indices, values = (
            _moved(array, device) for array in (store.indptr, store.indices, store.values)
        )
        scales = None if store.scales is None else _moved(store.scales, device)
        embedding = store.embedding
        if embedding is not None:
            flat = _moved(embedding.reshape(-1), device)
            return cls(indptr, indices, values, scales, flat.view(embedding.shape))
        return cls(indptr, indices, values, scales, None)

    def take(self, rows: Int64[Tensor, " rows"]) -> StoredCells:
        """Return some rows."""
        starts = self.indptr[rows]
        scales = None if self.scales is None else self.scales[rows]
        lengths = self.indptr[rows + 1] - starts
        return StoredCells(starts, lengths, self.indices, self.values, scales)

    def take_embedding(
        self, rows: Int64[Tensor, " rows"], out: Float32[Tensor, "rows width"]
    ) -> None:
        """Write rows of the embedding into ``out``."""
        if self.embedding is None:
            raise ValueError("no embedding was packed")
        torch.index_select(self.embedding, 0, rows, out=out)


def spread(
    stored: StoredCells,
    total: int,
    columns: Int64[Tensor, " all_genes"] | None,
    flat: Float32[Tensor, " values_and_one"],
    n_genes: int,
) -> None:
    """Write stored cells into a dense matrix of log1p values, zeros included.

    ``total``, the values of all these cells, is known without asking the device. ``columns`` says
    which column of the matrix a gene has; -1: none, its values are written to the last place,
    behind the matrix.
    """
    n_rows = len(stored.lengths)
    row = torch.repeat_interleave(
        torch.arange(n_rows, device=flat.device), stored.lengths, output_size=total
    )
    begins = stored.lengths.cumsum(0) - stored.lengths
    at = (stored.starts - begins)[row] + torch.arange(total, device=flat.device)
    values = stored.values[at]
    if stored.scales is not None:
        # As in `cells.gather`: in float64, rounded once.
        values = torch.log1p(_unsigned(values).double() * stored.scales[row]).float()
    column = _unsigned(stored.indices[at])
    if columns is not None:
        column = columns[column]
    place = row * n_genes + column
    if columns is not None:
        place = torch.where(column < 0, n_rows * n_genes, place)
    flat.zero_().index_put_((place,), values)


def torch_type(array: np.ndarray) -> torch.dtype:
    """Return the type that holds an array's bits: torch computes little with unsigned integers."""
    return {"uint16": torch.int16, "uint32": torch.int32}.get(array.dtype.name) or torch.from_numpy(
        array[:0].copy()
    ).dtype


def mask_of(bits: Integer[Tensor, " values"]) -> int:
    """Return the bits that count of an unsigned integer that stands in a signed one, widened."""
    return 0xFFFF if bits.dtype == torch.int16 else 0xFFFFFFFF


def _unsigned(bits: Integer[Tensor, " values"]) -> Int64[Tensor, " values"]:
    """Return what unsigned integers say whose bits stand in signed ones."""
    return bits.long() & mask_of(bits)


def _moved(array: np.ndarray, device: torch.device) -> Tensor:
    """Copy an array to a device, a piece at a time: a memory map is never in memory as a whole."""
    moved = torch.empty(len(array), dtype=torch_type(array), device=device)
    for start in range(0, len(array), _PIECE):
        piece = np.array(array[start : start + _PIECE])
        moved[start : start + _PIECE] = torch.from_numpy(piece).view(moved.dtype)
    return moved
