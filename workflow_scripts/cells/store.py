"""The packed store: all cells of a run, memory-mapped, in an order that makes groups spans.

A store is a folder of numpy's own ``.npy`` files (indptr int64, indices uint16 or int32, values,
and where one is asked for the float32 embedding of each cell), Parquet tables of cells and genes,
and a JSON manifest with the digest of each. Values are raw counts (uint16 or uint32), which become
log1p of normalised counts when they are read, or float32 where the source came as log1p values. It
is opened through its manifest, which may lie outside the folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
from jaxtyping import Float32, Float64, Int32, Int64

from workflow_scripts.cells.gather import gather_counts, gather_stored, gather_values
from workflow_scripts.cells.gene_names import check_genes
from workflow_scripts.cells.manifest import ARRAYS, EMBEDDING, Manifest
from workflow_scripts.errors import DataError

CELL_COLUMNS = ("dataset", "file", "context", "perturbation", "batch", "is_control")
"""Columns of the table of cells that name things; source_row and total stand beside them."""


@dataclass(frozen=True)
class CellStore:
    """Packed cells, open for reading.

    Attributes
    ----------
    genes
        Names of the genes that are read [n_genes], in the store's order: all of them, unless some
        were selected.
    indptr, indices, values
        CSR arrays, memory-mapped.
    manifest
        What the store says of itself.
    path
        Of the manifest.
    folder
        Where its files lie.
    columns
        Where genes were selected, the place of each packed gene among them, -1 where it isn't one.
    embedding
        Embedding of each cell, memory-mapped [n_cells, width]; None where none was packed.
    """

    genes: np.ndarray
    indptr: np.ndarray
    indices: np.ndarray
    values: np.ndarray
    manifest: dict[str, Any]
    path: Path
    folder: Path
    columns: Int32[np.ndarray, " packed_genes"] | None = None
    embedding: Float32[np.ndarray, "cells width"] | None = None

    @classmethod
    def open(cls, path: Path) -> CellStore:
        """Open a store by its manifest; what labels its cells is read when it is asked for.

        Raises
        ------
        DataError
            Where the manifest can't be used, or a file is missing or isn't what was packed.
        """
        manifest = Manifest.read(path.absolute())
        for fault in manifest.faults():
            raise DataError(f"{fault}; {manifest.remedy}")
        folder = manifest.folder
        indptr, indices, values = (
            np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS
        )
        genes = cls.read_genes(folder)
        holds = "counts" if values.dtype.kind == "u" else "log1p"
        found = {"n_cells": len(indptr) - 1, "n_genes": len(genes), "holds": holds}
        for key, there in found.items():
            if (said := manifest.content[key]) != there:
                raise DataError(
                    f"{path}: {key} is {said}, and its files hold {there}; it was edited; "
                    f"{manifest.remedy}"
                )
        return cls(
            *(genes, indptr, indices, values),
            *(manifest.content, manifest.path, folder),
            embedding=None
            if manifest.content.get("embedding") is None
            else np.load(folder / EMBEDDING, mmap_mode="r"),
        )

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row a cell, in the store's order.

        `CELL_COLUMNS`, ``source_row`` (row in its file) and ``total`` (sum of the source row:
        counts, or log1p values).
        """
        return self._columns(*CELL_COLUMNS, "source_row", "total")

    @cached_property
    def barcodes(self) -> np.ndarray:
        """Name of each cell in its file [n_cells].

        Apart from the rest: most of the table's bytes are names that few ask for.
        """
        return self._columns("barcode")["barcode"].to_numpy()

    @cached_property
    def scales(self) -> Float64[np.ndarray, " cells"] | None:
        """What the counts of each cell are multiplied by before log1p [n_cells].

        None where the values are log1p values already.
        """
        if self.manifest["holds"] != "counts":
            return None
        totals = self._columns("total")["total"].to_numpy(np.float64)
        scales: np.ndarray = self.manifest["target_sum"] / np.maximum(totals, 1.0)
        return scales

    def _columns(self, *names: str) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "cells.parquet", columns=list(names))

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.indptr) - 1

    @property
    def n_genes(self) -> int:
        """Number of genes that are read."""
        return len(self.genes)

    @property
    def embedding_name(self) -> str | None:
        """Name of the embedding in obsm; None where none was packed."""
        name: str | None = self.manifest.get("embedding")
        return name

    @property
    def embedding_dim(self) -> int | None:
        """Width of the embedding; None where none was packed."""
        return None if self.embedding is None else self.embedding.shape[1]

    def select(self, names: Sequence[str]) -> CellStore:
        """Return a view of the same cells that reads these genes alone, in the store's order.

        Values stay as they are: counts are scaled by the sum over all genes of their cell.

        Raises
        ------
        DataError
            Where the store lacks a gene, one is named twice, or none is named.
        """
        check_genes(names, self.genes, str(self.path))
        return self.in_order(list(self.genes[pd.Index(self.genes).isin(names)]))

    def in_order(self, names: Sequence[str]) -> CellStore:
        """Return a view of the same cells that reads these genes alone, in the order given.

        Raises
        ------
        DataError
            As `select` does.
        """
        check_genes(names, self.genes, str(self.path))
        if list(names) == list(self.genes):
            return self
        columns = np.full(self.manifest["n_genes"], -1, dtype=np.int32)
        columns[self._packed_places[pd.Index(self.genes).get_indexer(list(names))]] = np.arange(
            len(names)
        )
        return replace(self, genes=np.array(names, dtype=object), columns=columns)

    @property
    def _packed_places(self) -> Int64[np.ndarray, " genes"]:
        """Place of each gene that is read among the packed ones."""
        if self.columns is None:
            return np.arange(self.n_genes)
        read = np.flatnonzero(self.columns >= 0)
        return read[np.argsort(self.columns[read])]

    @staticmethod
    def read_genes(folder: Path) -> np.ndarray:
        """Return the gene names of the store in a folder [n_genes]."""
        return pd.read_parquet(folder / "genes.parquet")["gene"].to_numpy(dtype=object)

    def twins(self) -> pd.DataFrame:
        """Return the cells whose content another one has too, columns `leakage.TWIN_COLUMNS`."""
        return pd.read_parquet(self.folder / "twins.parquet")

    @property
    def largest_value(self) -> float | None:
        """Largest log1p value that a cell can have: all of its counts in one gene.

        None where a source came as log1p values: what it was normalised to isn't known.
        """
        if any(source["values"] != "counts" for source in self.manifest["sources"]):
            return None
        return float(np.log1p(self.manifest["target_sum"]))

    def dense(
        self,
        rows: Int64[np.ndarray, " rows"],
        out: Float32[np.ndarray, "rows genes"] | None = None,
    ) -> Float32[np.ndarray, "rows genes"]:
        """Return rows of the store as a dense matrix of log1p values.

        Parameters
        ----------
        rows
            Their numbers.
        out
            Where to write them; a new matrix if None.
        """
        if out is None:
            out = np.empty((len(rows), self.n_genes), dtype=np.float32)
        rows = np.ascontiguousarray(rows, np.int64)
        if self.scales is None:
            gather_values(self.indptr, self.indices, self.values, rows, out, self.columns)
        else:
            gather_counts(
                self.indptr, self.indices, self.values, self.scales, rows, out, self.columns
            )
        return out

    def embedded(
        self,
        rows: Int64[np.ndarray, " rows"],
        out: Float32[np.ndarray, "rows width"] | None = None,
    ) -> Float32[np.ndarray, "rows width"]:
        """Return rows of the embedding, written to ``out`` or to a new matrix.

        Raises
        ------
        ValueError
            Where none was packed.
        """
        if self.embedding is None:
            raise ValueError(f"{self.path}: no embedding was packed")
        if out is None:
            out = np.empty((len(rows), self.embedding.shape[1]), dtype=np.float32)
        # Numpy copies the rows outside the interpreter's lock; with mode="raise", through a buffer.
        np.take(self.embedding, rows, axis=0, out=out, mode="clip")
        return out

    def lengths(self, rows: Int64[np.ndarray, " rows"]) -> Int64[np.ndarray, " rows"]:
        """Return how many values are stored of each row, of genes that aren't selected too."""
        return np.asarray(self.indptr[rows + 1] - self.indptr[rows])

    def copy_stored(
        self,
        rows: Int64[np.ndarray, " rows"],
        starts: Int64[np.ndarray, " rows"],
        indices: np.ndarray,
        values: np.ndarray,
    ) -> None:
        """Copy rows as they are stored into arrays of the store's types, each to its start."""
        rows = np.ascontiguousarray(rows, np.int64)
        gather_stored(self.indptr, self.indices, self.values, rows, starts, indices, values)

    def sparse(self, rows: Int64[np.ndarray, " rows"]) -> scipy.sparse.csr_matrix:
        """Return rows of the store as a CSR matrix of log1p values."""
        stored = self.stored(rows)
        if self.scales is not None:
            scale = np.repeat(self.scales[rows], np.diff(stored.indptr))
            stored.data = np.log1p(stored.data * scale).astype(np.float32)
        return stored

    def stored(self, rows: Int64[np.ndarray, " rows"]) -> scipy.sparse.csr_matrix:
        """Return rows of the store as they are stored, counts or log1p values."""
        lengths = self.lengths(rows)
        starts = np.asarray(self.indptr)[rows]
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        at = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], lengths)
        stored = scipy.sparse.csr_matrix(
            (self.values[at], self.indices[at].astype(np.int32), indptr),
            shape=(len(rows), self.manifest["n_genes"]),
        )
        return stored if self.columns is None else stored[:, self._packed_places]

    def mean(self, rows: Int64[np.ndarray, " rows"]) -> np.ndarray:
        """Return the mean profile of some rows [n_genes], float64, 4,096 rows at a time."""
        total = np.zeros(self.n_genes, dtype=np.float64)
        for start in range(0, len(rows), 4096):
            total += self.dense(rows[start : start + 4096]).sum(axis=0, dtype=np.float64)
        return total / max(len(rows), 1)
