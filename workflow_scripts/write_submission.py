"""Write the predictions of a run as the file of a competition."""

from __future__ import annotations

from pathlib import Path

from workflow_scripts.command import run_command
from workflow_scripts.settings.choices import SUBMISSION
from workflow_scripts.settings.slices import Slice
from workflow_scripts.stage import Output, stage


@stage("submit")
def write_submission(settings: Slice, predictions: Path, out: Output) -> None:
    """Write the predictions of a run as the file that a competition takes.

    Parameters
    ----------
    predictions
        Predicted cells (h5ad).
    out
        File to write.
    """
    from workflow_scripts.prediction import submission

    for text in submission.write_submission(settings[SUBMISSION], predictions, out):
        print(f"warning: {text}", flush=True)


if __name__ == "__main__":
    run_command(write_submission)
