"""The embedding of each cell that lies in obsm, beside its expression."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float32, Int64

from workflow_scripts.cells.annotations import open_h5ad
from workflow_scripts.cells.blocks import CellBlocks, dense_windows
from workflow_scripts.cells.matrices import Matrix, find_node
from workflow_scripts.cells.sampled import choose_rows, read_dense, sample_rows
from workflow_scripts.cells.store_writing import RowWriter
from workflow_scripts.errors import DataError
from workflow_scripts.settings.choices import EMBED_KEY
from workflow_scripts.settings.findings import listing

NO_NAMES = np.empty(0, dtype=object)
"""Names of the columns of an embedding: there are none."""


def find_embedding(file: h5py.File, name: str, n_cells: int) -> Matrix:
    """Find an embedding in an open file; its ``n_genes`` is its width.

    Parameters
    ----------
    file, name
        The file, and the name in its obsm (``data.kwargs.embed_key``).
    n_cells
        Cells of the file.

    Raises
    ------
    DataError
        Where it is missing, no matrix of numbers, empty, or has another number of rows.
    """
    place = f"obsm/{name}"
    node, encoding, shape = find_node(file, place, EMBED_KEY)
    kind = (node if isinstance(node, h5py.Dataset) else node["data"]).dtype
    if kind.kind not in "fiub":
        raise DataError(
            f"{file.filename}: {place} holds {kind}, where an embedding has numbers; name another "
            f"one ({EMBED_KEY})"
        )
    if shape[0] != n_cells:
        raise DataError(
            f"{file.filename}: {place} has {shape[0]} rows, and the file has {n_cells} cells; name "
            f"another embedding ({EMBED_KEY})"
        )
    return Matrix(node, encoding, *shape, NO_NAMES, place)


def audit_embedding(embedding: Matrix, groups: Int64[np.ndarray, " cells"]) -> None:
    """Look at the values of an embedding: all of a small one, a sample of a large one.

    Parameters
    ----------
    embedding
        What `find_embedding` found.
    groups
        Number of each cell's group: they are sampled alike.

    Raises
    ------
    DataError
        Where a value isn't finite.
    """
    if embedding.encoding == "dense":  # by itself: of float16 there is no sparse matrix
        rows, whole = choose_rows(embedding.n_cells * embedding.n_genes, groups)
        broken = np.nonzero(~np.isfinite(read_dense(embedding, rows)))[0]
    else:
        sample = sample_rows(embedding, groups)
        rows, whole, ends = sample.rows, sample.whole, sample.matrix.indptr
        values = np.flatnonzero(~np.isfinite(sample.matrix.data))
        broken = np.searchsorted(ends, values, side="right") - 1
    if broken.size:
        looked_at = "" if whole else " in the part that was looked at"
        where = f"{embedding.node.file.filename}: {embedding.place}"
        raise DataError(_not_finite(where, broken.size, int(rows[broken[0]]), looked_at))


def check_widths(widths: Mapping[str, int], name: str) -> None:
    """Check that the embedding is as wide in every file (path to width).

    Raises
    ------
    DataError
        Where it isn't, with the width in each.
    """
    if len(set(widths.values())) > 1:
        said = listing((f"{width} in {path}" for path, width in widths.items()), 8)
        raise DataError(
            f"obsm/{name} is not as wide in every file: {said}; compute the embedding of all files "
            f"by one model, or name another one ({EMBED_KEY})"
        )


def pack_embedding(
    files: Sequence[tuple[str, int]],
    name: str,
    place: Int64[np.ndarray, " cells"],
    width: int,
    folder: Path,
) -> None:
    """Write ``embedding.npy`` [n_cells, width], float32, a block of cells at a time.

    Parameters
    ----------
    files, name
        Path and number of cells of each file, and the name in their obsm.
    place
        Row of the store of each cell, the files one after another.
    width
        Numbers of a cell.
    folder
        Of the store.

    Raises
    ------
    DataError
        Where a value isn't finite, with the file, how many there are, and the first one's row.
    """
    first = 0
    with RowWriter(folder / "embedding.npy", (len(place), width)) as writer:
        for path, n_cells in files:
            broken, row = 0, 0
            with open_h5ad(path) as file:
                embedding = find_embedding(file, name, n_cells)
                for start, block in _blocks(embedding, folder / "dealt"):
                    finite = np.isfinite(block)
                    if not finite.all():
                        row = row if broken else start + int(np.argmin(finite.all(axis=1)))
                        broken += int(block.size - finite.sum())
                    writer.write(place[first + start : first + start + len(block)], block)
            if broken:
                raise DataError(_not_finite(f"{path}: {embedding.place}", broken, row))
            first += n_cells


def _blocks(
    embedding: Matrix, spill: Path
) -> Iterator[tuple[int, Float32[np.ndarray, "rows width"]]]:
    """Yield (first row, block) of an embedding, however it is stored."""
    if embedding.encoding == "dense":
        for start, window in dense_windows(embedding):
            yield start, window.astype(np.float32, copy=False)
        return
    blocks = CellBlocks(embedding, spill)
    try:
        for start, block in blocks:
            yield start, block.toarray()
    finally:
        blocks.close()


def _not_finite(where: str, count: int, row: int, looked_at: str = "") -> str:
    return (
        f"{where} has {count} NaN or infinite values{looked_at}, the first in row {row}; remove "
        "these cells, or embed them anew"
    )
