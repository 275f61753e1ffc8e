"""Score the mean response and a replicate on a run's observed cells: the anchors of every scale."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from workflow_scripts.cache.digests import canonical_json
from workflow_scripts.command import run_command, tell
from workflow_scripts.settings.slices import Slice
from workflow_scripts.stage import Output, stage


def observed_digest(path: Path) -> str:
    """Return the digest of observed cells: of what scores depend on, not of how it is stored."""
    from workflow_scripts.evaluation.anchors import content_digest
    from workflow_scripts.evaluation.populations import open_population

    with open_population(path) as observed:
        return content_digest(observed)


@stage("anchors", shared=True)
def anchors(
    settings: Slice, observed: Annotated[Path, observed_digest], threads: int | None, out: Output
) -> None:
    """Score the mean response and a replicate on observed cells, for all runs that have them.

    Parameters
    ----------
    observed
        Observed cells (h5ad).
    threads
        CPU threads; all there are if not given.
    out
        Anchors of the scale, to write (JSON).
    """
    # Read by tqdm when it is imported: the engine's progress bars would fill a log with noise.
    os.environ.setdefault("TQDM_DISABLE", "1")
    from workflow_scripts.cells.results import AnchorsFile
    from workflow_scripts.evaluation.anchors import compute_all
    from workflow_scripts.evaluation.engine import (
        EvaluationSettings,
        describe_engine,
        keep_compiled,
    )

    keep_compiled()
    anchors, config = compute_all(
        observed,
        EvaluationSettings.from_slice(settings),
        out.parent,
        threads=threads or -1,
        tell=tell,
    )
    content = AnchorsFile(out.parent.name, describe_engine(config), anchors)
    out.write_text(canonical_json(asdict(content)), encoding="utf-8")


if __name__ == "__main__":
    run_command(anchors)
