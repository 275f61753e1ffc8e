"""A trained model as a folder: ``model.safetensors`` (weights) and ``model.json`` (all the rest).

The checkpoints of a training are read as well.

Neither file holds code, and reading them runs none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from workflow_scripts.cache.digests import check_zip, file_digest
from workflow_scripts.errors import DataError
from workflow_scripts.models.model_settings import StateTransitionSettings
from workflow_scripts.models.st import StateTransition
from workflow_scripts.models.training_checkpoint import (
    KEY,
    NAMES,
    check_kinds,
    model_weights,
    read_checkpoint,
)
from workflow_scripts.settings.choices import CHECKPOINT
from workflow_scripts.settings.choices import MODEL_DESCRIPTION as DESCRIPTION

WEIGHTS = "model.safetensors"
FORMAT = "stateline-model/2"

EMBEDDING = "embedding"
"""The one entry that a description may lack: models of expression were written without it."""


@dataclass(frozen=True)
class ModelDescription:
    """Say what a model's numbers stand for.

    Parameters
    ----------
    gene_names
        Names of the predicted (or decoded) genes, in their order; empty if they are unknown.
    perturbations, contexts, batches
        Names in the order of the numbers a model is asked with; empty where it knows none.
    provenance
        Where the model comes from, in JSON's types: run, step, digests.
    embedding
        Name of the embedding that it reads; None where that is expression, or unknown.
    """

    gene_names: tuple[str, ...]
    perturbations: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()
    batches: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    embedding: str | None = None


def save_model(folder: Path, model: StateTransition, description: ModelDescription) -> None:
    """Write a model folder, so that a reader finds the old model or the new one, whole.

    Parameters
    ----------
    folder
        Made if it is missing; the two files in it are replaced, others left alone.
    model, description
        The model, and what its numbers stand for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / f"{WEIGHTS}.new"
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    weights.write_bytes(save(state))  # save_file closes the file to other users
    contents = {
        "format": FORMAT,
        # Ties the two files: a crash between the two renames below must not pass for a model.
        "weights_sha256": file_digest(weights),
        "settings": model.settings.to_dict(),
        **{part.name: getattr(description, part.name) for part in fields(description)},
    }
    text = folder / f"{DESCRIPTION}.new"
    text.write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")
    weights.replace(folder / WEIGHTS)
    text.replace(folder / DESCRIPTION)


def load_model(path: Path | str) -> StateTransition:
    """Load a model on the CPU, in evaluation mode.

    Parameters
    ----------
    path
        A folder that ``save_model`` wrote, or a checkpoint of a training (``.ckpt``).

    Raises
    ------
    DataError
        If the folder or a file in it is missing, truncated, of another format, or doesn't fit.
    """
    folder = Path(path)
    if folder.suffix == CHECKPOINT:
        content = read_checkpoint(folder)
        check_zip(folder)
        return _build(folder, content[KEY]["settings"], lambda: model_weights(content))
    contents = _read_contents(folder)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise DataError(f"{folder} has no {WEIGHTS}; write the model again")
    if file_digest(weights) != contents["weights_sha256"]:
        raise DataError(
            f"{weights} is not the file that {DESCRIPTION} beside it describes (its SHA-256 "
            "differs); write the model again"
        )
    return _build(folder, contents["settings"], lambda: load_file(weights))


def read_description(path: Path | str) -> ModelDescription:
    """Read what a model's numbers stand for, without loading its weights.

    Raises
    ------
    DataError
        As ``load_model`` does for ``model.json``.
    """
    path = Path(path)
    contents = read_checkpoint(path)[KEY] if path.suffix == CHECKPOINT else _read_contents(path)
    return ModelDescription(
        **{name: tuple(contents[name]) for name in NAMES},
        provenance=contents["provenance"],
        embedding=contents.get(EMBEDDING),
    )


def _build(
    path: Path, settings: Mapping[str, Any], read_weights: Callable[[], Mapping[str, Tensor]]
) -> StateTransition:
    try:
        # Without storage the weights are not drawn at random first: faster, and the random state
        # of a caller stays as it is.
        with torch.device("meta"):
            model = StateTransition(StateTransitionSettings.from_dict(settings))
        model.load_state_dict(read_weights(), assign=True)
    except (ValueError, RuntimeError, SafetensorError) as error:
        raise DataError(f"{path} can't be loaded as a model: {error}") from error
    return model.eval()


def _read_contents(folder: Path) -> dict[str, Any]:
    description = folder / DESCRIPTION
    if not description.is_file():
        raise DataError(f"{folder} is no model folder: it has no {DESCRIPTION}")
    try:
        contents = json.loads(description.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{description} is not JSON: {error}; write the model again") from error
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        raise DataError(f"{description} does not say format {FORMAT!r}; write the model again")
    expected = {"weights_sha256", "settings", *(part.name for part in fields(ModelDescription))}
    missing = sorted(expected - {EMBEDDING} - contents.keys())
    if missing:
        raise DataError(f"{description} lacks {', '.join(missing)}; write the model again")
    check_kinds(description, contents)
    return contents
