"""Note the content of the model that a run starts from, so that another one trains anew.

Example:

    python -m workflow_scripts.note_initial_model --model models/st --out initial_model.json
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.cache.digests import file_digest
from workflow_scripts.cache.writing import publish_text
from workflow_scripts.command import command_parser, run_command
from workflow_scripts.settings.choices import model_file


def main(arguments: Sequence[str]) -> None:
    """Write the digest; null where there is no such model, which preflight says in words."""
    parser = command_parser("python -m workflow_scripts.note_initial_model", __doc__)
    parser.add_argument("--model", required=True, help="model folder or checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="its digest, to write (JSON)")
    given = parser.parse_args(arguments)
    file = model_file(given.model)
    digest = file_digest(file) if file.is_file() else None
    publish_text(given.out, json.dumps({"model": given.model, "sha256": digest}) + "\n")


if __name__ == "__main__":
    run_command(main)
