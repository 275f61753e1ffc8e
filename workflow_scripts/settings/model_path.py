"""Where a model lies: a folder with its description, or a checkpoint of a training."""

from __future__ import annotations

from pathlib import Path

from workflow_scripts.settings.errors import DataError
from workflow_scripts.settings.finished import file_digest

DESCRIPTION = "model.json"
"""What describes the model of a folder; it holds the digest of the weights beside it."""

CHECKPOINT = ".ckpt"

ENSEMBLE = "prediction.ensemble"
"""Key of the models whose predictions are averaged with those of ``prediction.checkpoint``."""

OWN_STATES = ("final", "best")
"""What ``prediction.checkpoint`` calls the states of the run's own training."""


def given_model(checkpoint: str | int) -> str | None:
    """Return the path that ``prediction.checkpoint`` names; None where the run trains a model."""
    return checkpoint if isinstance(checkpoint, str) and checkpoint not in OWN_STATES else None


def own_checkpoint(checkpoint: str | int) -> str:
    """Return the file name of a state of the run's own training: a word, or a number of steps."""
    return f"{checkpoint}.ckpt" if isinstance(checkpoint, str) else f"step-{checkpoint}.ckpt"


def known_by(path: str) -> Path:
    """Return the file whose content stands for a model: it changes where the model does."""
    return Path(path) if Path(path).suffix == CHECKPOINT else Path(path) / DESCRIPTION


def model_digest(path: str, key: str) -> str:
    """Return the digest of what a model is: of its checkpoint, or of what describes its folder.

    Parameters
    ----------
    path
        Where it lies.
    key
        Key of the config that names it.

    Raises
    ------
    DataError
        If there is no such model.
    """
    file = known_by(path)
    if not file.is_file():
        raise DataError(f"{file}: no such file; {key} names {path}")
    return file_digest(file)
