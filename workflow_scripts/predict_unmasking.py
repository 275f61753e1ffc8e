r"""Predict the test cells of a run with its model, reading features that say nothing.

A model that predicts as well so has not learned what features are for.

Example:

    python -m workflow_scripts.predict_unmasking \
        --settings results/demo/stages/predict_unmasking.json --config results/demo/config.yaml \
        --checkpoint results/demo/checkpoints/final.ckpt --cells cache/cells/…/manifest.json \
        --splits results/demo/splits.parquet --features results/demo/features.safetensors \
        --work-dir results/demo/finished --out-dir unmasking
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.cache.identity import IdentityFolder
from workflow_scripts.command import command_parser, run_command
from workflow_scripts.gpu_slots import own_gpus
from workflow_scripts.prediction.input_arguments import add_model_arguments, model_digests
from workflow_scripts.settings.choices import SPOILED_FEATURES
from workflow_scripts.settings.slices import Slice, read_settings
from workflow_scripts.settings.stages import identity_of


def main(arguments: Sequence[str]) -> None:
    """Predict, or link what was predicted before from the same weights and cells."""
    parser = command_parser("python -m workflow_scripts.predict_unmasking", __doc__)
    parser.add_argument(
        "--settings", type=Path, required=True, help="stage file of predict_unmasking"
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--out-dir", type=Path, required=True, help="folder of what is predicted, to write (h5ad)"
    )
    given = parser.parse_args(arguments)
    settings = read_settings(given.settings, given.config)
    names = [name for name in settings["prediction.unmasking"] if name in SPOILED_FEATURES]
    inputs = model_digests(given, settings)
    identity = identity_of("predict_unmasking", settings.identity, inputs)
    work = IdentityFolder(given.work_dir, identity)
    outputs = {f"{name}.h5ad": given.out_dir / f"{name}.h5ad" for name in names}
    work.note_current("predict_unmasking")
    with work.lock():
        if work.has_finished(*outputs):
            print(f"predicted before: {work.path}")
        else:
            with own_gpus(1, settings["model.device"]):
                _predict(given, settings, work, names)
            work.finish(list(outputs))
        given.out_dir.mkdir(parents=True, exist_ok=True)
        work.publish(outputs)


def _predict(
    given: argparse.Namespace, settings: Slice, work: IdentityFolder, names: Sequence[str]
) -> None:
    # Only now: work that is already done returns without these seconds.
    from workflow_scripts.prediction.unmasking import spoiled
    from workflow_scripts.prediction.with_models import ModelPrediction

    asked = ModelPrediction.open(given, settings)
    control = asked.inputs.store.manifest["control"]
    for name in names:
        features = spoiled(asked.features, control, name, settings["prediction.seed"])
        asked.write(work.path / f"{name}.h5ad", features, name)
        print(f"{name}: {len(asked.inputs.targets.paired)} cells", flush=True)


if __name__ == "__main__":
    run_command(main)
