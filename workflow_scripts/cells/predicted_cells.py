"""Predicted cells: effects placed on control cells, and their files (h5ad)."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import anndata.io
import h5py
import numpy as np
import pandas as pd
from jaxtyping import Float32, Float64, Int64
from scipy.sparse import csr_matrix
from tqdm import tqdm

from workflow_scripts.cache.writing import replacing
from workflow_scripts.cells.h5ad_matrices import DenseMatrix, new_matrix
from workflow_scripts.cells.sampling import SetRows
from workflow_scripts.cells.store import CellStore
from workflow_scripts.cells.targets import Targets
from workflow_scripts.settings.choices import COUNTS, LOG1P

_ROWS = 1024
"""Measured cells that are written at once."""


class Predicted(NamedTuple):
    """Some predicted cells.

    Attributes
    ----------
    expression
        Of the genes that are read; of measured cells sparse.
    embedding
        What it was decoded from; None where the model predicts expression.
    """

    expression: Any
    embedding: Float32[np.ndarray, "cells width"] | None = None


Blocks = Iterator[Predicted]


def place_effects(
    store: CellStore,
    sets: SetRows,
    effects: np.ndarray,
    profiles: Float64[np.ndarray, "sets genes"] | None = None,
) -> Predicted:
    """Return control cells + the effect of their set, clipped at zero.

    Expression can't be negative. Where a gene goes down and many cells have none of it, the mean
    over the predicted cells therefore exceeds control + effect.

    Parameters
    ----------
    store, sets
        The controls that were drawn.
    effects
        Of each set, in log1p units [sets, genes].
    profiles
        What all cells of a set have in place of their own control.
    """
    if profiles is not None:
        profiles = np.maximum(profiles + effects, 0.0)
        return Predicted(np.repeat(profiles.astype(np.float32), sets.counts, axis=0))
    cells = store.dense(sets.control[sets.wanted])
    spans = np.split(cells, np.cumsum(sets.counts)[:-1])
    for of_set, effect in zip(spans, effects.astype(np.float32), strict=True):
        of_set += effect
    return Predicted(np.maximum(cells, 0.0, out=cells))


def mean_effects(
    blocks: Blocks, store: CellStore, targets: Targets
) -> Float64[np.ndarray, "groups genes"]:
    """Return the mean of each group's predicted cells less that of the controls they start from."""
    sums = np.zeros((len(targets.groups), store.n_genes))
    at, groups = 0, targets.group_of_cell
    for block in blocks:
        stop = at + len(block.expression)
        change = block.expression - store.dense(targets.paired[at:stop])
        for group in np.unique(groups[at:stop]):
            sums[group] += change[groups[at:stop] == group].sum(axis=0, dtype=np.float64)
        at = stop
    effects: np.ndarray = sums / np.array([[len(group.rows)] for group in targets.groups])
    return effects


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
    borrowing: Int64[np.ndarray, " genes"] | None = None,
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
    borrowing
        In how many groups each gene has values of training cells (uns ``borrowing_groups``).

    Returns
    -------
    Number of values that were cut.
    """
    below = targets.controls if controls is None else controls[0].paired
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
    bound = store.largest_value if clip and description.get("scale") != COUNTS else None
    which = "observed" if controls is None else "predicted"
    below_them = _measured(store, below, description) if controls is None else controls[1]
    return write_cells(
        path,
        store,
        obs,
        chain(_with_progress(blocks, n_predicted), below_them),
        {**description, "controls": which},
        bound=bound,
        decoded_from=decoded_from,
        more={} if borrowing is None else {"borrowing_groups": borrowing},
    )


def write_observed(
    path: Path, store: CellStore, targets: Targets, description: Mapping[str, Any]
) -> None:
    """Write the observed cells of the targets, if any were, and the controls below them.

    On the scale that ``description`` names (see `describe`).
    """
    rows = np.concatenate([targets.observed, targets.controls])
    obs = _labels(store, rows)
    obs["barcode"] = store.barcodes[rows]
    write_cells(path, store, obs, _measured(store, rows, description), description)


def write_cells(
    path: Path,
    store: CellStore,
    obs: pd.DataFrame,
    blocks: Blocks,
    description: Mapping[str, Any],
    *,
    bound: float | None = None,
    decoded_from: str | None = None,
    more: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> int:
    """Write cells block by block; see `write_predicted`.

    Parameters
    ----------
    obs
        A row a cell.
    bound
        Values above it are cut; None: none are.
    more
        Entries of ``uns`` beside the description.
    """
    cut = filled = 0
    matrix = embedded = None
    shape = (len(obs), store.n_genes)
    with replacing(path) as beside, h5py.File(beside, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        if decoded_from is not None:
            obsm = {"encoding-type": "dict", "encoding-version": "0.1.0"}
            file.create_group("obsm").attrs.update(obsm)
            width = (shape[0], store.embedding_dim or 0)
            embedded = DenseMatrix(file, f"obsm/{decoded_from}", width)
        for cells, embedding in blocks:
            predicted = isinstance(cells, np.ndarray) and cells.size
            if bound is not None and predicted and cells.max() > bound:
                cut += int((cells > bound).sum())
                np.minimum(cells, bound, out=cells)
            if matrix is None:
                matrix = new_matrix(file, "X", shape, cells)
            matrix.append(cells)
            if embedded is not None and embedding is not None:
                embedded.append(embedding)
            filled += cells.shape[0]
        assert filled == len(obs), f"{filled} cells were predicted, {len(obs)} were asked for"
        for written in (matrix, embedded):
            if written is not None:
                written.close()
        clipped = {} if bound is None else {"clipped_at": bound, "clipped_values": cut}
        # The mark by which scanpy knows log1p values, of the natural logarithm.
        logged = {} if description.get("scale") == COUNTS else {"log1p": {"base": np.e}}
        anndata.io.write_elem(file, "obs", obs)
        anndata.io.write_elem(file, "var", pd.DataFrame(index=pd.Index(store.genes.astype(str))))
        anndata.io.write_elem(
            file, "uns", {"stateline": {**description, **clipped}, **logged, **more}
        )
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


def _measured(
    store: CellStore, rows: Int64[np.ndarray, " cells"], description: Mapping[str, Any]
) -> Blocks:
    """Yield measured cells on the scale of a file, and their embedding, where there is one."""
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        counts = description.get("scale") == COUNTS
        cells: csr_matrix = store.stored(part).astype(np.float32) if counts else store.sparse(part)
        yield Predicted(cells, None if store.embedding is None else store.embedded(part))


def _with_progress(blocks: Blocks, n_cells: int) -> Blocks:
    with tqdm(total=n_cells, unit=" cells", mininterval=2.0, file=sys.stdout) as bar:
        for block in blocks:
            yield block
            bar.update(len(block.expression))


def _labels(store: CellStore, rows: Int64[np.ndarray, " cells"]) -> pd.DataFrame:
    """Return obs: the perturbation, the context and the technical batch of some cells."""
    obs = store.cells[["perturbation", "context", "batch"]].iloc[rows].reset_index(drop=True)
    obs = obs.astype("category")
    for column in obs:
        obs[column] = obs[column].cat.remove_unused_categories()
    obs.index = pd.Index([f"cell{number}" for number in range(len(obs))])
    return obs
