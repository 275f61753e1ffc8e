"""Predicted cells of a trained model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from workflow_scripts.cells.store import CellStore
from workflow_scripts.errors import DataError
from workflow_scripts.features.vectors import Features
from workflow_scripts.models import StateTransition
from workflow_scripts.prediction.targets import Targets
from workflow_scripts.prediction.writing import Blocks, Predicted
from workflow_scripts.settings.findings import listing
from workflow_scripts.settings.suggestions import nearest


def predict_with_model(
    model: StateTransition,
    store: CellStore,
    targets: Targets,
    features: Features,
    batches: tuple[str, ...],
    *,
    genes: Sequence[str],
    sets_per_pass: int,
    unknown_batch: str | None = None,
) -> Blocks:
    """Yield the predicted cells of each forward pass, in the order of ``targets.paired``.

    A model of embeddings is asked with those of the controls; its gene decoder gives expression.

    Parameters
    ----------
    model
        In evaluation mode, on the device where it should run.
    store, targets, features
        Cells, what to predict, and the vectors of the perturbations.
    batches
        Technical batches in the order of the model's numbers.
    genes
        The genes that are read, in the order of the model, which may be another than the store's.
    sets_per_pass
        Sets in one forward pass.
    unknown_batch
        Batch in whose place cells of a batch that the model doesn't know are taken.

    Raises
    ------
    DataError
        Where it encodes technical batches, and has not seen all of those of the controls, nor the
        one in their place.
    """
    device = next(model.parameters()).device
    vectors = dict(zip(features.names, features.matrix, strict=True))
    codes = np.zeros(store.n_cells, dtype=np.int64)
    if model.batch_encoder is not None:
        codes = _codes(store, targets, batches, unknown_batch)
    place = None
    if list(genes) != list(store.genes):
        place = pd.Index(store.genes).get_indexer(list(genes))
    for start in range(0, len(targets.sets.groups), sets_per_pass):
        sets = targets.sets.take(slice(start, start + sets_per_pass))
        rows = sets.control.ravel()
        cells = store.dense(rows) if store.embedding is None else store.embedded(rows)
        if place is not None and store.embedding is None:
            cells = cells[:, place]
        control = torch.from_numpy(cells.reshape(*sets.control.shape, -1))
        wanted = np.stack([vectors[targets.groups[g].perturbation] for g in sets.groups])
        batch = torch.from_numpy(codes[sets.control])
        with torch.inference_mode():
            predicted = model(
                control.to(device), torch.from_numpy(wanted).to(device), batch.to(device)
            )
            decoded = None if store.embedding is None else model.decode(predicted)
        kept = targets.kept(sets)
        said = _kept(predicted, kept)
        expression = said if decoded is None else _kept(decoded, kept)
        if place is not None:
            expression[:, place] = expression.copy()
        yield Predicted(expression, None if decoded is None else said)


def _kept(
    predicted: Float[Tensor, "sets cells columns"], kept: Bool[np.ndarray, "sets cells"]
) -> Float32[np.ndarray, "kept columns"]:
    """Return the cells that are kept, without a copy where all are."""
    cells: Float32[np.ndarray, "sets cells columns"] = predicted.float().cpu().numpy()
    return cells.reshape(-1, cells.shape[2]) if kept.all() else cells[kept]


def unknown_batches(
    store: CellStore, targets: Targets, batches: Sequence[str]
) -> Bool[np.ndarray, " cells"]:
    """Tell which cells are predicted from a control of a batch that is none of these."""
    drawn = store.cells["batch"].iloc[targets.paired].astype(str)
    return ~drawn.isin(list(batches)).to_numpy()


def _codes(
    store: CellStore, targets: Targets, batches: Sequence[str], in_place: str | None
) -> Int64[np.ndarray, " cells"]:
    """Return the model's number of each cell's technical batch."""
    if in_place is not None and in_place not in batches:
        raise DataError(
            f"prediction.unknown_batch: {in_place!r} is no batch that the model was trained on"
            f"{nearest(in_place, batches)}"
        )
    unknown = unknown_batches(store, targets, batches)
    if unknown.any() and in_place is None:
        drawn = store.cells["batch"].iloc[targets.paired[unknown]].astype(str)
        raise DataError(
            f"technical batches that the model was not trained on: {listing(sorted(set(drawn)))}; "
            "set prediction.unknown_batch to the batch that is to stand for them: there are "
            f"{listing(batches, 8)}"
        )
    codes: Int64[np.ndarray, " cells"] = pd.Index(batches).get_indexer(
        pd.Index(store.cells["batch"].astype(str))
    )
    # Without one in their place, those that are left unknown are of no cell that is drawn.
    return codes if in_place is None else np.where(codes < 0, list(batches).index(in_place), codes)
