"""Predicted cells of a run's model, with its features or with others in their place."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch

from workflow_scripts.features.vectors import Features, load_features
from workflow_scripts.prediction.ensemble import Ensemble
from workflow_scripts.prediction.inputs import PredictionInputs, join_notes
from workflow_scripts.prediction.readiness import Asked
from workflow_scripts.prediction.writing import describe, write_observed, write_predicted
from workflow_scripts.settings.model_path import ENSEMBLE
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
    """

    inputs: PredictionInputs
    features: Features
    models: Ensemble
    settings: Slice
    device: torch.device

    @classmethod
    def open(cls, given: argparse.Namespace, settings: Slice) -> ModelPrediction:
        """Open what the arguments of `input_arguments.add_model_arguments` name."""
        if given.threads:
            torch.set_num_threads(given.threads)
        inputs, features = PredictionInputs.open(given, settings), load_features(given.features)
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
            [given.checkpoint, *map(Path, settings[ENSEMBLE])],
            asked,
            device,
            unknown_batch=settings["prediction.unknown_batch"],
        )
        return cls(inputs, features, models, settings, device)

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
        passes = settings["prediction.sets_per_pass"]
        blocks = inputs.predict(
            lambda drawn: self.models.predict(store, drawn, features, sets_per_pass=passes)
        )
        of_model = {"model": name, "checkpoint": settings["prediction.checkpoint"]}
        if others := settings[ENSEMBLE]:
            of_model["ensemble"] = ", ".join(others)
        if store.embedding_name is not None:
            of_model["embedding"] = store.embedding_name
        return write_predicted(
            path,
            inputs.written_store,
            targets,
            blocks,
            {**describe(store, settings["name"]), **inputs.described, **of_model},
            clip=settings["prediction.clip"],
            notes=join_notes(inputs.notes, self.models.notes(store, targets)),
            decoded_from=store.embedding_name,
        )

    def write_observed(self, path: Path) -> None:
        """Write the observed cells of the same perturbations, with the same controls."""
        inputs = self.inputs
        described = {**describe(inputs.store, self.settings["name"]), **inputs.described}
        write_observed(path, inputs.written_store, inputs.targets, described)
