"""Read a perturbation-feature file without running any code that it may hold."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from workflow_scripts.settings.errors import DataError


def read_features(path: Path) -> dict[str, Float32[np.ndarray, " dimension"]]:
    """Read a mapping of names to vectors, as ``torch.save`` wrote it (``.pt``).

    Returns
    -------
    dict
        Name to vector [dimension], float32, in the file's order.

    Raises
    ------
    DataError
        Where the file is missing, is no torch file, holds anything but a mapping of names to
        vectors, or would have to run code to be read.
    """
    content = _load(path)
    if not isinstance(content, Mapping):
        raise DataError(
            f"{path}: holds a {type(content).__name__}; it must be a mapping of perturbation "
            "names to vectors (data.kwargs.perturbation_features_file)"
        )
    not_text = [repr(name) for name in content if not isinstance(name, str)]
    if not_text:
        raise DataError(
            f"{path}: {len(not_text)} of its keys are not text, the first {not_text[0]}; "
            "the keys must be the perturbations' names"
        )
    return {name: _vector(path, name, value) for name, value in content.items()}


def _load(path: Path) -> object:
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; data.kwargs.perturbation_features_file names it, relative to "
            f"{Path.cwd()} (null is one-hot)"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler stumbles over
        found = re.search(r"GLOBAL \S+|[Uu]nsupported (?:global|class)[^.\n]*", str(error))
        if found:
            raise DataError(
                f"{path}: refused, since reading it could run code that it holds ({found[0]}); "
                "save it anew as a plain dict of name to tensor: "
                "torch.save({str(k): torch.as_tensor(v) for k, v in features.items()}, path)"
            ) from error
        kind = "a damaged" if zipfile.is_zipfile(path) else "not a"
        raise DataError(
            f"{path}: {kind} torch file; it must be a mapping of names to vectors that "
            "torch.save wrote"
        ) from error


def _vector(path: Path, name: str, value: object) -> Float32[np.ndarray, " dimension"]:
    if not isinstance(value, torch.Tensor):
        raise DataError(
            f"{path}: the entry {name!r} is a {type(value).__name__}; it must be a vector of "
            "floating-point numbers (a torch tensor of one dimension)"
        )
    if not value.is_floating_point():
        raise DataError(f"{path}: the vector of {name!r} is {value.dtype}; it must be floating")
    return np.asarray(value.detach().float().numpy())
