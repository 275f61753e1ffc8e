"""What names the inputs of a prediction on a command line; light, for work that is done already."""

from __future__ import annotations

import argparse
from pathlib import Path

from workflow_scripts.cache.digests import file_digest
from workflow_scripts.cells.manifest import Manifest
from workflow_scripts.models.model_path import model_digest
from workflow_scripts.settings.choices import ENSEMBLE, WRITTEN_GENES
from workflow_scripts.settings.slices import Slice


def add_input_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what names the inputs of a prediction to a script's command line."""
    parser.add_argument(
        "--cells", type=Path, required=True, help="manifest of the packed cells (JSON)"
    )
    parser.add_argument("--splits", type=Path, required=True, help="split of each group (Parquet)")
    parser.add_argument(
        "--genes", type=Path, nargs="?", help="genes that were chosen (JSON); all if not given"
    )
    parser.add_argument(
        "--targets",
        type=Path,
        nargs="?",
        help="what to predict (Parquet); the test split if not given",
    )
    parser.add_argument(
        "--asked-cells",
        type=Path,
        nargs="?",
        help="manifest of the packed cells to predict from (JSON); --cells if not given",
    )


def input_digests(given: argparse.Namespace, settings: Slice) -> dict[str, str]:
    """Return the digests of those inputs."""
    manifests = {"cells": given.cells}
    if given.asked_cells is not None and given.asked_cells != given.cells:
        manifests["asked_cells"] = given.asked_cells
    digests = {name: Manifest.read(path).digest for name, path in manifests.items()}
    files = {"splits": given.splits, "genes": given.genes, "targets": given.targets}
    if settings[WRITTEN_GENES] is not None:
        files["written"] = Path(settings[WRITTEN_GENES])
    return digests | {name: file_digest(path) for name, path in files.items() if path is not None}


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add those, and what names the model that predicts."""
    parser.add_argument("--config", type=Path, required=True, help="frozen config (YAML)")
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint or model folder")
    add_input_arguments(parser)
    parser.add_argument(
        "--features",
        type=Path,
        nargs="+",
        required=True,
        help="vectors of the perturbations (safetensors); of several files, each adds what the "
        "ones before it lack",
    )
    parser.add_argument("--work-dir", type=Path, required=True, help="folder of finished work")
    parser.add_argument("--threads", type=int, help="CPU threads; all there are if not given")


def model_digests(given: argparse.Namespace, settings: Slice) -> dict[str, str]:
    """Return the digests of all inputs of a model's predictions."""
    return {
        "checkpoint": model_digest(str(given.checkpoint), "prediction.checkpoint"),
        **{f"features {at}": file_digest(path) for at, path in enumerate(given.features)},
        **{f"ensemble {path}": model_digest(path, ENSEMBLE) for path in settings[ENSEMBLE]},
        **input_digests(given, settings),
    }
