"""Predictions of a trained model, or the mean of several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from workflow_scripts.cells.groups import Group
from workflow_scripts.cells.predicted_cells import Blocks, Predicted, mean_effects
from workflow_scripts.cells.store import CellStore
from workflow_scripts.cells.targets import Targets
from workflow_scripts.errors import DataError
from workflow_scripts.features.vectors import Features, load_features
from workflow_scripts.models import ModelDescription, StateTransition, load_model, read_description
from workflow_scripts.prediction.files import ModelFiles, kept_checkpoint
from workflow_scripts.prediction.prediction import Notes, Prediction, join_notes, mean_of
from workflow_scripts.prediction.readiness import Asked, check_batches, misfits
from workflow_scripts.settings.choices import ENSEMBLE, VALIDATION
from workflow_scripts.settings.slices import Slice

MOST_CONTROLS = 2000
"""Controls of a context that an effect is averaged over: a pass through the model for each of them
and each target. The mean of so many has a twentieth of the noise variance of 100 observed cells."""

_CONTROLS = 24
"""Purpose of random numbers: no other draw shares its key."""


@dataclass(frozen=True)
class TrainedModels:
    """Trained models whose predictions are averaged (`prediction.Predictor`).

    Attributes
    ----------
    models
        Each with what it says of itself, in evaluation mode, on the device where it runs.
    features
        Vectors of the perturbations.
    unknown_batch
        Batch in whose place cells of a batch that a model doesn't know are taken.
    amplitude
        Factor of the predicted effects.
    checkpoint, ensemble
        What the config calls the first, and the others.
    labels
        Of which perturbation each one may borrow values, where not of itself.
    """

    models: Sequence[tuple[StateTransition, ModelDescription]]
    features: Features
    unknown_batch: str | None = None
    amplitude: float = 1.0
    checkpoint: str = "final"
    ensemble: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, given: ModelFiles, prediction: Prediction) -> TrainedModels:
        """Load the models of a prediction.

        Raises
        ------
        DataError
            Where one can't be read, or doesn't fit what is asked of it.
        """
        if given.threads:
            torch.set_num_threads(given.threads)
        settings, store = prediction.settings, prediction.store
        features = load_features(*given.features)
        asked = Asked(
            [str(gene) for gene in store.genes],
            features.matrix.shape[1],
            settings["model.kwargs.cell_set_len"],
            store.embedding_name,
            store.embedding_dim,
        )
        gpu = settings["model.device"] != "cpu" and torch.cuda.is_available()
        others = settings[ENSEMBLE]
        models = cls(
            [
                load_fitting(path, asked, "cuda" if gpu else "cpu")
                for path in (kept_checkpoint(given.checkpoint), *map(Path, others))
            ],
            features,
            settings["prediction.unknown_batch"],
            checkpoint=str(settings["prediction.checkpoint"]),
            ensemble=others,
        )
        factor = settings["prediction.amplitude"]
        if factor == VALIDATION:
            targets = prediction.targets_of("val")
            blocks = models.predict(
                prediction.trained_on, targets, settings["prediction.sets_per_pass"]
            )
            factor = fit_amplitude(blocks, prediction.trained_on, targets)
        return replace(models, amplitude=float(factor))

    @property
    def description(self) -> Mapping[str, Any]:
        """What a file says of the models."""
        optional = {"ensemble": ", ".join(self.ensemble), "embedding": self.models[0][1].embedding}
        return {
            "checkpoint": self.checkpoint,
            "amplitude": self.amplitude,
            **{name: value for name, value in optional.items() if value},
        }

    @property
    def device(self) -> torch.device:
        """Where they run."""
        return next(self.models[0][0].parameters()).device

    def predict(self, store: CellStore, targets: Targets, sets_per_pass: int) -> Blocks:
        """Yield the mean of the models' cells, in the order of ``targets.paired``.

        A model of embeddings is asked with those of the controls; its gene decoder gives
        expression.

        Raises
        ------
        DataError
            Where a model encodes technical batches, and has not seen all of those of the controls,
            nor the one in their place.
        """
        blocks = mean_of(
            self._predict_with(*one, store, targets, sets_per_pass) for one in self.models
        )
        return _amplify(blocks, store, targets, self.amplitude)

    def mean_effects(
        self, store: CellStore, groups: list[Group], settings: Slice
    ) -> np.ndarray | None:
        """Return the effects of groups over all their controls; none of models of embeddings.

        Where there are more than `MOST_CONTROLS`, over as many that the seed draws.
        """
        if store.embedding is not None:
            return None
        seed = settings["prediction.seed"]
        drawn: dict[int, np.ndarray] = {}
        for group in groups:  # many share the same array
            if id(group.controls) not in drawn:
                rng = np.random.default_rng([seed, _CONTROLS, len(drawn)])
                drawn[id(group.controls)] = np.sort(rng.permutation(group.controls)[:MOST_CONTROLS])
        groups = [replace(group, controls=drawn[id(group.controls)]) for group in groups]
        set_size = settings["model.kwargs.cell_set_len"]
        every = Targets.all_controls(groups, set_size=set_size, seed=seed)
        blocks = self.predict(store, every, settings["prediction.sets_per_pass"])
        return mean_effects(blocks, store, every)

    def notes(self, store: CellStore, targets: Targets, others: Notes) -> Notes:
        """Return a remark for each cell of a batch that a model doesn't know, after other ones."""
        unknown = [
            unknown_batches(store, targets, description.batches)
            for model, description in self.models
            if model.batch_encoder is not None
        ]
        if self.unknown_batch is None or not unknown:
            return others
        text = f"batch not trained on: as {self.unknown_batch}"
        return join_notes(others, np.where(np.any(unknown, axis=0), text, ""))

    def _predict_with(
        self,
        model: StateTransition,
        description: ModelDescription,
        store: CellStore,
        targets: Targets,
        sets_per_pass: int,
    ) -> Iterator[Predicted]:
        vectors = dict(zip(self.features.names, self.features.matrix, strict=True))
        codes = np.zeros(store.n_cells, dtype=np.int64)
        if model.batch_encoder is not None:
            codes = _codes(store, targets, description.batches, self.unknown_batch)
        place = None  # of the model's genes, which may have another order than the store's
        if list(description.gene_names) != list(store.genes):
            place = pd.Index(store.genes).get_indexer(list(description.gene_names))
        for sets in targets.passes(sets_per_pass):
            rows = sets.control.ravel()
            cells = store.dense(rows) if store.embedding is None else store.embedded(rows)
            if place is not None and store.embedding is None:
                cells = cells[:, place]
            control = torch.from_numpy(cells.reshape(*sets.control.shape, -1))
            wanted = np.stack([vectors[targets.groups[g].perturbation] for g in sets.groups])
            inputs = control, torch.from_numpy(wanted), torch.from_numpy(codes[sets.control])
            with torch.inference_mode():
                predicted = model(*(each.to(self.device) for each in inputs))
                decoded = None if store.embedding is None else model.decode(predicted)
            embedding = None if decoded is None else _kept(predicted, sets.wanted)
            expression = _kept(predicted if decoded is None else decoded, sets.wanted)
            if place is not None:
                expression[:, place] = expression.copy()
            yield Predicted(expression, embedding)


