"""Predicted cells of a trained model."""

from __future__ import annotations

import numpy as np
import torch

from workflow_scripts.cells.store import CellStore
from workflow_scripts.features.validation import Features
from workflow_scripts.models import StateTransition
from workflow_scripts.prediction.targets import Targets
from workflow_scripts.prediction.writing import Blocks, Predicted
from workflow_scripts.settings.errors import DataError
from workflow_scripts.settings.findings import listing


def predict_with_model(
    model: StateTransition,
    store: CellStore,
    targets: Targets,
    features: Features,
    batches: tuple[str, ...],
    *,
    sets_per_pass: int,
) -> Blocks:
    """Yield the predicted cells of each forward pass, in the order of ``targets.observed``.

    A model of embeddings is asked with those of the controls; its gene decoder gives expression.

    Parameters
    ----------
    model
        In evaluation mode, on the device where it should run.
    store, targets, features
        Cells, what to predict, and the vectors of the perturbations.
    batches
        Technical batches in the order of the model's numbers.
    sets_per_pass
        Sets in one forward pass.
    """
    device = next(model.parameters()).device
    vectors = dict(zip(features.names, features.matrix, strict=True))
    number = {name: at for at, name in enumerate(batches)}
    drawn = store.cells["batch"].iloc[targets.paired].astype(str)
    if unknown := sorted(set(drawn) - number.keys()):
        raise DataError(f"technical batches that the model was not trained on: {listing(unknown)}")
    codes = store.cells["batch"].astype(str).map(number).to_numpy(np.float64)
    for start in range(0, len(targets.sets.groups), sets_per_pass):
        sets = targets.sets.take(slice(start, start + sets_per_pass))
        rows = sets.control.ravel()
        cells = store.dense(rows) if store.embedding is None else store.embedded(rows)
        control = torch.from_numpy(cells.reshape(*sets.control.shape, -1))
        wanted = np.stack([vectors[targets.groups[g].perturbation] for g in sets.groups])
        batch = torch.from_numpy(codes[sets.control].astype(np.int64))
        with torch.inference_mode():
            predicted = model(
                control.to(device), torch.from_numpy(wanted).to(device), batch.to(device)
            )
            decoded = None if store.embedding is None else model.decode(predicted)
        kept = targets.kept(sets)
        said = predicted.float().cpu().numpy()[kept]
        if decoded is None:
            yield Predicted(said)
        else:
            yield Predicted(decoded.float().cpu().numpy()[kept], said)
