"""Predict what a run asks for with its baselines."""

from __future__ import annotations

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
        Folder of predicted cells, to write (h5ad, one a baseline), with how unlike the controls of
        contexts are (JSON), and the denoised effects, if they are among the baselines (Parquet).
    """
    from workflow_scripts.cells import context_differences
    from workflow_scripts.cells.results import DENOISED
    from workflow_scripts.features.vectors import load_features
    from workflow_scripts.prediction.baselines import Baselines, controls_of
    from workflow_scripts.prediction.effect_table import write_effects
    from workflow_scripts.prediction.prediction import Prediction

    prediction = Prediction.open(files, settings)
    store = prediction.store
    baselines = Baselines.fit(
        prediction.trained_on,
        prediction.splits,
        prediction.targets,
        most_cells=settings["engine.downsample_cells"],
        predicted_from=None if store is prediction.trained_on else store,
    )
    if files.features:
        features = load_features(*files.features)
        baselines = baselines.with_features(features, settings["prediction.seed"])
    if store is prediction.trained_on:
        tested = controls_of(prediction.targets.groups)
        path = out_dir / context_differences.NAME
        context_differences.write_differences(
            path, store, tested, baselines.controls, settings["prediction.seed"]
        )
    for name in settings["prediction.baselines"]:
        predictor = baselines.build(name)
        prediction.write(out_dir / f"{name}.h5ad", predictor, name)
        if name == "denoised":
            write_effects(out_dir / DENOISED, prediction, predictor)
        print(f"{name}: {len(prediction.targets.paired)} cells", flush=True)


if __name__ == "__main__":
    run_command(predict_baselines)
