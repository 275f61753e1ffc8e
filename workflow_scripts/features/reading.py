"""Read a perturbation-feature file of any format, without running any code it may hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from workflow_scripts.errors import DataError
from workflow_scripts.features import content
from workflow_scripts.features.table_files import (
    MOST_VALUES,
    Entry,
    read_h5ad,
    read_npz,
    read_parquet,
)
from workflow_scripts.features.text_table import read_text_table
from workflow_scripts.features.torch_file import load_torch_file
from workflow_scripts.settings.findings import listing
from workflow_scripts.settings.suggestions import nearest


@dataclass(frozen=True)
class Format:
    """A format of feature files.

    Attributes
    ----------
    name
        What it is called.
    content
        What the first bytes may show.
    read
        Its reader.
    """

    name: str
    content: tuple[str, ...]
    read: Callable[[Path], list[Entry]]


def read_entries(path: Path) -> list[Entry]:
    """Return the names and vectors of a feature file, in its order, as they are in it.

    Neither is checked here: a name may be no text and may repeat, a vector may be anything.

    Raises
    ------
    DataError
        Where the file is missing, of no known format, damaged, no set of names and vectors, or
        would have to run code to be read.
    """
    if path.is_dir():
        raise DataError(
            f"{path}: is a folder; data.kwargs.perturbation_features_file names a file, or a list "
            "of them"
        )
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; data.kwargs.perturbation_features_file names it, relative to "
            f"{Path.cwd()} (null is one-hot)"
        )
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise DataError(
            f"{path}: the ending {path.suffix or '(none)'} is no format of feature files"
            f"{nearest(path.suffix, FORMATS)}"
        )
    content.refuse_other_content(path, form.name, form.content)
    return form.read(path)


def _read_torch(path: Path) -> list[Entry]:
    found = load_torch_file(path)
    if isinstance(found, Mapping):
        # A tensor may repeat few stored numbers as often as it likes.
        size = sum(value.numel() for value in found.values() if isinstance(value, torch.Tensor))
        if size > MOST_VALUES:
            raise DataError(f"{path}: has {size:,} values, too many for vectors of perturbations")
        return list(found.items())
    kinds = ""
    if isinstance(found, list | tuple):
        names = dict.fromkeys(type(item).__name__ for item in found)
        kinds = f" of {len(found)} ({listing(names)})"
    raise DataError(
        f"{path}: holds a {type(found).__name__}{kinds}; it must be a mapping of perturbation "
        "names to vectors (data.kwargs.perturbation_features_file)"
    )


def _read_safetensors(path: Path) -> list[Entry]:
    try:
        return list(safetensors.torch.load_file(path).items())
    except (OSError, safetensors.SafetensorError) as error:
        raise DataError(f"{path}: not a readable safetensors file: {error}") from error


_TORCH = Format("torch file", (content.ZIP, content.PICKLE), _read_torch)

FORMATS: Mapping[str, Format] = {
    ".pt": _TORCH,
    ".pth": _TORCH,
    ".safetensors": Format("safetensors file", (content.SAFETENSORS,), _read_safetensors),
    ".npz": Format("npz file", (content.ZIP,), read_npz),
    ".parquet": Format("Parquet file", (content.PARQUET,), read_parquet),
    ".csv": Format("table", (content.TEXT,), lambda path: read_text_table(path, ",")),
    ".tsv": Format("table", (content.TEXT,), lambda path: read_text_table(path, "\t")),
    ".h5ad": Format("h5ad file", (content.HDF5,), read_h5ad),
}
"""The formats by the ending of a file's name."""
