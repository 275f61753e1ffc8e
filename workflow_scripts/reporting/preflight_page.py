"""The page that says whether a run is ready to train, and what to mend if it isn't."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from workflow_scripts import __version__
from workflow_scripts.reporting.formats import Coverage, FindingEntry, in_order
from workflow_scripts.reporting.templating import template_environment


def render_preflight(
    run: str,
    findings: Mapping[str, Sequence[FindingEntry]],
    claims: str,
    coverage: Mapping[str, Coverage],
) -> str:
    """Return the page.

    Parameters
    ----------
    run
        The run's folder.
    findings
        By the title of what found them.
    claims
        What a score on the test split can show, in a sentence.
    coverage
        Perturbations with a vector, by split.
    """
    counts = Counter(entry["severity"] for found in findings.values() for entry in found)
    return (
        template_environment()
        .get_template("preflight.html")
        .render(
            title=run,
            version=__version__,
            counts=counts,
            claims=claims,
            coverage=coverage,
            findings=[(title, in_order(found)) for title, found in findings.items()],
        )
    )
