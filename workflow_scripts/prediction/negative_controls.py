"""Features that say nothing: a model that reads them predicts as well with these as without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Int64

from workflow_scripts.features.vectors import Features


def circle(n: int, seed: int) -> Int64[np.ndarray, " n"]:
    """Return whose vector each of ``n`` perturbations gets, when vectors are dealt out anew.

    They go from each perturbation to the next of one random circle through all of them: none keeps
    its own. It depends on the number and the seed alone.
    """
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(n)
    given = np.empty(n, dtype=np.int64)
    given[np.roll(order, 1)] = order
    return given


def spoiled(
    features: Features, control: str, how: str, seed: int
) -> tuple[Features, dict[str, str]]:
    """Return features that tell nothing of the perturbations, and whose each one has.

    The control keeps its own.

    Parameters
    ----------
    features
        The true ones.
    control
        Label of the control.
    how
        ``shuffled_features``: each perturbation has another one's. ``random_features``: normal
        numbers with the mean and the standard deviation of each dimension.
    seed
        Of the draw.
    """
    at = np.array([n for n, name in enumerate(features.names) if name != control], dtype=np.int64)
    own, matrix = features.matrix[at], features.matrix.copy()
    names = np.array(features.names)[at]
    whose = dict.fromkeys(names.tolist(), "")
    if how == "shuffled_features":
        given = circle(len(at), seed)
        matrix[at] = own[given]
        whose = dict(zip(names.tolist(), names[given].tolist(), strict=True))
    elif how == "random_features":
        draws = np.random.Generator(np.random.Philox(key=seed)).standard_normal(own.shape)
        matrix[at] = (own.mean(axis=0) + draws * own.std(axis=0)).astype(np.float32)
    else:
        raise ValueError(f"{how!r} is no way to spoil features")
    return replace(features, matrix=matrix), whose
