"""Predict what a run asks for with its model, from features that carry no information."""

from __future__ import annotations

from dataclasses import replace

from workflow_scripts.command import run_command
from workflow_scripts.gpu_slots import own_gpus
from workflow_scripts.prediction.files import ModelFiles
from workflow_scripts.settings.choices import SPOILED_FEATURES
from workflow_scripts.settings.slices import Slice
from workflow_scripts.stage import OutputFolder, stage


@stage("predict_negative_controls")
def predict_negative_controls(settings: Slice, files: ModelFiles, out_dir: OutputFolder) -> None:
    """Predict the test cells of a run with its model and features without information.

    A model that predicts as well with them has not learned to use the features.

    Parameters
    ----------
    out_dir
        Folder of predicted cells, to write (h5ad, one a negative control).
    """
    with own_gpus(1, settings["model.device"]):
        from workflow_scripts.prediction.negative_controls import spoiled
        from workflow_scripts.prediction.prediction import Prediction
        from workflow_scripts.prediction.trained_models import TrainedModels

        prediction = Prediction.open(files, settings)
        models = TrainedModels.open(files, prediction)
        control, seed = prediction.store.manifest["control"], settings["prediction.seed"]
        for name in settings["prediction.negative_controls"]:
            if name in SPOILED_FEATURES:
                features, whose = spoiled(models.features, control, name, seed)
                without = replace(models, features=features, labels=whose)
                prediction.write(out_dir / f"{name}.h5ad", without, name)
                print(f"{name}: {len(prediction.targets.paired)} cells", flush=True)


if __name__ == "__main__":
    run_command(predict_negative_controls)
