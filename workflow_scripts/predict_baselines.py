"""Predict the test cells of a run with its baselines, fitted on the training cells.

Example: python -m workflow_scripts.predict_baselines --settings
results/demo/stages/predict_baselines.json --config results/demo/config.yaml --cells
cache/cells/…/manifest.json --splits splits.parquet --features features.safetensors
--out-dir results/demo/baselines
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.cells.gene_choice import ChosenGenes
from workflow_scripts.cells.manifest import Manifest
from workflow_scripts.command import run_command
from workflow_scripts.settings.finished import IdentityFolder, file_digest, identity_of
from workflow_scripts.settings.schema.stages import FEATURE_BASELINES
from workflow_scripts.settings.slices import Slice, read_settings


def main(arguments: Sequence[str]) -> None:
    """Fit and predict, or link what was predicted before from the same cells."""
    parser = argparse.ArgumentParser(
        prog="python -m workflow_scripts.predict_baselines", description=__doc__
    )
    parser.add_argument("--settings", type=Path, required=True, help="stage file of the baselines")
    parser.add_argument("--config", type=Path, required=True, help="frozen config")
    parser.add_argument("--cells", type=Path, required=True, help="manifest of the packed cells")
    parser.add_argument("--splits", type=Path, required=True, help="split of each group")
    parser.add_argument(
        "--genes", type=Path, nargs="?", help="genes that were chosen; all if not given"
    )
    parser.add_argument(
        "--features",
        type=Path,
        nargs="?",
        help="vectors of the perturbations, for the baselines that read them",
    )
    parser.add_argument(
        "--out-dir", type=Path, required=True, help="folder of the h5ad files, one a baseline"
    )
    parser.add_argument("--work-dir", type=Path, required=True, help="folder of finished work")
    given = parser.parse_args(arguments)

    settings = read_settings("predict_baselines", given.settings, given.config)
    cells = Manifest.read(given.cells)
    for text in cells.changed_sources():
        print(f"warning: {text}", flush=True)
    inputs = {
        "cells": cells.digest,
        "splits": file_digest(given.splits),
    }
    if given.genes is not None:
        inputs["genes"] = file_digest(given.genes)
    names = settings["prediction.baselines"]
    if not set(names) & set(FEATURE_BASELINES):
        given.features = None  # What nothing reads changes nothing.
    if given.features is not None:
        inputs["features"] = file_digest(given.features)
    identity = identity_of("predict_baselines", settings.identity, inputs)
    work = IdentityFolder(given.work_dir, identity)
    outputs = {f"{name}.h5ad": given.out_dir / f"{name}.h5ad" for name in names}
    work.note_current("predict_baselines")
    with work.lock(wait=True):
        if work.has_finished(*outputs):
            print(f"predicted before: {work.path}")
        else:
            _predict(given, settings, work, names)
            work.finish(list(outputs))
        given.out_dir.mkdir(parents=True, exist_ok=True)
        work.publish(outputs)


def _predict(
    given: argparse.Namespace, settings: Slice, work: IdentityFolder, names: Sequence[str]
) -> None:
    # Only now: work that is already done returns without these seconds.
    import pandas as pd

    from workflow_scripts.cells.store import CellStore
    from workflow_scripts.features.validation import load_features
    from workflow_scripts.prediction.baselines import Baselines
    from workflow_scripts.prediction.targets import targets_of_test
    from workflow_scripts.prediction.writing import describe, write_predicted

    store, described = CellStore.open(given.cells), {}
    if given.genes is not None:
        genes = ChosenGenes.read(given.genes)
        store, described = store.select(genes.names), {"genes": genes.sentence}
    splits = pd.read_parquet(given.splits)
    targets = targets_of_test(
        store,
        splits,
        set_size=settings["model.kwargs.cell_set_len"],
        by_batch=settings["data.kwargs.basal_mapping_strategy"] == "batch",
        seed=settings["prediction.seed"],
    )
    baselines = Baselines.fit(
        store, splits, targets, most_cells=settings["engine.downsample_cells"]
    )
    if given.features is not None:
        baselines = baselines.with_features(
            load_features(given.features), settings["prediction.seed"]
        )
    for name in names:
        baseline = baselines.build(name)
        write_predicted(
            work.path / f"{name}.h5ad",
            store,
            targets,
            baselines.predict(
                baseline, store, targets, sets_per_pass=settings["prediction.sets_per_pass"]
            ),
            {**describe(store, settings["name"]), **described, "model": name},
            clip=settings["prediction.clip"],
            notes=baselines.notes(baseline, targets),
        )
        print(f"{name}: {len(targets.observed)} cells", flush=True)


if __name__ == "__main__":
    run_command(main)
