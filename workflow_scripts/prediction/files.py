"""The files that a prediction reads; light, for work that is done already."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from workflow_scripts.cache.digests import check_zip
from workflow_scripts.cache.identity import NOTES, noted
from workflow_scripts.errors import DataError
from workflow_scripts.options import Cells, model_digest
from workflow_scripts.settings.findings import listing


def kept_checkpoint(path: Path) -> Path:
    """Return the checkpoint that predicts.

    ``checkpoints/step-N.ckpt`` stands for the one that the run's last training kept after N steps.

    Raises
    ------
    DataError
        If the training did not keep one, or it is damaged.
    """
    step = re.fullmatch(r"step-(\d+)\.ckpt", path.name)
    if step is None or path.exists():
        return path
    folder = path.parent / next(iter(noted(path.parent / f"final.ckpt{NOTES}")), "")
    kept = {int(found.stem.removeprefix("step=")): found for found in folder.glob("step=*.ckpt")}
    steps = listing(map(str, sorted(kept)), 8)
    if not kept:
        raise DataError(
            f"prediction.checkpoint: {folder} has no checkpoint of any step; train again (delete "
            f"{path.parent / 'final.ckpt'})"
        )
    if int(step[1]) not in kept:
        raise DataError(
            f"prediction.checkpoint: {path.parent} has no checkpoint of step {step[1]}; there are "
            f"those of {steps}. Earlier ones are deleted while training goes on: choose one of "
            "these, or train again with more of engine.keep_checkpoints (delete "
            f"{folder} first)"
        )
    found = kept[int(step[1])]
    try:
        check_zip(found)
    except DataError as error:
        raise DataError(
            f"prediction.checkpoint: {error}. Choose another of the steps {steps}, or delete "
            f"{path.parent} and train again"
        ) from error
    return found


def checkpoint_digest(path: Path) -> str:
    """Return the digest of the model that predicts."""
    return model_digest(str(kept_checkpoint(path)), "prediction.checkpoint")


@dataclass(frozen=True)
class PredictionFiles:
    """What predictions of the model and of baselines read alike.

    Attributes
    ----------
    cells
        Manifest of the packed cells (JSON).
    splits
        Split of each group (Parquet).
    features
        Vectors of the perturbations (safetensors). Of several files, each adds the perturbations
        that those before it lack.
    genes
        Genes that were chosen (JSON); all if not given.
    targets
        What to predict (Parquet); the test split if not given.
    asked_cells
        Manifest of the packed cells to predict from (JSON); --cells if not given.
    """

    cells: Cells
    splits: Path
    features: list[Path]
    genes: Path | None
    targets: Path | None
    asked_cells: Cells | None


@dataclass(frozen=True)
class ModelFiles(PredictionFiles):
    """What predictions of the model read as well.

    Attributes
    ----------
    checkpoint
        Checkpoint or model folder; step-N.ckpt beside final.ckpt is that of the training after N
        steps.
    threads
        CPU threads; all there are if not given.
    """

    checkpoint: Annotated[Path, checkpoint_digest, "params"]
    threads: int | None
