"""What a model that a run is given has seen before."""

from __future__ import annotations

from workflow_scripts.models.files import ModelDescription
from workflow_scripts.settings.findings import Finding


def other_splits(description: ModelDescription, splits: str, place: str) -> list[Finding]:
    """Warn of a model that may have seen the test cells.

    Parameters
    ----------
    description
        Of the model: a training writes there with which splits it was trained.
    splits
        Digest of the run's splits.
    place
        How the message begins: the key of the config that names the model, and where it lies.
    """
    if description.provenance.get("splits") == splits:
        return []
    text = (
        "it was not trained with the splits of this run, or doesn't say so: it may have seen "
        "the cells that are tested here, and what the splits allow to be claimed is not shown"
    )
    return [Finding("warning", "other-splits", place + text)]
