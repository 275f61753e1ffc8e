"""Predict the test cells of a run with its trained model, and write the observed ones beside.

Example: python -m workflow_scripts.predict --settings results/demo/stages/predict.json --config
results/demo/config.yaml --checkpoint checkpoints/final.ckpt --cells cache/cells/…/manifest.json
--splits splits.parquet --features features.safetensors --predictions predictions.h5ad
--observed observed.h5ad
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.command import run_command
from workflow_scripts.prediction.input_arguments import add_input_arguments, input_digests
from workflow_scripts.settings.finished import IdentityFolder, file_digest, identity_of
from workflow_scripts.settings.model_path import ENSEMBLE, model_digest
from workflow_scripts.settings.slices import Slice, read_settings


def main(arguments: Sequence[str]) -> None:
    """Predict, or link what was predicted before from the same weights and cells."""
    parser = argparse.ArgumentParser(prog="python -m workflow_scripts.predict", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="stage file of predict")
    parser.add_argument("--config", type=Path, required=True, help="frozen config")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        help="checkpoint or model folder",
    )
    add_input_arguments(parser)
    parser.add_argument("--features", type=Path, required=True, help="canonical features")
    parser.add_argument("--predictions", type=Path, required=True, help="h5ad to write")
    parser.add_argument("--observed", type=Path, required=True, help="h5ad to write")
    parser.add_argument("--work-dir", type=Path, required=True, help="folder of finished work")
    parser.add_argument("--threads", type=int, help="CPU threads; all there are if not given")
    given = parser.parse_args(arguments)

    settings = read_settings("predict", given.settings, given.config)
    inputs = {
        "checkpoint": model_digest(str(given.checkpoint), "prediction.checkpoint"),
        "features": file_digest(given.features),
        **{f"ensemble {path}": model_digest(path, ENSEMBLE) for path in settings[ENSEMBLE]},
        **input_digests(given, settings),
    }
    work = IdentityFolder(given.work_dir, identity_of("predict", settings.identity, inputs))
    outputs = {"predictions.h5ad": given.predictions, "observed.h5ad": given.observed}
    work.note_current("predict")
    with work.lock(wait=True):
        if work.has_finished(*outputs):
            print(f"predicted before: {work.path}")
        else:
            _predict(given, settings, work)
            work.finish(list(outputs))
        work.publish(outputs)


def _predict(given: argparse.Namespace, settings: Slice, work: IdentityFolder) -> None:
    # Only now: work that is already done returns without these seconds.
    import torch

    from workflow_scripts.features.validation import load_features
    from workflow_scripts.prediction.ensemble import Ensemble
    from workflow_scripts.prediction.inputs import PredictionInputs, join_notes
    from workflow_scripts.prediction.readiness import Asked
    from workflow_scripts.prediction.writing import describe, write_observed, write_predicted

    if given.threads:
        torch.set_num_threads(given.threads)
    inputs = PredictionInputs.open(given, settings)
    store, targets = inputs.store, inputs.targets
    gpu = settings["model.device"] != "cpu" and torch.cuda.is_available()
    device = "cuda" if gpu else "cpu"
    print(f"predicting {len(targets.paired)} cells on {device}", flush=True)
    features = load_features(given.features)
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
        torch.device(device),
        unknown_batch=settings["prediction.unknown_batch"],
    )
    passes = settings["prediction.sets_per_pass"]
    blocks = inputs.predict(
        lambda drawn: models.predict(store, drawn, features, sets_per_pass=passes)
    )
    described = {**describe(store, settings["name"]), **inputs.described}
    of_model = {"model": "model", "checkpoint": settings["prediction.checkpoint"]}
    if others := settings[ENSEMBLE]:
        of_model["ensemble"] = ", ".join(others)
    if store.embedding_name is not None:
        of_model["embedding"] = store.embedding_name
    cut = write_predicted(
        work.path / "predictions.h5ad",
        inputs.written_store,
        targets,
        blocks,
        {**described, **of_model},
        clip=settings["prediction.clip"],
        notes=join_notes(inputs.notes, models.notes(store, targets)),
        decoded_from=store.embedding_name,
    )
    if cut:
        print(f"{cut} predicted values were cut at {store.largest_value:.3f} (prediction.clip)")
    write_observed(work.path / "observed.h5ad", inputs.written_store, targets, described)


if __name__ == "__main__":
    run_command(main)
