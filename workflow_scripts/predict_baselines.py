r"""Predict the test cells of a run with its baselines, fitted on the training cells.

Example:

    python -m workflow_scripts.predict_baselines \
        --settings results/demo/stages/predict_baselines.json --config results/demo/config.yaml \
        --cells cache/cells/…/manifest.json --splits results/demo/splits.parquet \
        --features results/demo/features.safetensors --work-dir results/demo/finished \
        --out-dir baselines
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.cache.digests import file_digest
from workflow_scripts.cache.identity import IdentityFolder
from workflow_scripts.command import command_parser, run_command
from workflow_scripts.prediction.input_arguments import add_input_arguments, input_digests
from workflow_scripts.settings.choices import FEATURE_BASELINES
from workflow_scripts.settings.slices import Slice, read_settings
from workflow_scripts.settings.stages import identity_of


def main(arguments: Sequence[str]) -> None:
    """Fit and predict, or link what was predicted before from the same cells."""
    parser = command_parser("python -m workflow_scripts.predict_baselines", __doc__)
    parser.add_argument("--settings", type=Path, required=True, help="stage file of the baselines")
    parser.add_argument("--config", type=Path, required=True, help="frozen config (YAML)")
    add_input_arguments(parser)
    parser.add_argument(
        "--features",
        type=Path,
        nargs="*",
        default=[],
        help="vectors of the perturbations (safetensors), for the baselines that read them; of "
        "several files, each adds what the ones before it lack",
    )
    parser.add_argument(
        "--out-dir",
        type=Path,
        required=True,
        help="folder of what is predicted, to write (h5ad, one a baseline)",
    )
    parser.add_argument("--work-dir", type=Path, required=True, help="folder of finished work")
    given = parser.parse_args(arguments)

    settings = read_settings(given.settings, given.config)
    inputs = input_digests(given, settings)
    names = settings["prediction.baselines"]
    if not set(names) & set(FEATURE_BASELINES):
        given.features = []  # What nothing reads changes nothing.
    for key, path in zip(("features", "target_features"), given.features, strict=False):
        inputs[key] = file_digest(path)
    identity = identity_of("predict_baselines", settings.identity, inputs)
    work = IdentityFolder(given.work_dir, identity)
    outputs = {f"{name}.h5ad": given.out_dir / f"{name}.h5ad" for name in names}
    work.note_current("predict_baselines")
    with work.lock():
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
    import functools

    from workflow_scripts.features.vectors import Features, load_features
    from workflow_scripts.prediction.baselines import Baseline, Baselines
    from workflow_scripts.prediction.inputs import PredictionInputs, join_notes
    from workflow_scripts.prediction.targets import Targets
    from workflow_scripts.prediction.writing import Blocks, write_predicted

    inputs = PredictionInputs.open(given, settings)
    store, targets = inputs.store, inputs.targets
    baselines = Baselines.fit(
        inputs.trained_on,
        inputs.splits,
        targets,
        most_cells=settings["engine.downsample_cells"],
        predicted_from=None if store is inputs.trained_on else store,
    )
    if given.features:
        features = functools.reduce(Features.and_others, map(load_features, given.features))
        baselines = baselines.with_features(features, settings["prediction.seed"])

    def predict(baseline: Baseline, drawn: Targets) -> Blocks:
        passes = settings["prediction.sets_per_pass"]
        return baselines.predict(baseline, store, drawn, sets_per_pass=passes)

    for name in names:
        baseline = baselines.build(name)
        write_predicted(
            work.path / f"{name}.h5ad",
            inputs.written_store,
            targets,
            inputs.predict(functools.partial(predict, baseline)),
            {**inputs.described, "model": name},
            clip=settings["prediction.clip"],
            notes=join_notes(baselines.notes(baseline, targets), inputs.notes),
        )
        print(f"{name}: {len(targets.paired)} cells", flush=True)


if __name__ == "__main__":
    run_command(main)
