"""Write observed and predicted cells as h5ad, a block at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import anndata
import anndata.io
import h5py
import numpy as np
import pandas as pd
from jaxtyping import Float32, Int64

from workflow_scripts.cells.store import CellStore
from workflow_scripts.prediction.targets import Targets
from workflow_scripts.settings.finished import replacing

Blocks = Iterator[Float32[np.ndarray, "cells genes"]]


def write_observed(
    path: Path, store: CellStore, targets: Targets, description: Mapping[str, Any]
) -> None:
    """Write the observed test cells and controls: X sparse, obs with each cell's own barcode."""
    rows = np.concatenate([targets.observed, targets.controls])
    obs = _labels(store, rows, rows)
    obs["barcode"] = store.barcodes[rows]
    adata = anndata.AnnData(
        store.sparse(rows), obs=obs, var=_var(store), uns={"stateline": dict(description)}
    )
    with replacing(path) as beside:
        adata.write_h5ad(beside, compression="gzip")


def write_predicted(
    path: Path,
    store: CellStore,
    targets: Targets,
    blocks: Blocks,
    description: Mapping[str, Any],
    *,
    clip: bool,
    notes: np.ndarray | None = None,
) -> int:
    """Write predicted cells and, below them, the observed controls.

    Parameters
    ----------
    path
        File to write; whole or absent.
    store
        Packed cells, for labels, genes and controls.
    targets
        What was predicted.
    blocks
        Predicted cells in the order of ``targets.observed``, in blocks.
    description
        What the file says of itself, under ``uns["stateline"]``.
    clip
        Cut values at the largest that a cell can have, where that is known; ``uns`` then says
        at what (``clipped_at``) and how many (``clipped_values``).
    notes
        A remark for each predicted cell (obs ``prediction_note``).

    Returns
    -------
    Number of values that were cut.
    """
    bound = store.largest_value if clip else None
    cut = 0
    n_predicted, n_controls = len(targets.observed), len(targets.controls)
    obs = _labels(
        store,
        np.concatenate([targets.observed, targets.controls]),
        np.concatenate([targets.paired, targets.controls]),
    )
    sources = np.concatenate([targets.paired, targets.controls])
    obs["control_barcode"] = store.barcodes[sources]
    if notes is not None:
        obs["prediction_note"] = np.concatenate([notes, np.full(n_controls, "", dtype=object)])

    with replacing(path) as beside, h5py.File(beside, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        matrix = _new_matrix(file, n_predicted + n_controls, store.n_genes)
        filled = 0
        for block in blocks:
            if bound is not None:
                cut += int((block > bound).sum())
                np.minimum(block, bound, out=block)
            matrix[filled : filled + len(block)] = block
            filled += len(block)
        if filled != n_predicted:
            raise AssertionError(f"{filled} cells were predicted, {n_predicted} were asked for")
        for start in range(0, n_controls, 1024):
            part = store.dense(targets.controls[start : start + 1024])
            matrix[filled + start : filled + start + len(part)] = part
        anndata.io.write_elem(file, "obs", obs)
        anndata.io.write_elem(file, "var", _var(store))
        clipped = {} if bound is None else {"clipped_at": bound, "clipped_values": cut}
        anndata.io.write_elem(file, "uns", {"stateline": {**description, **clipped}})
    return cut


def describe(store: CellStore, run: str) -> dict[str, Any]:
    """Return what every file of predicted or observed cells says of itself."""
    known = store.largest_value is not None
    return {
        "scale": "log1p",
        "target_sum": store.manifest["target_sum"] if known else "unknown",
        "control": store.manifest["control"],
        "run": run,
    }


def _new_matrix(file: h5py.File, n_cells: int, n_genes: int) -> h5py.Dataset:
    # Chunks of about 1 MB: one compressed unit is then neither many seeks nor much memory.
    rows = max(1, min(n_cells, 262_144 // n_genes))
    matrix = file.create_dataset(
        "X",
        shape=(n_cells, n_genes),
        dtype=np.float32,
        chunks=(rows, n_genes),
        compression="gzip",
        compression_opts=1,
        shuffle=True,
    )
    matrix.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    return matrix


def _labels(
    store: CellStore, cells: Int64[np.ndarray, " cells"], sources: Int64[np.ndarray, " cells"]
) -> pd.DataFrame:
    """Return obs: what each cell is (``cells``), in the technical batch it is drawn from."""
    table = store.cells
    obs = table[["perturbation", "context"]].iloc[cells].reset_index(drop=True)
    obs["batch"] = table["batch"].iloc[sources].to_numpy()
    obs = obs.astype("category")
    for column in obs:
        obs[column] = obs[column].cat.remove_unused_categories()
    obs.index = pd.Index([f"cell{number}" for number in range(len(obs))])
    return obs


def _var(store: CellStore) -> pd.DataFrame:
    return pd.DataFrame(index=pd.Index(store.genes.astype(str)))
