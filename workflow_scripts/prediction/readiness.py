"""Whether a model that is there already can predict the cells of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workflow_scripts.models import (
    ModelDescription,
    StateTransitionSettings,
    load_model,
    read_description,
)
from workflow_scripts.settings.errors import DataError
from workflow_scripts.settings.findings import Finding, listing


@dataclass(frozen=True)
class Asked:
    """What a run asks a model with, and for.

    Attributes
    ----------
    genes
        Names of the genes that are read, in their order; None where it isn't known yet.
    feature_dim
        Width of the perturbations' features.
    set_size
        Cells a set.
    embedding, embedding_dim
        Name and width of the embedding that is read; None where expression is.
    """

    genes: Sequence[str] | None
    feature_dim: int
    set_size: int
    embedding: str | None
    embedding_dim: int | None


def check_given_model(path: str, asked: Asked, splits: str) -> list[Finding]:
    """Find what would stop a prediction with a model that the run doesn't train.

    Parameters
    ----------
    path
        Where it lies.
    asked
        What it is asked with.
    splits
        Digest of the run's splits. A model that was trained with others, or doesn't say with which,
        may have seen the test cells: a warning.
    """
    place = f"prediction.checkpoint: {path}: "
    try:
        model, description = load_model(path).settings, read_description(path)
    except DataError as error:
        return [Finding("error", "given-model", place + str(error))]
    found = [
        Finding("error", "given-model", place + it) for it in misfits(model, description, asked)
    ]
    if description.provenance.get("splits") != splits:
        text = (
            "it was not trained with the splits of this run, or doesn't say so: it may have seen "
            "the cells that are tested here, and what the splits allow to be claimed is not shown"
        )
        found.append(Finding("warning", "other-splits", place + text))
    return found


def misfits(
    model: StateTransitionSettings, description: ModelDescription, asked: Asked
) -> list[str]:
    """Say why a model can't predict what a run asks for; an empty list where it can."""
    found = []
    trained_on = description.embedding, description.embedding and model.input_dim
    if trained_on != (asked.embedding, asked.embedding_dim):
        found.append(
            f"trained on {_words(*trained_on)}, and {_words(asked.embedding, asked.embedding_dim)} "
            "is read; set data.kwargs.embed_key to what it was trained on"
        )
    if asked.genes is not None and (wrong := _other_genes(description.gene_names, asked.genes)):
        found.append(wrong)
    if model.pert_dim != asked.feature_dim:
        found.append(
            f"it reads perturbation features of {model.pert_dim} numbers, and those here have "
            f"{asked.feature_dim}; name the feature file that it was trained with "
            "(data.kwargs.perturbation_features_file)"
        )
    if model.cell_set_len != asked.set_size:
        found.append(
            f"trained on sets of {model.cell_set_len} cells, and model.kwargs.cell_set_len is "
            f"{asked.set_size}; set it to {model.cell_set_len}"
        )
    return found


def _other_genes(known: Sequence[str], read: Sequence[str]) -> str | None:
    if not known:
        return (
            "it doesn't say which genes it predicts; import it once more with --genes "
            "(python -m workflow_scripts.import_checkpoint)"
        )
    there = set(read)
    lacking = [gene for gene in known if gene not in there]
    if lacking:
        return (
            f"trained on {len(known)} genes, {len(lacking)} of which are not among the "
            f"{len(read)} that are read: {listing(lacking, 8)}"
        )
    if len(known) == len(read):
        return None  # maybe in another order
    return (
        f"trained on {len(known)} of the {len(read)} genes that are read; choose these with "
        "genes.select=list and genes.file"
    )


def _words(embedding: str | None, width: int | str | None) -> str:
    return "expression alone" if embedding is None else f"the embedding {embedding}, {width} wide"
