"""Read what an h5ad file says of its cells, without reading the matrix."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata.io
import h5py
import numpy as np
import pandas as pd

from workflow_scripts.errors import DataError
from workflow_scripts.settings.findings import listing
from workflow_scripts.settings.labels import canonical

with suppress(ImportError):  # registers further compression filters, where it is installed
    import hdf5plugin  # noqa: F401

_MISSING = ("", "nan", "NaN", "<NA>")
"""Texts that a missing value becomes when a table is turned into text."""


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


DAMAGED = "the file is damaged, fetch or write it anew"
COMPRESSED = "it is compressed by a filter that isn't installed: pip install hdf5plugin"


@contextmanager
def open_h5ad(path: str) -> Iterator[h5py.File]:
    """Open an h5ad file for reading.

    Raises
    ------
    DataError
        Where it is none, and where a part that is read later turns out to be unreadable.
    """
    if not Path(path).is_file():
        raise DataError(
            f"{path}: no such file; it is named by the split file's [datasets] or by "
            f"cells.datasets, relative to {Path.cwd()}"
        )
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path}: not a readable h5ad (HDF5) file: {error}") from error
    with file:
        if found := next(_external_links(file), None):
            raise DataError(
                f"{path}: {found[0]} is a link into another file, {found[1]}, whose changes would "
                "go unnoticed; copy the values into the file (adata.write_h5ad does)"
            )
        for name in ("obs", "var"):
            with reading(file, name):
                if name not in file or file[name] is None:
                    raise DataError(f"{path}: not an h5ad file: it has no {name}")
        try:
            yield file
        except OSError as error:
            if error.errno is not None:  # the system's, of whatever file
                raise
            no_filter = re.search("filter.* is not registered|plugin", str(error))
            raise DataError(f"{path}: {error}; {COMPRESSED if no_filter else DAMAGED}") from error


def _external_links(group: h5py.Group) -> Iterator[tuple[str, str]]:
    """Yield the place and the file of each link that leads out of a file."""
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield f"{group.name}/{name}".replace("//", "/"), link.filename
        elif isinstance(link, h5py.HardLink) and group.get(name, getclass=True) is h5py.Group:
            yield from _external_links(group[name])


def as_text(name: Any) -> str:
    """Return a name as text: other programs store bytes."""
    return name.decode(errors="backslashreplace") if isinstance(name, bytes) else str(name)


@contextmanager
def reading(file: h5py.File, place: str) -> Iterator[None]:
    """Take what HDF5, anndata or pandas can't make out for damage; nothing else belongs inside.

    Raises
    ------
    DataError
        With the file, the place in it, and what they say.
    """
    try:
        yield
    except (OSError, DataError):  # `open_h5ad` looks at the first
        raise
    except Exception as error:
        few = "there is too little memory, or " if isinstance(error, MemoryError) else ""
        raise DataError(
            f"{file.filename}: {place} can't be read ({error}); {few}{DAMAGED}"
        ) from error


def read_barcodes(file: h5py.File) -> np.ndarray:
    """Return the cells' names [n_cells], the index of obs."""
    return read_names(file, "obs", as_text(file["obs"].attrs.get("_index", "_index")))


def read_labels(file: h5py.File, columns: Columns, control: str) -> pd.DataFrame:
    """Return the labels of every cell: columns perturbation, context, batch, as text.

    Perturbations have their canonical names.

    Raises
    ------
    DataError
        For the first column that `read_column` refuses.
    """
    labels = {meaning: read_column(file, key, column) for meaning, key, column in columns.items()}
    labels["perturbation"] = with_canonical_names(labels["perturbation"], control)
    return pd.DataFrame(labels)


def with_canonical_names(labels: pd.Categorical, control: str) -> pd.Categorical:
    """Return labels of perturbations by the one name of each (`labels.canonical`)."""
    names = [canonical(label, control) for label in labels.categories]
    return pd.Categorical(np.array(names, dtype=object)[labels.codes])


def read_column(file: h5py.File, key: str, column: str) -> pd.Categorical:
    """Return one obs column as text [n_cells]; ``key`` is the config key that names it.

    Raises
    ------
    DataError
        Where obs lacks it (with the nearest names), where it has missing values (with their number
        and first rows), written as text too, or where it holds fractional numbers.
    """
    obs = file["obs"]
    with reading(file, "obs"):
        there = [as_text(name) for name in obs.attrs.get("column-order", [])]
        n_cells = len(obs[as_text(obs.attrs.get("_index", "_index"))])
    if column not in there:
        close = difflib.get_close_matches(column, there, n=1, cutoff=0.5)
        hint = f" did you mean {close[0]!r}?" if close else ""
        raise DataError(
            f"{file.filename}: obs has no column {column!r} (it has {listing(there)});{hint} "
            f"set {key}"
        )
    where = f"{file.filename}: obs column {column!r} ({key})"
    with reading(file, f"obs column {column!r}"):
        _refuse_legacy(file, "obs", column)
        values = pd.Series(anndata.io.read_elem(obs[column]))
    if len(values) != n_cells:
        raise DataError(f"{where} has {len(values)} values for {n_cells} cells; {DAMAGED}")
    codes, labels = pd.factorize(values, sort=False)
    texts = np.array([as_text(label) for label in labels], dtype=object)
    unnamed = [at for at, text in enumerate(texts) if text.strip() in _MISSING]
    if (missing := np.flatnonzero((codes < 0) | np.isin(codes, unnamed))).size:
        written = sorted({repr(str(texts[at])) for at in unnamed})
        raise DataError(
            f"{where} has {missing.size} missing values"
            f"{f' (written as {listing(written)})' if written else ''}, "
            f"first in rows {listing(missing[:5])}; label these cells or remove them"
        )
    if pd.api.types.is_float_dtype(labels.dtype):
        raise DataError(
            f"{where} holds fractional numbers ({listing(labels[:5])}); labels are text, "
            "whole numbers or categories: convert the column, or name another one"
        )
    return pd.Categorical(texts[codes])


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


def read_names(file: h5py.File, group: str, column: str) -> np.ndarray:
    """Return a column of obs or var as text, one name a row."""
    with reading(file, f"{group} column {column!r}"):
        if column not in file[group]:
            raise DataError(
                f"{file.filename}: {group} has no index; write the file anew with a current anndata"
            )
        _refuse_legacy(file, group, column)
        values = anndata.io.read_elem(file[group][column])
        return np.asarray(pd.Series(values).astype(str), dtype=object)
