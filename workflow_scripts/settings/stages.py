"""The one table of stages: what each rule makes, from what, and with which version of its code."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workflow_scripts.cache.digests import canonical_json, text_digest
from workflow_scripts.settings.choices import (
    CHALLENGES,
    ENSEMBLE,
    INIT_FROM,
    SPOILED_FEATURES,
    given_model,
)

Config = Mapping[str, Any]
"""A nested, resolved config of a run."""

ASKED = "targets"
"""Subfolder of a run's folder for what it predicts in place of its test split."""


@dataclass(frozen=True)
class Stage:
    """What one rule makes of a run.

    Attributes
    ----------
    output
        The file or folder in the run's folder that exists once the stage is done.
    slice
        Name of the part of the settings that it reads: the name of its file in ``stages/``, and of
        the stage in the schema.
    after
        Rules whose outputs it reads: when they run again, so does it. ``anchors`` counts
        for none: runs share that file, and each run that links it makes it younger for all.
    numerics
        Version of its arithmetic: raise it when the same inputs give other results.
    engines
        Packages whose version changes the result.
    is_in
        Tells whether a run with some config has it.
    turned_on_by
        Keys of the config that alone bring it into a run.
    """

    output: str
    slice: str
    after: tuple[str, ...] = ()
    numerics: int = 1
    engines: tuple[str, ...] = ()
    is_in: Callable[[Config], bool] = lambda config: True
    turned_on_by: tuple[str, ...] = ()


def asks(config: Config) -> bool:
    """Return whether a run predicts something else than its test split."""
    prediction = config["prediction"]
    return prediction["targets"] is not None or prediction["adata"] is not None


def _predicts(config: Config) -> bool:
    return asks(config) or config["splits"]["test"] != "none"


def _is_scored(config: Config) -> bool:
    observed = _predicts(config) and config["prediction"]["targets"] is None
    return observed and config.get("evaluation") is not None


def _spoils_features(config: Config) -> bool:
    asked = {*config["prediction"]["negative_controls"]} & {*SPOILED_FEATURES}
    return bool(asked) and _is_scored(config)


_CHECKED = ("audit_cells", "audit_splits", "validate_features")
_READ = (*_CHECKED, "select_genes", "validate_target_features", "pack_cells")
_PREDICTED = ("predict", "predict_baselines", "predict_negative_controls")
_SCORER = ("cell-eval2", "pdex")

STAGES: Mapping[str, Stage] = {
    "audit_cells": Stage("cells_audit.json", "cells"),
    "pack_cells": Stage("manifest.json", "cells", ("audit_cells",), numerics=3),
    "audit_splits": Stage("splits.parquet", "splits", ("audit_cells",), numerics=3),
    "embed_proteins": Stage(
        "embedded.safetensors",
        "features",
        ("audit_cells",),
        is_in=lambda config: config["features"]["missing"] == "embed",
        turned_on_by=("features.missing",),
    ),
    "validate_features": Stage(
        "features.safetensors", "features", ("audit_cells", "embed_proteins"), numerics=3
    ),
    "list_targets": Stage(
        "targets.parquet",
        "targets",
        ("audit_cells", "audit_splits"),
        is_in=asks,
        turned_on_by=("prediction.targets", "prediction.adata"),
    ),
    "validate_target_features": Stage(
        "target_features.safetensors",
        "features",
        ("list_targets", "validate_features"),
        is_in=asks,
    ),
    "preflight": Stage(
        "preflight.json", "preflight", (*_CHECKED, "list_targets", "validate_target_features")
    ),
    "select_genes": Stage(
        "genes.json",
        "genes",
        ("audit_splits", "pack_cells"),
        engines=("scanpy",),
        is_in=lambda config: config["genes"]["select"] != "all",
        turned_on_by=("genes.select",),
    ),
    "train": Stage(
        "checkpoints/final.ckpt",
        "train",
        (*_CHECKED, "select_genes", "pack_cells"),
        numerics=10,
        is_in=lambda config: given_model(config["prediction"]["checkpoint"]) is None,
        turned_on_by=("prediction.checkpoint",),
    ),
    "predict": Stage("predictions.h5ad", "predict", (*_READ, "train"), numerics=6, is_in=_predicts),
    "predict_baselines": Stage(
        "baselines", "predict_baselines", _READ, numerics=4, is_in=_is_scored
    ),
    "predict_negative_controls": Stage(
        "negative_controls",
        "predict_negative_controls",
        (*_READ, "train"),
        numerics=2,
        is_in=_spoils_features,
    ),
    "write_submission": Stage(
        "submission.vcc",
        "submit",
        ("predict",),
        is_in=lambda config: bool(config["prediction"]["submission"]) and _predicts(config),
        turned_on_by=("prediction.submission",),
    ),
    "anchors": Stage("anchors.json", "anchors", ("predict",), engines=_SCORER, is_in=_is_scored),
    "evaluate": Stage(
        "scores.json",
        "evaluate",
        (*_CHECKED, "select_genes", "validate_target_features", *_PREDICTED),
        numerics=9,
        engines=_SCORER,
        is_in=_is_scored,
    ),
    "report": Stage(
        "report.html", "report", (*_CHECKED, "select_genes", "preflight", "train", "evaluate")
    ),
}
"""Rules in the order in which data flows; those that only write settings or links are left out."""

