"""Write observed and predicted cells as h5ad, a block at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import anndata.io
import h5py
import numpy as np
import pandas as pd
from jaxtyping import Float32, Int64
from scipy.sparse import csr_matrix
from tqdm import tqdm

from workflow_scripts.cache.writing import replacing
from workflow_scripts.cells.store import CellStore
from workflow_scripts.prediction.matrices import DenseMatrix, Matrix, SparseMatrix, new_matrix
from workflow_scripts.prediction.targets import Targets
from workflow_scripts.settings.choices import COUNTS, LOG1P


class Predicted(NamedTuple):
    """Some predicted cells.

    Attributes
    ----------
    expression
        Of the genes that are read.
    embedding
        What it was decoded from; None where the model predicts expression.
    """

    expression: Float32[np.ndarray, "cells genes"]
    embedding: Float32[np.ndarray, "cells width"] | None = None


Blocks = Iterator[Predicted]


def write_observed(
    path: Path, store: CellStore, targets: Targets, description: Mapping[str, Any]
) -> None:
    """Write the observed cells of the targets, if any were, and the controls below them.

    On the scale that ``description`` names (see `describe`).
    """
    rows = np.concatenate([targets.observed, targets.controls])
    obs = _labels(store, rows)
    obs["barcode"] = store.barcodes[rows]
    with replacing(path) as beside, h5py.File(beside, "w") as file:
        _begin(file)
        matrix = SparseMatrix(file, "X", (len(rows), store.n_genes))
        for start in range(0, len(rows), _ROWS):
            matrix.append(_measured(store, rows[start : start + _ROWS], description))
        _write_tables(file, obs, store, description)


def write_predicted(
    path: Path,
    store: CellStore,
    targets: Targets,
    blocks: Blocks,
    description: Mapping[str, Any],
    *,
    clip: bool,
    notes: np.ndarray | None = None,
    decoded_from: str | None = None,
    controls: tuple[Targets, Blocks] | None = None,
) -> int:
    """Write predicted cells and, below them, the observed controls, or predicted ones.

    Parameters
    ----------
    path
        File to write; whole or absent.
    store
        Packed cells, for labels, genes and controls.
    targets
        What was predicted.
    blocks
        Predicted cells in the order of ``targets.paired``, in blocks.
    description
        What the file says of itself, under ``uns["stateline"]``; its ``scale`` (see `describe`) is
        that of the blocks.
    clip
        Cut log1p values at the largest that a cell can have, where that is known; ``uns`` then says
        at what (``clipped_at``) and how many (``clipped_values``).
    notes
        A remark for each predicted cell (obs ``prediction_note``).
    decoded_from
        Name of the embedding that the cells were decoded from, which is written beside them (obsm);
        None where they were not.
    controls
        What is predicted of control cells, and those cells; None: the observed ones are written.

    Returns
    -------
    Number of values that were cut.
    """
    bound = store.largest_value if clip and description.get("scale") != COUNTS else None
    cut = 0
    below: np.ndarray = targets.controls if controls is None else controls[0].paired
    n_predicted, n_controls = len(targets.paired), len(below)
    sources = np.concatenate([targets.paired, below])
    obs = _labels(store, sources)
    for column in ("perturbation", "context"):  # what was asked for, not what it was predicted from
        asked = np.array([getattr(group, column) for group in targets.groups], dtype=object)
        own = obs[column].astype(str).to_numpy(dtype=object)
        own[:n_predicted] = asked[targets.group_of_cell]
        obs[column] = pd.Categorical(own)
    obs["control_barcode"] = store.barcodes[sources]
    if targets.n_draws > 1:
        draws = np.repeat(np.arange(1, targets.n_draws + 1), n_predicted // targets.n_draws)
        obs["draw"] = np.concatenate([draws, np.zeros(n_controls, dtype=draws.dtype)])
    if notes is not None:
        obs["prediction_note"] = np.concatenate([notes, np.full(n_controls, "", dtype=object)])

    shape = (n_predicted + n_controls, store.n_genes)
    with replacing(path) as beside, h5py.File(beside, "w") as file:
        _begin(file)
        matrix: Matrix | None = None
        embedded = None
        if decoded_from is not None:
            file.create_group("obsm").attrs.update(_A_DICT)
            width = (shape[0], store.embedding_dim or 0)
            embedded = DenseMatrix(file, f"obsm/{decoded_from}", width)
        filled = 0
        bar = tqdm(total=n_predicted, unit=" cells", mininterval=2.0, file=sys.stdout)
        predicted = blocks if controls is None else chain(blocks, controls[1])
        observed = _observed(store, below, description) if controls is None else iter(())
        for block, embedding in predicted:
            if embedded is not None and embedding is not None:
                embedded.append(embedding)
            if bound is not None and block.size and block.max() > bound:
                cut += int((block > bound).sum())
                np.minimum(block, bound, out=block)
            if matrix is None:
                matrix = new_matrix(file, "X", shape, block)
            matrix.append(block)
            filled += len(block)
            bar.update(min(len(block), n_predicted - bar.n))
        bar.close()
        if filled != (n_asked := n_predicted + (n_controls if controls is not None else 0)):
            raise AssertionError(f"{filled} cells were predicted, {n_asked} were asked for")
        for cells, embedding in observed:
            if matrix is None:
                matrix = new_matrix(file, "X", shape, cells)
            matrix.append(cells)
            if embedded is not None:
                embedded.append(embedding)
        for written in (matrix, embedded):
            if written is not None:
                written.close()
        clipped = {} if bound is None else {"clipped_at": bound, "clipped_values": cut}
        which = {"controls": "observed" if controls is None else "predicted"}
        _write_tables(file, obs, store, {**description, **which, **clipped})
    return cut


def describe(store: CellStore, run: str | None, scale: str = LOG1P) -> dict[str, Any]:
    """Return what every file of predicted or observed cells says of itself.

    Parameters
    ----------
    store
        The cells.
    run
        Name of the run; None for files that runs share.
    scale
        `LOG1P` or `COUNTS`.
    """
    known = store.largest_value is not None
    described = {
        "scale": scale,
        "target_sum": store.manifest["target_sum"] if known else "unknown",
        "control": store.manifest["control"],
    }
    return described if run is None else {**described, "run": run}


_A_DICT = {"encoding-type": "dict", "encoding-version": "0.1.0"}

_ROWS = 1024
"""Measured cells that are written at once."""


def _measured(
    store: CellStore, rows: Int64[np.ndarray, " cells"], description: Mapping[str, Any]
) -> csr_matrix:
    """Return measured cells on the scale of a file."""
    if description.get("scale") == COUNTS:
        return store.stored(rows).astype(np.float32)
    return store.sparse(rows)


def _observed(
    store: CellStore, rows: Int64[np.ndarray, " cells"], description: Mapping[str, Any]
) -> Iterator[tuple[csr_matrix, Float32[np.ndarray, "cells width"] | None]]:
    """Yield measured cells on the scale of a file, and their embedding, where there is one."""
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        embedding = None if store.embedding is None else store.embedded(part)
        yield _measured(store, part, description), embedding


def _begin(file: h5py.File) -> None:
    file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})


def _write_tables(
    file: h5py.File, obs: pd.DataFrame, store: CellStore, description: Mapping[str, Any]
) -> None:
    anndata.io.write_elem(file, "obs", obs)
    anndata.io.write_elem(file, "var", _var(store))
    # The mark by which scanpy knows log1p values, of the natural logarithm.
    logged = {} if description.get("scale") == COUNTS else {"log1p": {"base": np.e}}
    anndata.io.write_elem(file, "uns", {"stateline": dict(description), **logged})


def _labels(store: CellStore, rows: Int64[np.ndarray, " cells"]) -> pd.DataFrame:
    """Return obs: the perturbation, the context and the technical batch of some cells."""
    obs = store.cells[["perturbation", "context", "batch"]].iloc[rows].reset_index(drop=True)
    obs = obs.astype("category")
    for column in obs:
        obs[column] = obs[column].cat.remove_unused_categories()
    obs.index = pd.Index([f"cell{number}" for number in range(len(obs))])
    return obs


def _var(store: CellStore) -> pd.DataFrame:
    return pd.DataFrame(index=pd.Index(store.genes.astype(str)))
