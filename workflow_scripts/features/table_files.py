"""Read names and vectors from tables: npz, Parquet and AnnData. None of them can run code."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import anndata.io
import h5py
import numpy as np
import pandas as pd
import scipy.sparse

from workflow_scripts.errors import DataError
from workflow_scripts.settings.findings import listing

Entry = tuple[object, object]
"""A name and its vector as a file holds them: neither has been checked."""

MOST_VALUES = 2_000_000_000
"""Twenty times what 20,000 genes with 5,120 values each are; a file of cells has more."""


def read_npz(path: Path) -> list[Entry]:
    """Read an npz: an array a name, or one array of names and one matrix [names, dimension]."""
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: not a readable npz file: it is no whole zip archive")
    arrays: list[tuple[str, Any]] = []
    key = ""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            for key in archive.files:
                arrays.append((key, archive[key]))
    except Exception as error:  # NumPy passes on what zipfile and zlib stumble over
        if "allow_pickle" not in str(error):
            raise DataError(f"{path}: not a readable npz file: {error}") from error
        raise DataError(
            f"{path}: refused, since reading it could run code: {key} is an array of Python "
            "objects; save names as text: np.savez(path, names=names.astype(str), "
            "matrix=matrix)"
        ) from error
    if other := [key for key, array in arrays if not isinstance(array, np.ndarray)]:
        raise DataError(
            f"{path}: a zip archive that np.savez did not write: it holds {listing(other, 5)}"
        )
    texts = [array for _, array in arrays if array.dtype.kind in "US" and array.ndim == 1]
    if not texts:
        return list(arrays)
    if len(texts) == 1 and len(arrays) == 2:
        (matrix,) = (array for _, array in arrays if array is not texts[0])
        return _rows(path, texts[0].tolist(), matrix)
    shapes = listing((f"{key} {list(array.shape)}" for key, array in arrays), 8)
    raise DataError(
        f"{path}: holds the arrays {shapes}; it must hold an array a name, or one array of names "
        "and one matrix with a row for each, and nothing else"
    )


def read_parquet(path: Path) -> list[Entry]:
    """Read a Parquet table: names in its index or its one text column; numbers, or one of lists."""
    try:
        table = pd.read_parquet(path)
    except Exception as error:  # whatever Arrow stumbles over
        reason = str(error).split("\n")[0]
        raise DataError(f"{path}: not a readable Parquet file: {reason}") from error
    # By position: two columns may share a name.
    texts = [at for at in range(table.shape[1]) if _is_text(table.iloc[:, at])]
    if _is_text(table.index):
        names = table.index.tolist()
    elif len(texts) == 1:
        names = table.iloc[:, texts[0]].tolist()
        table = table.iloc[:, [at for at in range(table.shape[1]) if at not in texts]]
    elif table.empty:
        return []
    else:
        several = f"the columns {listing((table.columns[at] for at in texts), 5)} hold"
        raise DataError(
            f"{path}: {several if texts else 'no column holds'} text (its columns are "
            f"{listing(table.columns, 5)}); the perturbations' names must be its index or its one "
            "column of text"
        )
    if table.shape[1] == 1 and _is_lists(table.iloc[:, 0]):
        return list(zip(names, table.iloc[:, 0], strict=True))
    kinds = zip(table.columns, table.dtypes, strict=True)
    if other := [column for column, dtype in kinds if dtype.kind not in "iuf"]:
        raise DataError(
            f"{path}: the columns {listing(other, 5)} hold something other than numbers; beside "
            "the names, all columns are dimensions"
        )
    plain = all(isinstance(dtype, np.dtype) for dtype in table.dtypes)
    matrix = table.to_numpy() if plain else table.to_numpy(dtype=np.float64, na_value=np.nan)
    return _rows(path, names, matrix)


def read_h5ad(path: Path) -> list[Entry]:
    """Read an AnnData file: obs_names are the names, the rows of X their vectors."""
    obs = matrix = None
    try:
        with h5py.File(path, "r") as file:
            there = [f"obsm/{name}" for name in file.get("obsm", ())] + sorted(file)
            if {"obs", "X"} <= {*file}:
                size = int(np.prod(getattr(file["X"], "shape", file["X"].attrs.get("shape", 0))))
                obs = anndata.io.read_elem(file["obs"])
                matrix = anndata.io.read_elem(file["X"]) if size <= MOST_VALUES else size
    except Exception as error:  # whatever HDF5 and anndata stumble over
        raise DataError(f"{path}: not a readable h5ad file: {error}") from error
    if isinstance(matrix, int):
        raise DataError(
            f"{path}: X has {matrix:,} values, too many for vectors of perturbations; are these "
            "the cells?"
        )
    if not isinstance(obs, pd.DataFrame) or matrix is None:
        raise DataError(
            f"{path}: not an AnnData file with the vectors in X and their names in obs; it holds "
            f"{listing(there, 8)}"
        )
    dense = matrix.toarray() if scipy.sparse.issparse(matrix) else np.asarray(matrix)
    return _rows(path, obs.index.tolist(), dense)


def _is_text(values: pd.Series | pd.Index) -> bool:
    if values.dtype.kind != "O":
        return False
    return pd.api.types.infer_dtype(values.astype(object), skipna=True) in ("string", "bytes")


def _is_lists(values: pd.Series) -> bool:
    kinds = {type(value) for value in values}
    return np.ndarray in kinds and kinds <= {np.ndarray, type(None)}


def _rows(path: Path, names: list[Any], matrix: np.ndarray) -> list[Entry]:
    if matrix.ndim != 2 or len(matrix) != len(names):
        raise DataError(
            f"{path}: {len(names)} names, and a matrix of shape {list(matrix.shape)}; it must "
            "have a row for each name"
        )
    return list(zip(names, matrix, strict=True))
