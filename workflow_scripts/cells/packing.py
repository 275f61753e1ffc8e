"""Convert h5ad files into the packed store, a block of rows at a time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata.io
import h5py
import numpy as np
import pandas as pd
import scipy.sparse

from workflow_scripts.cells.annotations import open_h5ad, read_barcodes, read_labels
from workflow_scripts.cells.cell_settings import CellSettings
from workflow_scripts.cells.digests import LEAST_VALUES, gene_keys, row_digests
from workflow_scripts.cells.leakage import find_twins
from workflow_scripts.cells.matrices import Matrix, find_matrix
from workflow_scripts.cells.store import ARRAYS, SCHEMA
from workflow_scripts.cells.values import Values, ValueSummary, decide_values
from workflow_scripts.settings.errors import DataError
from workflow_scripts.settings.findings import listing
from workflow_scripts.settings.finished import file_digest
from workflow_scripts.settings.slices import canonical_json, text_digest

BLOCK_VALUES = 8_000_000
"""Stored values read at once: 8 million float32 and their int64 indices are about 100 MB."""


@dataclass(frozen=True)
class _Source:
    dataset: str
    label: str
    path: str
    n_cells: int
    order: np.ndarray  # columns of X, in the order of the store's genes
    values: Values
    lengths: np.ndarray  # stored values of each row
    totals: np.ndarray  # sum of each row
    digests: np.ndarray  # of each row's content
    cells: pd.DataFrame


def pack_cells(
    datasets: Mapping[str, Mapping[str, str]], settings: CellSettings, folder: Path
) -> dict[str, Any]:
    """Write a store into ``folder`` and return its manifest (``folder`` is still to be named).

    Rows are ordered by (dataset, file, context, perturbation, batch) and, within that, as in
    their file. Raw counts are scaled to ``settings.target_sum`` a cell and log1p'd.

    Raises
    ------
    DataError
        Where a file can't be used: its values, its genes, its labels.
    """
    sources, genes = _survey(datasets, settings)
    cells = pd.concat([source.cells for source in sources], ignore_index=True)
    order = _row_order(cells)
    target_of = np.empty(len(order), dtype=np.int64)
    target_of[order] = np.arange(len(order))
    lengths = np.concatenate([source.lengths for source in sources])[order]
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    _make_room(folder, int(indptr[-1]), len(genes))
    np.save(folder / "indptr.npy", indptr)
    index_type = np.uint16 if len(genes) <= np.iinfo(np.uint16).max + 1 else np.int32
    indices = _new_array(folder / "indices.npy", index_type, int(indptr[-1]))
    values = _new_array(folder / "values.npy", np.float32, int(indptr[-1]))
    first = 0
    for source in sources:
        for start, block in _blocks(source.path, source.order, settings):
            if source.values == "counts":
                _normalise(block, source.totals[start : start + block.shape[0]], settings)
            rows = target_of[first + start : first + start + block.shape[0]]
            for row, a, b in zip(rows, block.indptr[:-1], block.indptr[1:], strict=True):
                indices[indptr[row] : indptr[row + 1]] = block.indices[a:b]
                values[indptr[row] : indptr[row + 1]] = block.data[a:b]
        first += source.n_cells
    for array in (indices, values):
        if isinstance(array, np.memmap):
            array.flush()
    _write_tables(cells.iloc[order], genes, folder)
    _write_twins(cells, sources, folder)
    return _manifest(sources, settings, folder, len(cells), len(genes))


def _survey(
    datasets: Mapping[str, Mapping[str, str]], settings: CellSettings
) -> tuple[list[_Source], np.ndarray]:
    """Read everything once: labels, row lengths, and every value checked."""
    genes = _common_genes(datasets, settings)
    sources: list[_Source] = []
    for dataset, files in datasets.items():
        for label, path in files.items():
            with open_h5ad(path) as file:
                sources.append(_survey_file(dataset, label, file, genes, settings))
            print(f"{path}: {sources[-1].n_cells} cells of {sources[-1].values}", flush=True)
    if len({source.values for source in sources}) > 1:
        counts = listing(source.path for source in sources if source.values == "counts")
        raise DataError(
            f"raw counts in {counts}, and log1p values in the other files; make them the same"
        )
    return sources, genes


def _common_genes(datasets: Mapping[str, Mapping[str, str]], settings: CellSettings) -> np.ndarray:
    """Return the store's genes: the first file's, or those of them that every file has."""
    names = []
    for files in datasets.values():
        for path in files.values():
            with open_h5ad(path) as file:
                names.append(find_matrix(file, settings.matrix).genes)
    if not names:
        raise DataError("no file to pack; see cells_audit.json of the run")
    if settings.genes == "same":
        return names[0]
    common = set(names[0]).intersection(*names[1:])
    kept: np.ndarray = names[0][[name in common for name in names[0]]]
    return kept


def _survey_file(
    dataset: str, label: str, file: h5py.File, genes: np.ndarray, settings: CellSettings
) -> _Source:
    path = str(file.filename)
    matrix = find_matrix(file, settings.matrix)
    own = matrix.genes
    fits = set(genes) <= set(own) if settings.genes == "intersection" else set(own) == set(genes)
    if not fits or len(set(own)) != len(own):
        raise DataError(f"{path}: its genes are not those of the first file; see cells_audit.json")
    position = {gene: at for at, gene in enumerate(own)}
    order = np.array([position[gene] for gene in genes], dtype=np.int64)
    labels = read_labels(file, settings.columns).astype(object)
    summary, keys = ValueSummary(), gene_keys(genes)
    lengths, totals, digests = [], [], []
    for _, block in _blocks(path, order, settings):
        lengths.append(np.diff(block.indptr))
        totals.append(summary.add_rows(block))
        digests.append(row_digests(block, keys))
    cells = labels.assign(
        dataset=dataset,
        file=label,
        is_control=labels["perturbation"] == settings.control,
        barcode=read_barcodes(file),
        source_row=np.arange(matrix.n_cells, dtype=np.int64),
        total=np.concatenate(totals),
    )
    where, all_genes = f"{path}: {matrix.place}", settings.matrix.obsm is None
    return _Source(
        dataset,
        label,
        path,
        matrix.n_cells,
        order,
        decide_values(summary, settings.values, where, all_genes=all_genes),
        np.concatenate(lengths),
        np.concatenate(totals),
        np.concatenate(digests),
        cells,
    )


def _blocks(
    path: str, order: np.ndarray, settings: CellSettings
) -> Iterator[tuple[int, scipy.sparse.csr_matrix]]:
    """Yield (first row, CSR block) of the cells, columns in the given order, no stored zeros.

    CSC has no rows to stream: it is read whole.
    """
    with open_h5ad(path) as file:
        matrix = find_matrix(file, settings.matrix)
        for start, block in _read_blocks(matrix):
            yield start, _tidy(block, order)


def _read_blocks(matrix: Matrix) -> Iterator[tuple[int, scipy.sparse.csr_matrix]]:
    node, n_cells, n_genes = matrix.node, matrix.n_cells, matrix.n_genes
    if matrix.encoding == "csc":
        yield 0, scipy.sparse.csr_matrix(anndata.io.read_elem(node))
        return
    if matrix.encoding == "dense":
        step = max(1, BLOCK_VALUES // n_genes)
        for start in range(0, n_cells, step):
            dense = np.asarray(node[start : start + step], dtype=np.float32)
            yield start, scipy.sparse.csr_matrix(dense)
        return
    indptr = np.asarray(node["indptr"], dtype=np.int64)
    start = 0
    while start < n_cells:
        stop = int(np.searchsorted(indptr, indptr[start] + BLOCK_VALUES, side="right")) - 1
        stop = min(max(stop, start + 1), n_cells)
        span = slice(int(indptr[start]), int(indptr[stop]))
        block = scipy.sparse.csr_matrix(
            (
                np.asarray(node["data"][span], dtype=np.float32),
                np.asarray(node["indices"][span]),
                indptr[start : stop + 1] - indptr[start],
            ),
            shape=(stop - start, n_genes),
        )
        yield start, block
        start = stop


def _tidy(block: scipy.sparse.csr_matrix, order: np.ndarray) -> scipy.sparse.csr_matrix:
    if len(order) < block.shape[1] or not np.array_equal(order, np.arange(len(order))):
        block = block[:, order]
    block.sum_duplicates()
    block.eliminate_zeros()
    block.data = block.data.astype(np.float32, copy=False)
    return block


def _normalise(block: scipy.sparse.csr_matrix, totals: np.ndarray, settings: CellSettings) -> None:
    scale = settings.target_sum / np.maximum(totals, 1.0)
    block.data = np.log1p(block.data * np.repeat(scale, np.diff(block.indptr))).astype(np.float32)


def _row_order(cells: pd.DataFrame) -> np.ndarray:
    keys = ["dataset", "file", "context", "perturbation", "batch", "source_row"]
    return cells.sort_values(keys, kind="stable").index.to_numpy()


def _make_room(folder: Path, n_values: int, n_genes: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    needed = n_values * (4 + (2 if n_genes <= 65536 else 4))
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{folder}: packing needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; "
            "make room, or set cache_dir to another disk"
        )


def _new_array(path: Path, kind: Any, length: int) -> np.ndarray:
    # A memory map can't be empty.
    if length == 0:
        np.save(path, np.empty(0, dtype=kind))
        empty: np.ndarray = np.load(path)
        return empty
    array: np.ndarray = np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=(length,))
    return array


def _write_tables(cells: pd.DataFrame, genes: np.ndarray, folder: Path) -> None:
    table = cells.reset_index(drop=True)
    names = ["dataset", "file", "context", "perturbation", "batch"]
    table = table.astype(dict.fromkeys(names, "category"))
    table[[*names, "is_control", "barcode", "source_row", "total"]].to_parquet(
        folder / "cells.parquet", index=False
    )
    pd.DataFrame({"gene": genes.astype(str)}).to_parquet(folder / "genes.parquet", index=False)


def _write_twins(cells: pd.DataFrame, sources: Sequence[_Source], folder: Path) -> None:
    """Write down the cells that have one content: what held-out cells may leak through."""
    names = ["dataset", "file", "context", "perturbation", "barcode", "source_row"]
    digests = np.concatenate([source.digests for source in sources])
    lengths = np.concatenate([source.lengths for source in sources])
    twins = find_twins([cells[names].assign(digest=digests)[lengths >= LEAST_VALUES]])
    twins.to_parquet(folder / "twins.parquet", index=False)


def _manifest(
    sources: Sequence[_Source], settings: CellSettings, folder: Path, n_cells: int, n_genes: int
) -> dict[str, Any]:
    names = [f"{name}.npy" for name in ARRAYS] + ["cells.parquet", "genes.parquet", "twins.parquet"]
    digests = {name: file_digest(folder / name) for name in names}
    return {
        "digest": text_digest(canonical_json(digests)),
        "schema": SCHEMA,
        "n_cells": n_cells,
        "n_genes": n_genes,
        "control": settings.control,
        "target_sum": settings.target_sum,
        "files": {
            name: {"bytes": (folder / name).stat().st_size, "sha256": digest}
            for name, digest in digests.items()
        },
        "sources": [
            {
                "dataset": source.dataset,
                "label": source.label,
                "file": source.path,
                "bytes": Path(source.path).stat().st_size,
                "n_cells": source.n_cells,
                "values": source.values,
            }
            for source in sources
        ],
    }


def write_manifest(manifest: Mapping[str, Any], path: Path) -> None:
    """Write a manifest as JSON."""
    path.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
