r"""Write the predictions of a run as the file that a competition takes.

Example:

    python -m workflow_scripts.write_submission --settings results/mine/stages/submit.json \
        --predictions results/mine/predictions.h5ad --out results/mine/submission.vcc \
        --work-dir results/mine/finished
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.cache.digests import file_digest
from workflow_scripts.cache.identity import IdentityFolder
from workflow_scripts.command import command_parser, run_command
from workflow_scripts.settings.choices import SUBMISSION
from workflow_scripts.settings.slices import read_settings
from workflow_scripts.settings.stages import identity_of


def main(arguments: Sequence[str]) -> None:
    """Write, or link what was written before of the same predictions."""
    parser = command_parser("python -m workflow_scripts.write_submission", __doc__)
    parser.add_argument("--settings", type=Path, required=True, help="stage file of submit")
    parser.add_argument("--predictions", type=Path, required=True, help="predicted cells (h5ad)")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument("--work-dir", type=Path, required=True, help="folder of finished work")
    given = parser.parse_args(arguments)
    settings = read_settings(given.settings)
    inputs = {"predictions": file_digest(given.predictions)}
    work = IdentityFolder(given.work_dir, identity_of("submit", settings.identity, inputs))
    outputs = {given.out.name: given.out}
    work.note_current("submit")
    with work.lock():
        if work.has_finished(*outputs):
            print(f"written before: {work.path}")
        else:
            from workflow_scripts.prediction.submission import write_submission

            warnings = write_submission(
                settings[SUBMISSION], given.predictions, work.path / given.out.name
            )
            for text in warnings:
                print(f"warning: {text}", flush=True)
            work.finish(list(outputs))
        work.publish(outputs)


if __name__ == "__main__":
    run_command(main)
