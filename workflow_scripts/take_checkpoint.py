r"""Link the checkpoint of one step of a run's training to where prediction reads it.

Example:

    python -m workflow_scripts.take_checkpoint --folder results/demo/checkpoints --step 600 \
        --out results/demo/checkpoints/step-600.ckpt
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.cache.digests import check_zip
from workflow_scripts.cache.identity import NOTES, noted
from workflow_scripts.cache.writing import publish_file
from workflow_scripts.command import command_parser, run_command
from workflow_scripts.errors import DataError
from workflow_scripts.settings.findings import listing


def main(arguments: Sequence[str]) -> None:
    """Find the checkpoint among those of the training that the run was asked for last."""
    parser = command_parser("python -m workflow_scripts.take_checkpoint", __doc__)
    parser.add_argument(
        "--folder", type=Path, required=True, help="folder of the run's checkpoints"
    )
    parser.add_argument("--step", type=int, required=True, help="after which step")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    given = parser.parse_args(arguments)
    from workflow_scripts.training.checkpoints import kept_steps

    current = next(iter(noted(given.folder / f"train{NOTES}")), "")
    kept = kept_steps(given.folder / current)
    if not kept:
        raise DataError(
            f"prediction.checkpoint: {given.folder / current} has no checkpoint of any step; train "
            f"again (delete {given.folder / 'final.ckpt'})"
        )
    if given.step not in kept:
        raise DataError(
            f"prediction.checkpoint: {given.folder} has no checkpoint of step {given.step}; there "
            f"are those of {listing(map(str, kept), 8)}. Earlier ones are deleted while "
            "training goes on: choose one of these, or train again with more of "
            f"engine.keep_checkpoints (delete {given.folder / current} first)"
        )
    try:
        check_zip(kept[given.step])
    except DataError as error:
        raise DataError(
            f"prediction.checkpoint: {error}. Choose another of the steps "
            f"{listing(map(str, kept), 8)}, or delete {given.folder} and train again"
        ) from error
    publish_file(kept[given.step], given.out)
    print(f"{given.out}: {kept[given.step]}")


if __name__ == "__main__":
    run_command(main)
