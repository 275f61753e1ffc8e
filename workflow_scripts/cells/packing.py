"""Convert h5ad files into the packed store, a block of rows at a time."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
from tqdm import tqdm

from workflow_scripts.cache.digests import file_digest
from workflow_scripts.cells.annotations import open_h5ad
from workflow_scripts.cells.blocks import CellBlocks
from workflow_scripts.cells.cell_settings import CellSettings
from workflow_scripts.cells.digests import LEAST_VALUES, gene_keys, row_digests
from workflow_scripts.cells.embeddings import pack_embedding
from workflow_scripts.cells.leakage import find_twins
from workflow_scripts.cells.manifest import EMBEDDING, FILES, SCHEMA, store_digest
from workflow_scripts.cells.matrices import find_matrix
from workflow_scripts.cells.sources import Source, decide, plan_sources
from workflow_scripts.cells.store_writing import StoreWriter
from workflow_scripts.cells.values import ValueSummary
from workflow_scripts.errors import NO_ROOM, DataError
from workflow_scripts.settings.findings import size

_KEYS = ["dataset", "file", "context", "perturbation", "batch"]


class _TooLargeError(Exception):
    """A count does not fit the type that was chosen."""


def pack_cells(
    datasets: Mapping[str, Mapping[str, str]], settings: CellSettings, folder: Path
) -> dict[str, Any]:
    """Write a store into ``folder`` and return its manifest (``folder`` is still to be named).

    Rows are ordered by (dataset, file, context, perturbation, batch) and, within that, as in
    their file. Counts are stored as they are, and scaled to ``settings.target_sum`` a cell and
    log1p'd when they are read; log1p values are stored as they are.

    Raises
    ------
    DataError
        Where a file can't be used: its values, its genes, its labels; or the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sources, genes = plan_sources(datasets, settings, folder)
    cells = pd.concat([source.cells for source in sources], ignore_index=True)
    order = _row_order(cells)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    room = np.concatenate([source.lengths for source in sources])[order]
    counts = sources[0].values == "counts"
    value_type = np.dtype(np.uint16 if counts else np.float32)
    with _full_disk_in_words(folder, _bytes_needed(sources, len(genes), value_type)):
        if settings.embedding is not None:
            files = [(source.path, source.n_cells) for source in sources]
            pack_embedding(files, settings.embedding, place, sources[0].embedding_dim, folder)
        try:
            _write(sources, genes, place, room, value_type, settings, folder)
        except _TooLargeError:
            value_type = np.dtype(np.uint32)
            _write(sources, genes, place, room, value_type, settings, folder)
        cells["total"] = np.concatenate([source.total for source in sources])
        _write_tables(cells.iloc[order], genes, folder)
        _write_twins(cells, sources, folder)
    return _manifest(sources, settings, folder, len(cells), len(genes), value_type)


def _write(
    sources: Sequence[Source],
    genes: np.ndarray,
    place: np.ndarray,
    room: np.ndarray,
    value_type: np.dtype,
    settings: CellSettings,
    folder: Path,
) -> None:
    """Write the arrays; of every cell note its sum and digest."""
    keys, first = gene_keys(genes), 0
    bar = tqdm(
        total=int(room.sum()), unit=" values", unit_scale=True, mininterval=2.0, file=sys.stdout
    )
    with bar, StoreWriter(folder, room, _index_type(len(genes)), value_type) as writer:
        for source in sources:
            summary = ValueSummary()
            for start, block in _blocks(source, settings, folder):
                stop = start + block.shape[0]
                source.total[start:stop] = summary.add_rows(block)
                source.digest[start:stop] = row_digests(block, keys)
                if value_type.kind == "u":
                    _check_counts(block.data, value_type, source.path)
                writer.write(place[first + start : first + stop], block)
                bar.update(int(source.lengths[start:stop].sum()))
            if decide(summary, source.path, settings) != source.values:
                raise DataError(
                    f"{source.path}: a sample of its values are {source.values}, and others are "
                    "not; give raw counts or log1p values throughout"
                )
            first += source.n_cells
        writer.finish()


