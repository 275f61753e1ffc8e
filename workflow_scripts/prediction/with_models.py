"""Predicted cells of a run's model, with its features or with others in their place."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from workflow_scripts.cells.store import CellStore
from workflow_scripts.features.vectors import Features, load_features
from workflow_scripts.prediction.amplitude import amplify, fit_amplitude
from workflow_scripts.prediction.ensemble import Ensemble
from workflow_scripts.prediction.files import ModelFiles, kept_checkpoint
from workflow_scripts.prediction.inputs import PredictionInputs, join_notes
from workflow_scripts.prediction.readiness import Asked
from workflow_scripts.prediction.targets import Targets, targets_of_test
from workflow_scripts.prediction.writing import Blocks, write_observed, write_predicted
from workflow_scripts.settings.choices import ENSEMBLE, VALIDATION
from workflow_scripts.settings.slices import Slice


@dataclass(frozen=True)
class ModelPrediction:
    """A model that is there, and what it is asked for.

    Attributes
    ----------
    inputs
        From which cells which are predicted.
    features
        Vectors of the perturbations.
    models
        One model, or several.
    settings
        Slice of the stage.
    device
        Where the model runs.
    amplitude
        Factor of the predicted effects.
    """

    inputs: PredictionInputs
    features: Features
    models: Ensemble
    settings: Slice
    device: torch.device
    amplitude: float = 1.0

    @classmethod
    def open(cls, given: ModelFiles, settings: Slice) -> ModelPrediction:
        """Open the files of a prediction; ``settings`` is the slice of its stage."""
        if given.threads:
            torch.set_num_threads(given.threads)
        inputs = PredictionInputs.open(given, settings)
        features = functools.reduce(Features.and_others, map(load_features, given.features))
        store = inputs.store
        gpu = settings["model.device"] != "cpu" and torch.cuda.is_available()
        device = torch.device("cuda" if gpu else "cpu")
        asked = Asked(
            [str(gene) for gene in store.genes],
            features.matrix.shape[1],
            settings["model.kwargs.cell_set_len"],
            store.embedding_name,
            store.embedding_dim,
        )
        models = Ensemble.load(
            [kept_checkpoint(given.checkpoint), *map(Path, settings[ENSEMBLE])],
            asked,
            device,
            unknown_batch=settings["prediction.unknown_batch"],
        )
        asked_for = cls(inputs, features, models, settings, device)
        factor = settings["prediction.amplitude"]
        return replace(
            asked_for, amplitude=asked_for._fitted() if factor == VALIDATION else float(factor)
        )

    def write(self, path: Path, features: Features, name: str) -> int:
        """Write predicted cells and the controls below them; return how many values were cut.

        Parameters
        ----------
        path
            The h5ad file.
        features
            Vectors that the model reads.
        name
            What made them: stands in the file.
        """
        inputs, settings = self.inputs, self.settings
        store, targets = inputs.store, inputs.targets

        def predict(drawn: Targets) -> Blocks:
            blocks = self._predict(store, drawn, features)
            return amplify(blocks, store, drawn, self.amplitude)

        of_model = {
            "model": name,
            "checkpoint": str(settings["prediction.checkpoint"]),
            "amplitude": self.amplitude,
        }
        if others := settings[ENSEMBLE]:
            of_model["ensemble"] = ", ".join(others)
        if store.embedding_name is not None:
            of_model["embedding"] = store.embedding_name
        controls = None
        if controls_are_predicted(settings):
            controls = inputs.predict_controls(
                predict,
                set_size=settings["model.kwargs.cell_set_len"],
                seed=settings["prediction.seed"],
            )
        return write_predicted(
            path,
            inputs.written_store,
            targets,
            inputs.predict(predict),
            {**inputs.described, **of_model},
            clip=settings["prediction.clip"],
            notes=join_notes(inputs.notes, self.models.notes(store, targets)),
            decoded_from=store.embedding_name,
            controls=controls,
        )

    def _predict(self, store: CellStore, targets: Targets, features: Features) -> Blocks:
        passes = self.settings["prediction.sets_per_pass"]
        return self.models.predict(store, targets, features, sets_per_pass=passes)

    def _fitted(self) -> float:
        """Fit the amplitude on the validation cells, as the model predicts them."""
        settings, store = self.settings, self.inputs.trained_on
        targets = targets_of_test(
            store,
            self.inputs.splits,
            set_size=settings["model.kwargs.cell_set_len"],
            by_batch=settings["data.kwargs.basal_mapping_strategy"] == "batch",
            seed=settings["prediction.seed"],
            split="val",
        )
        return fit_amplitude(
            lambda drawn: self._predict(store, drawn, self.features), store, targets
        )

    def write_observed(self, path: Path) -> None:
        """Write the observed cells of the same perturbations, with the same controls."""
        inputs = self.inputs
        write_observed(path, inputs.written_store, inputs.targets, inputs.described)


def controls_are_predicted(settings: Slice) -> bool:
    """Tell whether predictions are held against predicted controls (``evaluation.controls``)."""
    key = "evaluation.controls"
    return key in settings.paths() and settings[key] == "predicted"
