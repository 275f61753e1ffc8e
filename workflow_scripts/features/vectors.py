"""The canonical vectors of the perturbations, in memory and in a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
from jaxtyping import Float32

from workflow_scripts.errors import DataError


@dataclass(frozen=True)
class Features:
    """Vectors of the perturbations of a run.

    Attributes
    ----------
    names
        Sorted labels of the data, the control among them.
    matrix
        Their vectors [names, dimension].
    """

    names: tuple[str, ...]
    matrix: Float32[np.ndarray, "names dimension"]


def write_features(features: Features, path: Path) -> None:
    """Write features as safetensors: one tensor a perturbation, sorted by name."""
    tensors = {
        name: np.ascontiguousarray(vector)
        for name, vector in zip(features.names, features.matrix, strict=True)
    }
    path.write_bytes(safetensors.numpy.save(tensors))  # save_file closes the file to other users


def load_features(*paths: Path) -> Features:
    """Read features as `write_features` wrote them.

    Each file adds the names that those before it lack, sorted.
    """
    vectors: dict[str, np.ndarray] = {}
    for path in paths:
        tensors = safetensors.numpy.load_file(path)
        if not tensors:
            raise DataError(f"{path}: holds no vectors; see features_audit.json beside it")
        vectors |= {name: tensors[name] for name in sorted(tensors) if name not in vectors}
    return Features(tuple(vectors), np.stack([*vectors.values()]).astype(np.float32))
