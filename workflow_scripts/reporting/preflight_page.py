"""The page that says whether a run is ready to train, and what to fix if it isn't."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from workflow_scripts import __version__
from workflow_scripts.reporting.knockdowns import knockdown_table
from workflow_scripts.reporting.templating import template_environment
from workflow_scripts.reporting.words import in_order


def render_preflight(
    content: Mapping[str, Any], cells: Mapping[str, Any], splits: Mapping[str, Any]
) -> str:
    """Return the page.

    Parameters
    ----------
    content
        What findings.json holds: the run's folder; findings by the title of what found them;
        coverage, the perturbations with a vector by split; and the estimate of what the run will
        need, None where the audits found nothing to train on.
    cells, splits
        The audits.
    """
    findings = content["findings"]
    counts = Counter(entry["severity"] for found in findings.values() for entry in found)
    return (
        template_environment()
        .get_template("preflight.html")
        .render(
            title=content["run"],
            version=__version__,
            counts=counts,
            cells=cells,
            splits=splits,
            coverage=content["coverage"],
            knockdowns=knockdown_table(cells["knockdowns"]),
            estimate=content["estimate"],
            findings=[(title, in_order(found)) for title, found in findings.items()],
        )
    )
