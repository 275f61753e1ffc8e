"""Read a perturbation-feature file of any format, without running any code it may hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch

from workflow_scripts.features.table_files import (
    Entry,
    read_csv,
    read_h5ad,
    read_npz,
    read_parquet,
)
from workflow_scripts.features.torch_file import load_torch_file
from workflow_scripts.settings.errors import DataError
from workflow_scripts.settings.suggestions import nearest

READERS = {
    ".pt": lambda path: _mapping(path, load_torch_file(path)),
    ".pth": lambda path: _mapping(path, load_torch_file(path)),
    ".safetensors": lambda path: _read_safetensors(path),
    ".npz": read_npz,
    ".parquet": read_parquet,
    ".csv": lambda path: read_csv(path, ","),
    ".tsv": lambda path: read_csv(path, "\t"),
    ".h5ad": read_h5ad,
}
"""What reads a file, by its ending."""


def read_entries(path: Path) -> list[Entry]:
    """Return the names and vectors of a feature file, in its order, as they are in it.

    Neither is checked here: a name may be no text and may repeat, a vector may be anything.

    Raises
    ------
    DataError
        Where the file is missing, of no known format, damaged, no set of names and vectors, or
        would have to run code to be read.
    """
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; data.kwargs.perturbation_features_file names it, relative to "
            f"{Path.cwd()} (null is one-hot)"
        )
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path}: the ending {path.suffix or '(none)'} is no format of feature files"
            f"{nearest(path.suffix, READERS)}"
        )
    return reader(path)


def _mapping(path: Path, content: object) -> list[Entry]:
    if not isinstance(content, Mapping):
        raise DataError(
            f"{path}: holds a {type(content).__name__}; it must be a mapping of perturbation "
            "names to vectors (data.kwargs.perturbation_features_file)"
        )
    return list(content.items())


def _read_safetensors(path: Path) -> list[Entry]:
    try:
        return list(safetensors.torch.load_file(path).items())
    except (OSError, safetensors.SafetensorError) as error:
        raise DataError(f"{path}: not a readable safetensors file: {error}") from error