def load_fitting(path: Path, asked: Asked, device: str) -> tuple[StateTransition, ModelDescription]:
    """Load a model that fits what is asked of it.

    Raises
    ------
    DataError
        Where it can't be read, or doesn't fit.
    """
    model, description = load_model(path).to(device), read_description(path)
    if found := misfits(model.settings, description, asked):
        raise DataError(f"{path}: " + "; ".join(found))
    return model, description


def fit_amplitude(blocks: Blocks, store: CellStore, targets: Targets) -> float:
    """Return the factor by which predicted effects come closest to those observed.

    Least squares through the origin over genes and groups, a = Σpo / Σp²: p, a group's mean of
    predicted cells less that of the controls they were predicted from; o, of its observed cells
    less that of all its controls, whose noise p doesn't share. Not below 0.

    Parameters
    ----------
    blocks
        Predicted cells.
    store
        Observed cells.
    targets
        Of the validation cells.

    Raises
    ------
    DataError
        Where nothing is predicted to change, so that no factor helps.
    """
    both, squares = 0.0, 0.0
    controls: dict[int, np.ndarray] = {}
    for group, predicted in zip(targets.groups, mean_effects(blocks, store, targets), strict=True):
        pool = id(group.controls)  # many groups share the same array
        if pool not in controls:
            controls[pool] = store.mean(group.controls)
        both += float(predicted @ (store.mean(group.rows) - controls[pool]))
        squares += float(predicted @ predicted)
    if squares == 0:
        raise DataError(
            "prediction.amplitude is validation, and the model predicts no effect at all on the "
            "validation cells; give a number"
        )
    return max(both / squares, 0.0)


def _amplify(blocks: Blocks, store: CellStore, targets: Targets, factor: float) -> Blocks:
    """Scale what tells each cell from its control: control + factor × (cell − control), ≥ 0."""
    at = 0
    for cells, embedding in blocks:
        scaled = cells
        if factor != 1.0:
            control = store.dense(targets.paired[at : at + len(cells)])
            scaled = np.maximum(control + np.float32(factor) * (cells - control), 0.0)
        at += len(cells)
        yield Predicted(scaled, embedding)


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
    drawn = set(store.cells["batch"].iloc[targets.paired].astype(str))
    for fault in check_batches(batches, drawn, in_place):
        if fault.severity == "error":
            raise DataError(fault.message)
    codes: Int64[np.ndarray, " cells"] = pd.Index(batches).get_indexer(
        pd.Index(store.cells["batch"].astype(str))
    )
    # Without one in their place, those that are left unknown are of no cell that is drawn.
    return codes if in_place is None else np.where(codes < 0, list(batches).index(in_place), codes)
