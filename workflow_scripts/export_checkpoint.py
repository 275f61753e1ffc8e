r"""Write a model of this project as a checkpoint of the reference implementation.

Example:

    python -m workflow_scripts.export_checkpoint results/demo/checkpoints/final.ckpt \
        --out final_reference.ckpt
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.command import command_parser, run_command
from workflow_scripts.errors import ConfigError


def main(arguments: Sequence[str]) -> None:
    """Load the model, write the checkpoint, say what the reference will do otherwise."""
    parser = command_parser("python -m workflow_scripts.export_checkpoint", __doc__)
    parser.add_argument(
        "model", type=Path, metavar="MODEL", help="model folder, or checkpoint of a training"
    )
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write (.ckpt)")
    given = parser.parse_args(arguments)
    if given.out.suffix != ".ckpt":
        raise ConfigError(f"--out {given.out}: name a file that ends in .ckpt")

    import torch

    from workflow_scripts.cache.writing import replacing
    from workflow_scripts.models import load_model, read_description
    from workflow_scripts.models.reference_export import export_reference

    model, description = load_model(given.model), read_description(given.model)
    content, differences = export_reference(model, description)
    with replacing(given.out) as beside:
        torch.save(content, beside)
    print(f"{given.out}: {len(model.state_dict())} weights in the reference's names")
    for text in differences:
        print(f"warning: {text}")


if __name__ == "__main__":
    run_command(main)
