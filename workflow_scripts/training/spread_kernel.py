"""A kernel for GPUs: stored cells become dense log1p values in one pass over the matrix.

Imported only where there is a GPU and Triton, which torch's builds for CUDA bring along. What it
writes is what `stored_cells.spread` writes, to the bit.
"""

from __future__ import annotations

import triton
import triton.language as tl
from jaxtyping import Float32, Int64
from torch import Tensor
from triton.language.extra import libdevice

from workflow_scripts.training.stored_cells import StoredCells, mask_of

_AT_ONCE = 1024
"""Values that a program, which has a row to itself, writes at once."""


def spread_in_one_pass(
    stored: StoredCells,
    columns: Int64[Tensor, " all_genes"] | None,
    dense: Float32[Tensor, "rows genes"],
) -> None:
    """Do what `stored_cells.spread` does, with memory for nothing but the result."""
    n_rows, n_genes = dense.shape
    anything = dense  # stands for what isn't there and isn't read
    _spread[(n_rows,)](
        dense,
        stored.starts,
        stored.lengths,
        stored.indices,
        stored.values,
        anything if stored.scales is None else stored.scales,
        anything if columns is None else columns,
        n_genes,
        index_mask=mask_of(stored.indices),
        value_mask=mask_of(stored.values) if stored.scales is not None else 0,
        has_scales=stored.scales is not None,
        has_columns=columns is not None,
        at_once=_AT_ONCE,
        # A product and a sum in one operation would round otherwise than the CPU does.
        enable_fp_fusion=False,
    )


@triton.jit  # type: ignore[untyped-decorator]
def _spread(  # type: ignore[no-untyped-def]
    dense,
    starts,
    lengths,
    indices,
    values,
    scales,
    columns,
    n_genes,
    index_mask: tl.constexpr,
    value_mask: tl.constexpr,
    has_scales: tl.constexpr,
    has_columns: tl.constexpr,
    at_once: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    out = dense + row * n_genes
    steps = tl.arange(0, at_once)
    for begin in range(0, n_genes, at_once):
        tl.store(out + begin + steps, 0.0, mask=begin + steps < n_genes)
    tl.debug_barrier()  # other threads of the program write over these zeros
    start = tl.load(starts + row)
    length = tl.load(lengths + row)
    for begin in range(0, length, at_once):
        inside = begin + steps < length
        at = start + begin + steps
        column = tl.load(indices + at, mask=inside, other=0).to(tl.int64) & index_mask
        value = tl.load(values + at, mask=inside, other=0)
        if has_scales:
            count = (value.to(tl.int64) & value_mask).to(tl.float64)
            value = libdevice.log1p(count * tl.load(scales + row)).to(tl.float32)
        if has_columns:
            column = tl.load(columns + column, mask=inside, other=-1)
            inside = inside & (column >= 0)
        tl.store(out + column, value, mask=inside)
