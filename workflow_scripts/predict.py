"""Predict what a run asks for with its model."""

from __future__ import annotations

from workflow_scripts.command import run_command
from workflow_scripts.gpu_slots import own_gpus
from workflow_scripts.prediction.files import ModelFiles
from workflow_scripts.settings.choices import VALIDATION
from workflow_scripts.settings.slices import Slice
from workflow_scripts.stage import Output, stage


@stage("predict")
def predict(settings: Slice, files: ModelFiles, predictions: Output, observed: Output) -> None:
    """Predict the test cells of a run with its model, and write the observed ones beside.

    Parameters
    ----------
    predictions
        Predicted cells, to write (h5ad).
    observed
        Observed cells, to write (h5ad).
    """
    with own_gpus(1, settings["model.device"]):
        from workflow_scripts.prediction.prediction import Prediction
        from workflow_scripts.prediction.trained_models import TrainedModels

        prediction = Prediction.open(files, settings)
        models = TrainedModels.open(files, prediction)
        if settings["prediction.amplitude"] == VALIDATION:
            print(f"amplitude of the effects, fitted on validation: {models.amplitude:.4f}")
        n_cells = len(prediction.targets.paired)
        print(f"predicting {n_cells} cells on {models.device.type}", flush=True)
        if cut := prediction.write(predictions, models, "model"):
            largest = prediction.store.largest_value
            print(f"{cut} predicted values were cut at {largest:.3f} (prediction.clip)")
        prediction.write_observed(observed)


if __name__ == "__main__":
    run_command(predict)
