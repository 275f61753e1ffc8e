"""Screens simulated by structure, written block by block: their values mean nothing."""

from __future__ import annotations

from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd

BLOCK = 1000
"""Cells that are written at once."""


def write_screen(
    path: Path,
    n_cells: int,
    n_values: int,
    *,
    logged: bool,
    n_genes: int = 18_080,
    hvg: int = 0,
    group_cells: int = 500,
) -> None:
    """Write an h5ad file with X as uncompressed CSR, float32 and int32.

    Parameters
    ----------
    path
        The file.
    n_cells, n_values, n_genes
        Its size; as many values in every cell.
    logged
        X holds log1p values, else counts.
    hvg
        Width of a dense obsm["X_hvg"] beside it; 0: none.
    group_cells
        Cells of a perturbation; a tenth of all are controls.
    """
    generator = np.random.default_rng(0)
    n_groups = max(40, n_cells // group_cells)
    group = np.where(
        generator.random(n_cells) < 0.1, 0, 1 + generator.integers(0, n_groups, n_cells)
    )
    names = pd.Index(["control", *(f"P{number}" for number in range(n_groups))])
    obs = pd.DataFrame(
        {
            "gene": pd.Categorical.from_codes(group, names),
            "cell_type": pd.Categorical.from_codes(np.zeros(n_cells, dtype=int), ["k562"]),
            "gem_group": pd.Categorical.from_codes(
                generator.integers(0, 8, n_cells), [str(number) for number in range(8)]
            ),
        }
    )
    obs.index = [f"cell{number}" for number in range(n_cells)]
    var = pd.DataFrame(index=[f"GENE{number}" for number in range(n_genes)])
    var["highly_variable"] = np.arange(n_genes) < hvg
    anndata.AnnData(obs=obs, var=var).write_h5ad(path)
    with h5py.File(path, "a") as file:
        if "X" in file:
            del file["X"]
        node = file.create_group("X")
        node.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
        node.attrs["shape"] = (n_cells, n_genes)
        node["indptr"] = np.arange(n_cells + 1, dtype=np.int64) * n_values
        data = node.create_dataset("data", (n_cells * n_values,), np.float32)
        indices = node.create_dataset("indices", (n_cells * n_values,), np.int32)
        step = n_genes // n_values
        for start in range(0, n_cells, BLOCK):
            rows = min(BLOCK, n_cells - start)
            columns = np.arange(n_values) * step + generator.integers(0, step, (rows, n_values))
            counts = generator.geometric(0.4, (rows, n_values)).astype(np.float32)
            if logged:
                counts = np.log1p(counts * (1e4 / counts.sum(axis=1, keepdims=True)))
            span = slice(start * n_values, (start + rows) * n_values)
            data[span], indices[span] = counts.ravel(), columns.ravel().astype(np.int32)
        if hvg:
            dense = file["obsm"].create_dataset("X_hvg", (n_cells, hvg), np.float32)
            dense.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
            for start in range(0, n_cells, BLOCK):
                rows = min(BLOCK, n_cells - start)
                dense[start : start + rows] = np.log1p(generator.geometric(0.4, (rows, hvg)) * 1.7)
