"""The files that a prediction reads; light, for work that is done already."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.stage import Cells, Model


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
        Checkpoint or model folder.
    threads
        CPU threads; all there are if not given.
    """

    checkpoint: Model
    threads: int | None
