"""Read names and vectors from tables: npz, Parquet, CSV and AnnData. None of them can run code."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import anndata.io
import h5py
import numpy as np
import pandas as pd
import scipy.sparse

from workflow_scripts.settings.errors import DataError
from workflow_scripts.settings.findings import listing

Entry = tuple[object, object]
"""A name and its vector as a file holds them: neither has been checked."""


def read_npz(path: Path) -> list[Entry]:
    """Read an npz: an array a name, or one array of names and one matrix [names, dimension]."""
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: not a readable npz file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except ValueError as error:
        raise DataError(
            f"{path}: refused, since it holds Python objects, which could run code ({error}); "
            "save names as text: np.savez(path, names=names.astype(str), matrix=matrix)"
        ) from error
    texts = [key for key, array in arrays.items() if array.dtype.kind in "US" and array.ndim == 1]
    others = [key for key in arrays if key not in texts]
    if not texts:
        return list(arrays.items())
    if len(texts) == 1 and len(others) == 1:
        return _rows(path, arrays[texts[0]].tolist(), arrays[others[0]])
    raise DataError(
        f"{path}: holds the arrays {listing(arrays)}; it must hold an array a name, or one array "
        "of names and one matrix with a row for each"
    )


def read_parquet(path: Path) -> list[Entry]:
    """Read a Parquet table: names in its index or first column; numbers, or one list column."""
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable Parquet file: {error}") from error
    return _table(path, table)


def read_csv(path: Path, separator: str) -> list[Entry]:
    """Read a text table with a header: names in the first column, numbers in the others.

    A name such as ``NA`` stays a name.
    """
    try:
        first = pd.read_csv(path, sep=separator, nrows=0).columns
        names = pd.read_csv(
            path, sep=separator, usecols=[0], dtype=str, keep_default_na=False, index_col=False
        )
        # float64 as the text has it; a column that is no number stays text, and is refused.
        numbers = pd.read_csv(path, sep=separator, usecols=range(1, len(first)), index_col=False)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: not a readable table: {error}; it needs a header, names in the first "
            "column and a column for each dimension"
        ) from error
    numbers = numbers.astype(
        {column: np.float64 for column in numbers if numbers[column].dtype.kind in "iu"}
    )
    return _table(path, numbers.set_index(names.iloc[:, 0]))


def read_h5ad(path: Path) -> list[Entry]:
    """Read an AnnData file: obs_names are the names, the rows of X their vectors."""
    try:
        with h5py.File(path, "r") as file:
            names = pd.Index(anndata.io.read_elem(file["obs"]).index)
            matrix = anndata.io.read_elem(file["X"])
    except (OSError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a readable h5ad file: {error}") from error
    if scipy.sparse.issparse(matrix):
        matrix = matrix.toarray()
    return _rows(path, names.tolist(), np.asarray(matrix))


def _table(path: Path, table: pd.DataFrame) -> list[Entry]:
    if isinstance(table.index, pd.RangeIndex):
        if table.shape[1] == 0:
            raise DataError(f"{path}: the table has no column")
        table = table.set_index(table.columns[0])
    names = table.index.tolist()
    if table.shape[1] == 1 and all(isinstance(value, np.ndarray) for value in table.iloc[:, 0]):
        return list(zip(names, table.iloc[:, 0], strict=True))
    if text := [str(column) for column in table if table[column].dtype.kind not in "iuf"]:
        raise DataError(
            f"{path}: the columns {listing(text, 5)} hold something other than numbers; names "
            "belong in the index or the first column, and all other columns are dimensions"
        )
    return _rows(path, names, table.to_numpy())


def _rows(path: Path, names: list[Any], matrix: np.ndarray) -> list[Entry]:
    if matrix.ndim != 2 or len(matrix) != len(names):
        raise DataError(
            f"{path}: {len(names)} names, and a matrix of shape {list(matrix.shape)}; it must "
            "have a row for each name"
        )
    return list(zip(names, matrix, strict=True))
