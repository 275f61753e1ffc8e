"""The page that says whether a run is ready to train, and what to fix if it isn't."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from workflow_scripts import __version__
from workflow_scripts.reporting.knockdowns import knockdown_table
from workflow_scripts.reporting.templating import template_environment
from workflow_scripts.reporting.words import in_order


def render_preflight(
    run: str,
    findings: Mapping[str, Sequence[Mapping[str, Any]]],
    cells: Mapping[str, Any],
    splits: Mapping[str, Any],
    coverage: Mapping[str, Any],
    estimate: Mapping[str, Any] | None,
) -> str:
    """Return the page.

    Parameters
    ----------
    run
        The run's folder.
    findings
        By the title of what found them.
    cells, splits
        The audits.
    coverage
        Perturbations with a vector, by split.
    estimate
        What the run will need; None where the audits found nothing to train on.
    """
    counts = Counter(entry["severity"] for found in findings.values() for entry in found)
    return (
        template_environment()
        .get_template("preflight.html")
        .render(
            title=run,
            version=__version__,
            counts=counts,
            cells=cells,
            splits=splits,
            coverage=coverage,
            knockdowns=knockdown_table(cells["knockdowns"]),
            estimate=estimate,
            findings=[(title, in_order(found)) for title, found in findings.items()],
        )
    )
