"""The model inside a training checkpoint (``.ckpt``), read without running code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workflow_scripts.errors import DataError

KEY = "stateline"
"""Entry of a checkpoint that describes its model."""

NAMES = ("gene_names", "perturbations", "contexts", "batches")

ENTRIES = frozenset({"settings", *NAMES, "provenance", "step"})
"""What that description holds."""

PREFIX = "model."
"""Where the training module keeps the model: the prefix of its weights."""


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Map a checkpoint into memory; what isn't looked at isn't read.

    Raises
    ------
    DataError
        If the file is missing, truncated, holds code, or isn't a checkpoint of this project.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such checkpoint")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises whatever its unpickler stumbles over
        raise DataError(
            f"{path}: not a whole checkpoint, or one that holds code "
            f"({type(error).__name__}); train again, or name another one"
        ) from error
    if not isinstance(content, Mapping) or not all(
        isinstance(content.get(entry), Mapping) for entry in (KEY, "state_dict")
    ):
        theirs = isinstance(content, Mapping) and "hyper_parameters" in content
        advice = (
            "; if the reference wrote it, python -m workflow_scripts.import_checkpoint makes a "
            "model of it"
        )
        raise DataError(
            f"{path}: not a checkpoint of this project: it has no entry {KEY!r}"
            f"{advice if theirs else ''}"
        )
    lacking = sorted(ENTRIES - content[KEY].keys())
    if lacking:
        raise DataError(
            f"{path}: written by another version: its description lacks {', '.join(lacking)}; "
            "delete it and train again"
        )
    check_kinds(path, content[KEY])
    return content


def check_kinds(path: Path, description: Mapping[str, Any]) -> None:
    """Check that a model's description has settings, and lists of names.

    Raises
    ------
    DataError
        Naming the file and the entry.
    """
    if not isinstance(description["settings"], Mapping):
        raise DataError(f"{path}: settings is {description['settings']!r}, must be a mapping")
    for name in NAMES:
        if not isinstance(description[name], list | tuple):
            raise DataError(f"{path}: {name} is {description[name]!r}, must be a list of names")


def model_weights(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the model's own weights by name."""
    weights: Mapping[str, Tensor] = content["state_dict"]
    return {
        name.removeprefix(PREFIX): tensor
        for name, tensor in weights.items()
        if name.startswith(PREFIX)
    }
