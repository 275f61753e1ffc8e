"""Predict what a run asks for with its baselines."""

from __future__ import annotations

import functools

from workflow_scripts.command import run_command
from workflow_scripts.prediction.files import PredictionFiles
from workflow_scripts.settings.slices import Slice
from workflow_scripts.stage import OutputFolder, stage


@stage("predict_baselines", shared=True)
def predict_baselines(settings: Slice, files: PredictionFiles, out_dir: OutputFolder) -> None:
    """Predict the test cells of a run with its baselines, fitted on the training cells.

    All runs with the same cells, splits and baselines share the work.

    Parameters
    ----------
    out_dir
        Folder of predicted cells, to write (h5ad, one a baseline).
    """
    from workflow_scripts.features.vectors import Features, load_features
    from workflow_scripts.prediction.baselines import Baseline, Baselines
    from workflow_scripts.prediction.inputs import PredictionInputs, join_notes
    from workflow_scripts.prediction.targets import Targets
    from workflow_scripts.prediction.writing import Blocks, write_predicted

    inputs = PredictionInputs.open(files, settings)
    store, targets = inputs.store, inputs.targets
    baselines = Baselines.fit(
        inputs.trained_on,
        inputs.splits,
        targets,
        most_cells=settings["engine.downsample_cells"],
        predicted_from=None if store is inputs.trained_on else store,
    )
    if files.features:
        features = functools.reduce(Features.and_others, map(load_features, files.features))
        baselines = baselines.with_features(features, settings["prediction.seed"])

    def predict(baseline: Baseline, drawn: Targets) -> Blocks:
        passes = settings["prediction.sets_per_pass"]
        return baselines.predict(baseline, store, drawn, sets_per_pass=passes)

    for name in settings["prediction.baselines"]:
        baseline = baselines.build(name)
        write_predicted(
            out_dir / f"{name}.h5ad",
            inputs.written_store,
            targets,
            inputs.predict(functools.partial(predict, baseline)),
            {**inputs.described, "model": name},
            clip=settings["prediction.clip"],
            notes=join_notes(baselines.notes(baseline, targets), inputs.notes),
        )
        print(f"{name}: {len(targets.paired)} cells", flush=True)


if __name__ == "__main__":
    run_command(predict_baselines)
