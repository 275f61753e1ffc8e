r"""Score the mean response and a replicate on a run's observed cells: the ends of every scale.

Example:

    python -m workflow_scripts.reference_ends \
        --settings results/demo/stages/reference_ends.json \
        --observed results/demo/observed.h5ad --out reference_ends.json \
        --shared-dir cache/reference_ends
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.cache.digests import canonical_json
from workflow_scripts.cache.identity import IdentityFolder
from workflow_scripts.cache.kept import ENDS
from workflow_scripts.cache.writing import write_atomically
from workflow_scripts.command import command_parser, run_command
from workflow_scripts.settings.slices import Slice, read_settings
from workflow_scripts.settings.stages import identity_of


def main(arguments: Sequence[str]) -> None:
    """Compute the ends, or link what was computed before of the same cells, for whichever run."""
    parser = command_parser("python -m workflow_scripts.reference_ends", __doc__)
    parser.add_argument("--settings", type=Path, required=True, help="stage file of reference_ends")
    parser.add_argument("--observed", type=Path, required=True, help="observed cells (h5ad)")
    parser.add_argument(
        "--out", type=Path, required=True, help="ends of the scale, to write (JSON)"
    )
    parser.add_argument(
        "--shared-dir", type=Path, required=True, help="folder of what runs share; made if absent"
    )
    parser.add_argument("--threads", type=int, default=-1, help="CPU threads; -1: all")
    given = parser.parse_args(arguments)
    settings = read_settings(given.settings)

    # Read by tqdm when it is imported: the engine's progress bars would fill a log with noise.
    os.environ.setdefault("TQDM_DISABLE", "1")
    from workflow_scripts.evaluation.engine import engine_versions
    from workflow_scripts.evaluation.populations import open_population
    from workflow_scripts.evaluation.reference_ends import content_digest

    with open_population(given.observed) as observed:
        inputs = {"cells": content_digest(observed), **engine_versions()}
    work = IdentityFolder(
        given.shared_dir, identity_of("reference_ends", settings.identity, inputs)
    )
    with work.lock():
        if work.has_finished(ENDS):
            print(f"computed before: {work.path}")
        else:
            _compute(given, settings, work)
            work.finish([ENDS])
        work.publish({ENDS: given.out})


def _compute(given: argparse.Namespace, settings: Slice, work: IdentityFolder) -> None:
    from workflow_scripts.evaluation.compiled import keep_compiled
    from workflow_scripts.evaluation.engine import EvaluationSettings, describe_engine
    from workflow_scripts.evaluation.reference_ends import compute_all

    keep_compiled()
    ends, config = compute_all(
        given.observed,
        EvaluationSettings.from_slice(settings),
        work.path,
        threads=given.threads,
        tell=lambda line: print(line, flush=True),
    )
    content = {
        "identity": work.identity,
        "engine": describe_engine(config),
        "contexts": {context: found.to_dict() for context, found in ends.items()},
    }
    write_atomically(work.path / ENDS, canonical_json(content))


if __name__ == "__main__":
    run_command(main)