SLICES: tuple[str, ...] = tuple(dict.fromkeys(stage.slice for stage in STAGES.values()))
SHARED = ("audit_cells", "pack_cells")
"""Rules whose output all runs on the same cells share."""

FILES_OF_KEYS = frozenset(
    {
        *("data.kwargs.toml_config_path", "data.kwargs.perturbation_features_file"),
        *("features.embedding.fasta", "genes.file", "prediction.genes", "prediction.targets"),
        *(INIT_FROM, ENSEMBLE),
    }
)
"""Keys that name files or models that a stage reads itself."""


def of_slice(name: str) -> list[Stage]:
    """Return the stages that read a slice."""
    return [stage for stage in STAGES.values() if stage.slice == name]


def numerics_of(name: str) -> int:
    """Return the version of the arithmetic of a slice's stages."""
    return max(stage.numerics for stage in of_slice(name))


def engines_of(name: str) -> tuple[str, ...]:
    """Return the packages whose version changes the result of a slice's stages."""
    return tuple(engine for stage in of_slice(name) for engine in stage.engines)


def identity_of(stage: str, settings: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Return the identity of a stage's work, 32 hexadecimal characters.

    Parameters
    ----------
    stage
        Name of its slice.
    settings
        Identity part of the stage's slice.
    inputs
        Name to content digest of every input that the result depends on.
    """
    content = {
        "stage": stage,
        "numerics": numerics_of(stage),
        "settings": dict(settings),
        "inputs": dict(inputs),
    }
    return text_digest(canonical_json(content))[:32]


def stages_of(config: Config) -> dict[str, Stage]:
    """Return the stages of a run, in the order of `STAGES`."""
    found = {name: stage for name, stage in STAGES.items() if stage.is_in(config)}
    if "write_submission" in found:
        file = CHALLENGES[config["prediction"]["submission"]].file
        found["write_submission"] = replace(found["write_submission"], output=file)
    return found


def reruns(config: Config, path: str, slices: tuple[str, ...]) -> list[str]:
    """Return the rules of a run that start when a key changes.

    Parameters
    ----------
    config
        Config of the run.
    path, slices
        The dotted key, and the slices that hold it.
    """
    there = stages_of(config)
    readers = [name for name, stage in STAGES.items() if stage.slice in slices]
    # Of a part that the run lacks, a change of other keys than the one that turns it on is counted
    # if nothing else reads them.
    affected = {name for name in readers if name in there or path in STAGES[name].turned_on_by}
    affected = affected or {*readers}
    for name, stage in STAGES.items():
        if name in there and not affected.isdisjoint(stage.after):
            affected.add(name)
    return [name for name in STAGES if name in affected]


def home_of(config: Config) -> str:
    """Return ``output_dir/name``, where a run trains, whatever it predicts."""
    return os.path.normpath(f"{config.get('output_dir', '.')}/{config['name']}")


def home_folder(run: Path) -> Path:
    """Return the folder where a run trains, from the folder of its predictions."""
    return run.parents[1] if run.parent.name == ASKED else run


def find_runs(places: Iterable[Path]) -> list[Path]:
    """Return the run folders that places are or hold."""
    runs = set()
    for place in places:
        for folder, folders, files in os.walk(place):
            if "config.yaml" in files and "stages" in folders:
                runs.add(Path(folder))
                folders[:] = {ASKED} & {*folders}
    return sorted(runs)
