"""Read what an h5ad file says of its cells and genes, without reading the cells."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import anndata.io
import h5py
import numpy as np
import pandas as pd

from workflow_scripts.settings.errors import DataError
from workflow_scripts.settings.findings import listing

Encoding = Literal["csr", "csc", "dense"]


@dataclass(frozen=True)
class Columns:
    """Which obs column holds what."""

    perturbation: str
    context: str
    batch: str

    def items(self) -> tuple[tuple[str, str, str], ...]:
        """Return (meaning, config key, column) of each."""
        return (
            ("perturbation", "data.kwargs.pert_col", self.perturbation),
            ("context", "data.kwargs.cell_type_key", self.context),
            ("batch", "data.kwargs.batch_col", self.batch),
        )


def open_h5ad(path: str) -> h5py.File:
    """Open an h5ad file for reading; DataError where it is none."""
    if not Path(path).is_file():
        raise DataError(
            f"{path}: no such file; it is named by the split file's [datasets] or by "
            f"cells.datasets, relative to {Path.cwd()}"
        )
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path}: not a readable h5ad (HDF5) file: {error}") from error
    missing = [name for name in ("X", "obs", "var") if name not in file]
    if missing:
        file.close()
        raise DataError(f"{path}: not an h5ad file: it has no {', '.join(missing)}")
    return file


def matrix_shape(file: h5py.File) -> tuple[int, int]:
    """Return (cells, genes) of X."""
    matrix = file["X"]
    n_cells, n_genes = matrix.shape if isinstance(matrix, h5py.Dataset) else matrix.attrs["shape"]
    return int(n_cells), int(n_genes)


def matrix_encoding(file: h5py.File) -> Encoding:
    """Return how X is stored; DataError for anything but CSR, CSC and dense."""
    matrix = file["X"]
    if isinstance(matrix, h5py.Dataset):
        return "dense"
    encoding = str(matrix.attrs.get("encoding-type", ""))
    if encoding == "csr_matrix":
        return "csr"
    if encoding == "csc_matrix":
        return "csc"
    raise DataError(
        f"{file.filename}: X is stored as {encoding or 'something unknown'}; "
        "write it anew with a current anndata, as CSR, CSC or dense"
    )


def read_genes(file: h5py.File) -> np.ndarray:
    """Return gene names [n_genes]: ``var["gene_name"]``, or else the index of var."""
    var = file["var"]
    column = "gene_name" if "gene_name" in var else var.attrs.get("_index", "_index")
    return _strings(file, "var", str(column))


def read_barcodes(file: h5py.File) -> np.ndarray:
    """Return the cells' names [n_cells], the index of obs."""
    return _strings(file, "obs", str(file["obs"].attrs.get("_index", "_index")))


def read_labels(file: h5py.File, columns: Columns) -> pd.DataFrame:
    """Return the labels of every cell: columns perturbation, context, batch, as text.

    Raises
    ------
    DataError
        For the first column that obs lacks (with the nearest names) or that has missing values
        (with their number and first rows).
    """
    return pd.DataFrame(
        {meaning: read_column(file, key, column) for meaning, key, column in columns.items()}
    )


def read_column(file: h5py.File, key: str, column: str) -> np.ndarray:
    """Return one obs column as text [n_cells]; ``key`` is the config key that names it."""
    obs = file["obs"]
    there = [str(name) for name in obs.attrs.get("column-order", [])]
    if column not in there:
        close = difflib.get_close_matches(column, there, n=1, cutoff=0.5)
        hint = f" did you mean {close[0]!r}?" if close else ""
        raise DataError(
            f"{file.filename}: obs has no column {column!r} (it has {listing(there)});{hint} "
            f"set {key}"
        )
    _refuse_legacy(file, "obs", column)
    values = pd.Series(anndata.io.read_elem(obs[column]))
    missing = np.flatnonzero(values.isna().to_numpy())
    if missing.size:
        raise DataError(
            f"{file.filename}: obs column {column!r} ({key}) has {missing.size} missing values, "
            f"first in rows {listing(missing[:5])}; label these cells or remove them"
        )
    return np.asarray(values.astype(str), dtype=object)


def duplicates(names: Sequence[Any] | np.ndarray) -> list[str]:
    """Return the names that occur more than once, in order of first occurrence."""
    series = pd.Series(names)
    return [str(name) for name in series[series.duplicated()].unique()]


def _refuse_legacy(file: h5py.File, group: str, column: str) -> None:
    """Refuse columns of anndata before 0.8: read plainly, labels are each file's own codes."""
    element = file[group]
    if not isinstance(element, h5py.Group) or "categories" in element[column].attrs:
        raise DataError(
            f"{file.filename}: {group} column {column!r} is stored as anndata before 0.8 did it; "
            "write the file anew: anndata.read_h5ad(path).write_h5ad(path)"
        )


def _strings(file: h5py.File, group: str, column: str) -> np.ndarray:
    try:
        _refuse_legacy(file, group, column)
        values = anndata.io.read_elem(file[group][column])
    except KeyError as error:
        raise DataError(
            f"{file.filename}: {group} has no index; write the file anew with a current anndata"
        ) from error
    return np.asarray(pd.Series(values).astype(str), dtype=object)