def _blocks(
    source: Source, settings: CellSettings, folder: Path
) -> Iterator[tuple[int, scipy.sparse.csr_matrix]]:
    """Yield (first row, block) of a source, its columns in the order of the store's genes."""
    with open_h5ad(source.path) as file:
        matrix = find_matrix(file, settings.matrix)
        as_it_is = np.array_equal(source.order, np.arange(matrix.n_genes))
        blocks = CellBlocks(matrix, folder / "dealt")
        try:
            for start, block in blocks:
                yield start, block if as_it_is else _sorted(block[:, source.order])
        finally:
            blocks.close()


def _sorted(block: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    block.sort_indices()
    return block


def _check_counts(values: np.ndarray, kind: np.dtype, path: str) -> None:
    """Refuse what the store's type of counts can't hold as it is."""
    if not values.size:
        return
    if not np.isfinite(values).all() or (values < 0).any() or (values != np.rint(values)).any():
        raise DataError(
            f"{path}: a sample of its values are counts, and others are not; give raw counts or "
            "log1p values throughout"
        )
    if float(values.max()) > np.iinfo(kind).max:
        if kind.itemsize == 4:
            raise DataError(
                f"{path}: one of its values is {values.max():g}, more than a cell has counts; give "
                "raw counts or log1p values"
            )
        raise _TooLargeError


def _bytes_needed(sources: Sequence[Source], n_genes: int, value_type: np.dtype) -> int:
    """Return what the arrays of a store take, and beside them what is dealt out of one source."""
    a_value = value_type.itemsize + _index_type(n_genes).itemsize
    arrays = sum(
        a_value * int(source.lengths.sum()) + 4 * source.n_cells * source.embedding_dim
        for source in sources
    )
    return arrays + max(source.dealt_bytes for source in sources)


def _index_type(n_genes: int) -> np.dtype:
    return np.dtype(np.uint16 if n_genes <= np.iinfo(np.uint16).max + 1 else np.int32)


@contextmanager
def _full_disk_in_words(folder: Path, needed: int) -> Iterator[None]:
    free = shutil.disk_usage(folder).free
    text = f"{folder}: packing needs about {size(needed)}"
    way = "make room, or set cache_dir to another disk"
    if needed > free:
        raise DataError(f"{text}, {size(free)} are free; {way}")
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise DataError(f"{text}, and the disk is full; {way}") from error


def _row_order(cells: pd.DataFrame) -> np.ndarray:
    """Return the rows in the store's order; equal ones stay as they were in their file."""
    codes = [pd.factorize(cells[name], sort=True)[0] for name in _KEYS]
    return np.lexsort([cells["source_row"].to_numpy(), *codes[::-1]])


def _write_tables(cells: pd.DataFrame, genes: np.ndarray, folder: Path) -> None:
    table = cells.reset_index(drop=True).astype(dict.fromkeys(_KEYS, "category"))
    table[[*_KEYS, "is_control", "barcode", "source_row", "total"]].to_parquet(
        folder / "cells.parquet", index=False
    )
    pd.DataFrame({"gene": genes.astype(str)}).to_parquet(folder / "genes.parquet", index=False)


def _write_twins(cells: pd.DataFrame, sources: Sequence[Source], folder: Path) -> None:
    """Write down the cells that have one content: what held-out cells may leak through."""
    names = ["dataset", "file", "context", "perturbation", "barcode", "source_row"]
    digests = np.concatenate([source.digest for source in sources])
    lengths = np.concatenate([source.lengths for source in sources])
    twins = find_twins([cells[names].assign(digest=digests)[lengths >= LEAST_VALUES]])
    twins.to_parquet(folder / "twins.parquet", index=False)


def _manifest(
    sources: Sequence[Source],
    settings: CellSettings,
    folder: Path,
    n_cells: int,
    n_genes: int,
    value_type: np.dtype,
) -> dict[str, Any]:
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": file_digest(folder / name)}
        for name in (*FILES, *([] if settings.embedding is None else [EMBEDDING]))
    }
    embedding = {} if settings.embedding is None else {"embedding": settings.embedding}
    return {
        "digest": store_digest(files, settings.target_sum, settings.embedding),
        "schema": SCHEMA,
        "n_cells": n_cells,
        "n_genes": n_genes,
        "control": settings.control,
        "holds": "counts" if value_type.kind == "u" else "log1p",
        "target_sum": settings.target_sum,
        **embedding,
        "files": files,
        "sources": [
            {
                "dataset": source.dataset,
                "label": source.label,
                "file": source.path,
                "n_cells": source.n_cells,
                "values": source.values,
            }
            for source in sources
        ],
    }
