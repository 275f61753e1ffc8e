"""Small real screens, with sane defaults: a test states only what matters to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse


def write_screen(
    path: Path,
    *,
    perturbations: Sequence[str] = ("control", "A", "B", "C"),
    contexts: Sequence[str] = ("k562", "rpe1"),
    batches: Sequence[str] = ("b1", "b2"),
    cells_per_group: int = 6,
    genes: Sequence[str] = tuple(f"g{number}" for number in range(30)),
    values: str = "counts",
    encoding: str = "csr",
    seed: int = 0,
    embedding: tuple[str, int] | None = None,
) -> Path:
    """Write an h5ad file of a small screen and return its path.

    ``embedding`` is the name in obsm and the width of one that depends on the expression.
    """
    generator = np.random.default_rng(seed)
    labels = [
        (perturbation, context, batches[at % len(batches)])
        for context in contexts
        for perturbation in perturbations
        for at in range(cells_per_group)
    ]
    # Files are not sorted by group in life either.
    labels = [labels[at] for at in generator.permutation(len(labels))]
    matrix = generator.poisson(1.5, (len(labels), len(genes))).astype(np.float32)
    matrix[:, 0] += 1.0
    if values == "log1p":
        matrix = np.log1p(matrix * 1.7).astype(np.float32)
    wrap = {
        "csr": scipy.sparse.csr_matrix,
        "csc": scipy.sparse.csc_matrix,
        "dense": np.asarray,
    }[encoding]
    obs = pd.DataFrame(labels, columns=["gene", "cell_type", "gem_group"])
    obs.index = [f"{path.stem}-{number}" for number in range(len(labels))]
    adata = anndata.AnnData(
        wrap(matrix), obs=obs.astype("category"), var=pd.DataFrame(index=list(genes))
    )
    if embedding is not None:
        name, width = embedding
        axes = np.random.default_rng(1).standard_normal((len(genes), width))
        adata.obsm[name] = ((np.log1p(matrix) - 0.8) @ axes / 5).astype(np.float32)
    adata.write_h5ad(path)
    return path
