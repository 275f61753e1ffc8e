"""Which stages a run has, and what each one is made from, as its config says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workflow_scripts.settings.model_path import given_model
from workflow_scripts.settings.schema.stages import SPOILED_FEATURES
from workflow_scripts.settings.schema.submissions import CHALLENGES

ASKED = "asked"
"""Folder, in a run's own, of what is predicted in place of its test split."""


@dataclass(frozen=True)
class Stage:
    """What one rule makes of a run.

    Attributes
    ----------
    output
        The file or folder in the run's folder that is there once the stage is done.
    settings
        Its file in ``stages/``, without the ending.
    after
        Stages whose outputs it reads: it is done anew when they are. The ends of the scale count
        for none: runs share that file, and each that links it makes it younger for all.
    log
        Its file in ``logs/``, where that isn't named like the rule.
    reads_cells
        Whether it reads packed cells; all others go by what was found in them.
    """

    output: str
    settings: str
    after: tuple[str, ...] = ()
    log: str | None = None
    reads_cells: bool = False


_CHECKED = ("audit_splits", "validate_features")
_READ = (*_CHECKED, "select_genes", "validate_target_features")
_SCORED = ("predict", "predict_baselines", "predict_unmasking")

STAGES: Mapping[str, Stage] = {
    "audit_splits": Stage("splits.parquet", "splits"),
    "embed_proteins": Stage("embedded.safetensors", "features"),
    "validate_features": Stage("features.safetensors", "features", ("embed_proteins",)),
    "list_targets": Stage("targets.parquet", "targets", ("audit_splits",)),
    "validate_target_features": Stage(
        "target_features.safetensors", "features", ("list_targets", "validate_features")
    ),
    "preflight": Stage(
        "preflight.json", "preflight", (*_CHECKED, "list_targets", "validate_target_features")
    ),
    "select_genes": Stage("genes.json", "genes", ("audit_splits",), reads_cells=True),
    "train": Stage(
        "checkpoints/final.ckpt", "train", (*_CHECKED, "select_genes"), reads_cells=True
    ),
    "predict": Stage("predictions.h5ad", "predict", (*_READ, "train"), reads_cells=True),
    "predict_baselines": Stage("baselines", "predict_baselines", _READ, reads_cells=True),
    "predict_unmasking": Stage(
        "unmasking", "predict_unmasking", (*_READ, "train"), reads_cells=True
    ),
    "write_submission": Stage("submission.vcc", "submit", ("predict",)),
    "reference_ends": Stage("reference_ends.json", "reference_ends", ("predict",)),
    "evaluate": Stage("scores.json", "evaluate", (*_READ, *_SCORED)),
    "report": Stage("report.html", "report", (*_READ, "preflight", "train", "evaluate")),
}
"""Rules of a run, in the order in which data flows; those that only write or link are left out."""


def stages_of(config: Mapping[str, Any]) -> dict[str, Stage]:
    """Return the stages of a run, in the order of `STAGES`.

    Parameters
    ----------
    config
        Nested, resolved config.
    """
    prediction, challenge = config["prediction"], config["prediction"]["submission"]
    predicts = asks(config) or config["splits"]["test"] != "none"
    scored = predicts and prediction["targets"] is None and config.get("evaluation") is not None
    left_out = {
        "embed_proteins": config["features"]["missing"] != "embed",
        "list_targets": not asks(config),
        "validate_target_features": not asks(config),
        "select_genes": config["genes"]["select"] == "all",
        "train": given_model(prediction["checkpoint"]) is not None,
        "predict": not predicts,
        "predict_baselines": not scored,
        "predict_unmasking": not (scored and {*prediction["unmasking"]} & {*SPOILED_FEATURES}),
        "write_submission": not (predicts and challenge),
        "reference_ends": not scored,
        "evaluate": not scored,
    }
    found = {name: stage for name, stage in STAGES.items() if not left_out.get(name)}
    if "write_submission" in found:
        file = CHALLENGES[challenge].file
        log = f"write_submission_{file.rpartition('.')[2]}.log"
        found["write_submission"] = replace(found["write_submission"], output=file, log=log)
    return found


def asks(config: Mapping[str, Any]) -> bool:
    """Tell whether something else than the test split is predicted."""
    prediction = config["prediction"]
    return prediction["targets"] is not None or prediction["adata"] is not None


def home_of(config: Mapping[str, Any]) -> str:
    """Return ``output_dir/name``, where a run trains, whatever it predicts."""
    return os.path.normpath(f"{config.get('output_dir', '.')}/{config['name']}")


def home_folder(run: Path) -> Path:
    """Return the same of a run's folder."""
    return run.parents[1] if run.parent.name == ASKED else run
