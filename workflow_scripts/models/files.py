"""A trained model as a folder: ``model.safetensors`` (weights) and ``model.json`` (all the rest).

The checkpoints of a training (``.ckpt``) are read as well. No file holds code, and reading one runs
none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
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
from workflow_scripts.settings.choices import CHECKPOINT
from workflow_scripts.settings.choices import MODEL_DESCRIPTION as DESCRIPTION
from workflow_scripts.settings.findings import Finding

WEIGHTS = "model.safetensors"
FORMAT = "stateline-model/2"

NAMES = ("gene_names", "perturbations", "contexts", "batches")

KEY = "stateline"
"""Entry of a checkpoint that describes its model."""

PREFIX = "model."
"""Where the training module keeps the model: the prefix of its weights."""


@dataclass(frozen=True)
class ModelDescription:
    """State what a model's numbers stand for.

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
        **asdict(description),
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
    path = Path(path)
    if path.suffix == CHECKPOINT:
        content = _read_checkpoint(path)
        check_zip(path)
        weights_of = {
            name.removeprefix(PREFIX): tensor
            for name, tensor in content["state_dict"].items()
            if name.startswith(PREFIX)
        }
        return _build(path, content[KEY]["settings"], lambda: weights_of)
    contents = _read_contents(path)
    weights = path / WEIGHTS
    if not weights.is_file():
        raise DataError(f"{path} has no {WEIGHTS}; write the model again")
    if file_digest(weights) != contents["weights_sha256"]:
        raise DataError(
            f"{weights} is not the file that {DESCRIPTION} beside it describes (its SHA-256 "
            "differs); write the model again"
        )
    return _build(path, contents["settings"], lambda: load_file(weights))


def read_description(path: Path | str) -> ModelDescription:
    """Read what a model's numbers stand for, without loading its weights.

    Raises
    ------
    DataError
        As ``load_model`` does for ``model.json``.
    """
    path = Path(path)
    contents = _read_checkpoint(path)[KEY] if path.suffix == CHECKPOINT else _read_contents(path)
    return ModelDescription(
        **{name: tuple(contents[name]) for name in NAMES},
        provenance=contents["provenance"],
        embedding=contents["embedding"],
    )


def other_splits(description: ModelDescription, splits: str, place: str) -> list[Finding]:
    """Warn of a model that may have seen the test cells.

    Parameters
    ----------
    description
        Of the model: a training writes there with which splits it was trained.
    splits
        Digest of the run's splits.
    place
        How the message begins: the key of the config that names the model, and where it lies.
    """
    if description.provenance.get("splits") == splits:
        return []
    text = (
        "it was not trained with the splits of this run, or doesn't say so: it may have seen "
        "the cells that are tested here, and what the splits allow to be claimed is not shown"
    )
    return [Finding("warning", "other-splits", place + text)]


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
    if "weights_sha256" not in contents:
        raise DataError(f"{description} lacks weights_sha256; write the model again")
    _check_description(description, contents, "write the model again")
    return contents


def _read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Map a checkpoint of a training into memory; what isn't looked at isn't read."""
    if not path.is_file():
        raise DataError(f"{path}: no such checkpoint")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises whatever its unpickler stumbles over
        raise DataError(
            f"{path}: not a whole checkpoint, or one that holds code "
            f"({type(error).__name__}); train again, or name another one"
        ) from error
    if not isinstance(content, Mapping) or not all(
        isinstance(content.get(entry), Mapping) for entry in (KEY, "state_dict")
    ):
        theirs = isinstance(content, Mapping) and "hyper_parameters" in content
        advice = (
            "; if the reference wrote it, python -m workflow_scripts.import_checkpoint makes a "
            "model of it"
        )
        raise DataError(
            f"{path}: not a checkpoint of this project: it has no entry {KEY!r}"
            f"{advice if theirs else ''}"
        )
    _check_description(path, content[KEY], "delete it and train again")
    return content


def _check_description(path: Path, contents: Mapping[str, Any], advice: str) -> None:
    """Refuse a description that lacks something, or has it of another kind."""
    expected = {"settings", *(part.name for part in fields(ModelDescription))}
    if lacking := sorted(expected - contents.keys()):
        raise DataError(
            f"{path}: written by another version: its description lacks {', '.join(lacking)}; "
            f"{advice}"
        )
    if not isinstance(contents["settings"], Mapping):
        raise DataError(f"{path}: settings is {contents['settings']!r}, must be a mapping")
    for name in NAMES:
        if not isinstance(contents[name], list | tuple):
            raise DataError(f"{path}: {name} is {contents[name]!r}, must be a list of names")
