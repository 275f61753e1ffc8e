r"""Predict the test cells of a run with its trained model, and write the observed ones beside.

Example:

    python -m workflow_scripts.predict --settings results/demo/stages/predict.json \
        --config results/demo/config.yaml --checkpoint results/demo/checkpoints/final.ckpt \
        --cells cache/cells/…/manifest.json --splits results/demo/splits.parquet \
        --features results/demo/features.safetensors --work-dir results/demo/finished \
        --predictions predictions.h5ad --observed observed.h5ad
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.cache.identity import IdentityFolder
from workflow_scripts.command import command_parser, run_command
from workflow_scripts.gpu_slots import own_gpus
from workflow_scripts.prediction.input_arguments import add_model_arguments, model_digests
from workflow_scripts.settings.choices import VALIDATION
from workflow_scripts.settings.slices import Slice, read_settings
from workflow_scripts.settings.stages import identity_of


def main(arguments: Sequence[str]) -> None:
    """Predict, or link what was predicted before from the same weights and cells."""
    parser = command_parser("python -m workflow_scripts.predict", __doc__)
    parser.add_argument("--settings", type=Path, required=True, help="stage file of predict")
    add_model_arguments(parser)
    parser.add_argument(
        "--predictions", type=Path, required=True, help="predicted cells, to write (h5ad)"
    )
    parser.add_argument(
        "--observed", type=Path, required=True, help="observed cells, to write (h5ad)"
    )
    given = parser.parse_args(arguments)

    settings = read_settings(given.settings, given.config)
    inputs = model_digests(given, settings)
    work = IdentityFolder(given.work_dir, identity_of("predict", settings.identity, inputs))
    outputs = {"predictions.h5ad": given.predictions, "observed.h5ad": given.observed}
    work.note_current("predict")
    with work.lock():
        if work.has_finished(*outputs):
            print(f"predicted before: {work.path}")
        else:
            with own_gpus(1, settings["model.device"]):
                _predict(given, settings, work)
            work.finish(list(outputs))
        work.publish(outputs)


def _predict(given: argparse.Namespace, settings: Slice, work: IdentityFolder) -> None:
    # Only now: work that is already done returns without these seconds.
    from workflow_scripts.prediction.with_models import ModelPrediction

    asked = ModelPrediction.open(given, settings)
    n_cells = len(asked.inputs.targets.paired)
    if settings["prediction.amplitude"] == VALIDATION:
        print(f"amplitude of the effects, fitted on validation: {asked.amplitude:.4f}")
    print(f"predicting {n_cells} cells on {asked.device.type}", flush=True)
    if cut := asked.write(work.path / "predictions.h5ad", asked.features, "model"):
        largest = asked.inputs.store.largest_value
        print(f"{cut} predicted values were cut at {largest:.3f} (prediction.clip)")
    asked.write_observed(work.path / "observed.h5ad")


if __name__ == "__main__":
    run_command(main)
