"""Several trained models that predict together: the mean of what each says of the same cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from workflow_scripts.cells.store import CellStore
from workflow_scripts.errors import DataError
from workflow_scripts.features.vectors import Features
from workflow_scripts.models import (
    ModelDescription,
    StateTransition,
    load_model,
    read_description,
)
from workflow_scripts.prediction.inputs import join_notes, mean_of
from workflow_scripts.prediction.model import predict_with_model, unknown_batches
from workflow_scripts.prediction.readiness import Asked, misfits
from workflow_scripts.prediction.targets import Targets
from workflow_scripts.prediction.writing import Blocks


@dataclass(frozen=True)
class Ensemble:
    """One trained model, or several whose predictions are averaged.

    Attributes
    ----------
    models
        Each with what it says of itself, on the device where they run.
    unknown_batch
        Batch in whose place those take cells of a batch that they don't know.
    """

    models: tuple[tuple[StateTransition, ModelDescription], ...]
    unknown_batch: str | None

    @classmethod
    def load(
        cls,
        paths: Sequence[Path],
        asked: Asked,
        device: torch.device,
        *,
        unknown_batch: str | None,
    ) -> Ensemble:
        """Load models.

        Raises
        ------
        DataError
            Where one can't be read, or doesn't fit what is asked of it.
        """
        models = []
        for path in paths:
            model, description = load_model(path).to(device), read_description(path)
            if found := misfits(model.settings, description, asked):
                raise DataError(f"{path}: " + "; ".join(found))
            models.append((model, description))
        return cls(tuple(models), unknown_batch)

    def predict(
        self, store: CellStore, targets: Targets, features: Features, *, sets_per_pass: int
    ) -> Blocks:
        """Yield the mean of the models' predictions, as `predict_with_model` yields one's."""
        return mean_of(
            predict_with_model(
                *(model, store, targets, features, description.batches),
                genes=description.gene_names,
                sets_per_pass=sets_per_pass,
                unknown_batch=self.unknown_batch,
            )
            for model, description in self.models
        )

    def notes(self, store: CellStore, targets: Targets) -> np.ndarray | None:
        """Return a remark for each cell of a batch that a model doesn't know; None for none."""
        if self.unknown_batch is None:
            return None
        unknown = [
            unknown_batches(store, targets, description.batches)
            for model, description in self.models
            if model.batch_encoder is not None
        ]
        text = f"batch not trained on: as {self.unknown_batch}"
        return join_notes(np.where(np.any(unknown, axis=0), text, "")) if unknown else None
