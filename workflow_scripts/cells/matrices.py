"""The matrix that is read of an h5ad file (X, a layer, or genes chosen in obsm), and its genes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import h5py
import numpy as np
from jaxtyping import Int64, Integer

from workflow_scripts.cells.annotations import DAMAGED, as_text, read_names, reading
from workflow_scripts.errors import DataError
from workflow_scripts.settings.findings import listing
from workflow_scripts.settings.suggestions import nearest

Encoding = Literal["csr", "csc", "dense"]


@dataclass(frozen=True)
class MatrixChoice:
    """Which matrix of a file holds the cells.

    Attributes
    ----------
    layer
        Name of a layer, or None: X.
    obsm
        Name of a matrix of obsm, whose columns are some of the genes; None where it is X or a
        layer.
    gene_names
        Column of var with the genes' names, or ``index``; None is ``gene_name``, or the index
        where there is none.
    """

    layer: str | None = None
    obsm: str | None = None
    gene_names: str | None = None

    @property
    def place(self) -> str:
        """Path of the matrix inside the file."""
        if self.obsm is not None:
            return f"obsm/{self.obsm}"
        return "X" if self.layer is None else f"layers/{self.layer}"

    @property
    def key(self) -> str:
        """Config key that names it."""
        return "cells.layer" if self.obsm is None else "data.kwargs.embed_key"


@dataclass(frozen=True)
class Matrix:
    """A matrix of an open file, before any value is read.

    Attributes
    ----------
    node
        Where it lies.
    encoding
        How it is stored.
    n_cells, n_genes
        Its shape.
    genes
        Names of its columns [n_genes].
    place
        Path inside the file, for messages.

    Raises
    ------
    DataError
        Where what is stored can't be a sparse matrix of this shape.
    """

    node: h5py.Group | h5py.Dataset
    encoding: Encoding
    n_cells: int
    n_genes: int
    genes: np.ndarray
    place: str

    def __post_init__(self) -> None:
        if self.encoding == "dense":
            return
        if missing := [name for name in ("data", "indices", "indptr") if name not in self.node]:
            raise DataError(
                f"{self.node.file.filename}: {self.place} has no {', '.join(missing)}; {DAMAGED}"
            )
        parts, what = (
            (self.n_cells, "rows") if self.encoding == "csr" else (self.n_genes, "columns")
        )
        with reading(self.node.file, self.place):
            n_values, indptr = len(self.node["data"]), self.indptr
            ends = (len(indptr), indptr[0], indptr[-1], len(self.node["indices"]))
        if ends != (parts + 1, 0, n_values, n_values) or (np.diff(indptr) < 0).any():
            raise DataError(
                f"{self.node.file.filename}: the indptr of {self.place} doesn't part its "
                f"{n_values} values into {parts} {what}; {DAMAGED}"
            )

    @property
    def indptr(self) -> Int64[np.ndarray, " rows_or_columns_plus_one"]:
        """Where the values of each cell (CSR) or gene (CSC) begin."""
        return np.asarray(self.node["indptr"], dtype=np.int64)

    def indices(self, span: slice) -> Integer[np.ndarray, " values"]:
        """Read the genes (CSR) or cells (CSC) of some stored values.

        Raises
        ------
        DataError
            Where one isn't there: compiled code, scipy's too, would write beside its arrays.
        """
        found: np.ndarray = self.node["indices"][span]
        what, there = ("gene", self.n_genes) if self.encoding == "csr" else ("cell", self.n_cells)
        if found.size and (found.min() < 0 or found.max() >= there):
            wrong = found[(found < 0) | (found >= there)][0]
            raise DataError(
                f"{self.node.file.filename}: {self.place} has a value of {what} number {wrong}, "
                f"and there are {there}, counted from 0; {DAMAGED}"
            )
        return found


def find_matrix(file: h5py.File, choice: MatrixChoice) -> Matrix:
    """Find the matrix that holds the cells.

    Raises
    ------
    DataError
        Where it is missing, stored in an unknown way, empty or damaged, or its columns have no
        names.
    """
    place = choice.place
    node, encoding, shape = find_node(file, place, choice.key)
    genes = _genes(file, choice.gene_names)
    if choice.obsm is not None:
        genes = _chosen_genes(file, choice.obsm, genes, shape[1])
    if len(genes) != shape[1]:
        raise DataError(
            f"{file.filename}: {place} has {shape[1]} columns, and var names {len(genes)} genes; "
            "write the file anew with a current anndata"
        )
    return Matrix(node, encoding, *shape, genes, place)


def find_node(
    file: h5py.File, place: str, key: str
) -> tuple[h5py.Group | h5py.Dataset, Encoding, tuple[int, int]]:
    """Find a matrix of an open file: where it lies, how it is stored, its shape.

    Parameters
    ----------
    file
        The file.
    place
        Path inside it.
    key
        Config key that names it, for messages.

    Raises
    ------
    DataError
        Where it is missing, stored in an unknown way, or empty.
    """
    if place not in file:
        folder, _, name = place.rpartition("/")
        there = list(file[folder]) if folder in file else []
        way = f"there is no {place}{nearest(name, there)} (set {key})"
        plain = f"not an h5ad file: it has no X{other_matrices(file, place)}"
        raise DataError(f"{file.filename}: {way if folder else plain}")
    with reading(file, place):
        node = file[place]
        encoding, shape = _encoding(node, place), _shape(node)
    if 0 in shape:
        raise DataError(f"{file.filename}: {place} is empty ({shape[0]} cells, {shape[1]} columns)")
    return node, encoding, shape


def other_matrices(file: h5py.File, place: str) -> str:
    """Say which other matrices of a file may hold its values, and how they are read."""
    layers = [name for name in file.get("layers", ()) if f"layers/{name}" != place]
    ways = [f"layer {name!r} (set cells.layer={name})" for name in layers]
    if "raw/X" in file:
        ways.append("adata.raw (write it as X: adata.raw.to_adata().write_h5ad(path))")
    return f"; there is also {listing(ways, 4)}" if ways else ""


def _shape(node: h5py.Group | h5py.Dataset) -> tuple[int, int]:
    n_cells, n_genes = node.shape if isinstance(node, h5py.Dataset) else node.attrs["shape"]
    return int(n_cells), int(n_genes)


def _encoding(node: h5py.Group | h5py.Dataset, place: str) -> Encoding:
    if isinstance(node, h5py.Dataset) and node.ndim == 2:
        return "dense"
    encoding = as_text(node.attrs.get("encoding-type", ""))
    if encoding == "csr_matrix":
        return "csr"
    if encoding == "csc_matrix":
        return "csc"
    if encoding == "dataframe":
        raise DataError(
            f"{node.file.filename}: {place} is a table (a pandas DataFrame); make it a matrix, "
            "with .to_numpy(), and write the file anew"
        )
    raise DataError(
        f"{node.file.filename}: {place} is stored as {encoding or 'something unknown'}; "
        "write it anew with a current anndata, as CSR, CSC or a dense matrix"
    )


def _genes(file: h5py.File, column: str | None) -> np.ndarray:
    var = file["var"]
    if column is None:
        column = "gene_name" if "gene_name" in var else "index"
    if column == "index":
        column = as_text(var.attrs.get("_index", "_index"))
    elif column not in var:
        there = [as_text(name) for name in var.attrs.get("column-order", [])]
        raise DataError(
            f"{file.filename}: var has no column {column!r}{nearest(column, [*there, 'index'])}; "
            "set cells.gene_names"
        )
    return read_names(file, "var", column)


def _chosen_genes(file: h5py.File, name: str, genes: np.ndarray, width: int) -> np.ndarray:
    """Return the names of the columns of an obsm matrix: they lie beside it, or in var.

    A matrix doesn't say which genes its columns are, and a guess would train and score genes under
    others' names.
    """
    lists = [f"uns/{name}_names", "uns/hvg_names"]
    for place in lists:
        if place in file and isinstance(file[place], h5py.Dataset) and len(file[place]) == width:
            return np.asarray(file[place].asstr()[:], dtype=object)
    marks = file["var"].get("highly_variable")
    if isinstance(marks, h5py.Dataset):
        chosen = np.asarray(marks[:]).astype(bool)
        if chosen.sum() == width:
            return np.asarray(genes[chosen], dtype=object)
    raise DataError(
        f"{file.filename}: obsm/{name} has {width} columns, and nothing says which genes they are; "
        f"put their names into {listing((f'uns[{p[4:]!r}]' for p in lists), 2)}, or mark that many "
        "genes in var['highly_variable'], in the matrix's order"
    )
