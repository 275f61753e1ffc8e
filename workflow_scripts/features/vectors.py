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

    def and_others(self, others: Features) -> Features:
        """Return these, and of the others those whose names aren't here."""
        there = set(self.names)
        new = [at for at, name in enumerate(others.names) if name not in there]
        names = (*self.names, *(others.names[at] for at in new))
        return Features(names, np.concatenate([self.matrix, others.matrix[new]]))


def write_features(features: Features, path: Path) -> None:
    """Write features as safetensors: one tensor a perturbation, sorted by name."""
    tensors = {
        name: np.ascontiguousarray(vector)
        for name, vector in zip(features.names, features.matrix, strict=True)
    }
    path.write_bytes(safetensors.numpy.save(tensors))  # save_file closes the file to other users


def load_features(path: Path) -> Features:
    """Read features as `write_features` wrote them."""
    tensors = safetensors.numpy.load_file(path)
    names = tuple(sorted(tensors))
    if not names:
        raise DataError(f"{path}: holds no vectors; see features_audit.json beside it")
    return Features(names, np.stack([tensors[name] for name in names]).astype(np.float32))
