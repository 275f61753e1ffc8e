"""Which places of one model's tensors are which of another's: by name, where they have names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from workflow_scripts.errors import DataError
from workflow_scripts.models.files import ModelDescription
from workflow_scripts.models.model_settings import StateTransitionSettings


@dataclass(frozen=True)
class Places:
    """Which places of an axis are filled (new) from which (old); None: all, as they are."""

    new: Tensor | None
    old: Tensor | None
    said: str = ""


Axis = Places | str
"""Places, or the reason why there are none."""

WHOLE = Places(None, None)


def match_axes(
    here: StateTransitionSettings,
    there: StateTransitionSettings,
    description: ModelDescription,
    source: ModelDescription,
    *,
    one_hot: bool,
) -> dict[str, Axis]:
    """Match each kind of axis whose places stand for something.

    Parameters
    ----------
    here, there
        Settings of the model to fill, and of the one to take from.
    description, source
        What the numbers of the two stand for.
    one_hot
        Whether perturbations are one-hot.

    Returns
    -------
    Places of each kind of axis, or why there are none; a kind that is absent is taken as it is.

    Raises
    ------
    DataError
        As `match_genes` does.
    """
    genes, genes_there = description.gene_names, source.gene_names
    embeddings = source.embedding, description.embedding
    axes: dict[str, Axis] = {}
    for kind, width, width_there in (
        ("input", here.input_dim, there.input_dim),
        ("output", here.output_dim, there.output_dim),
    ):
        if here.expression_output != there.expression_output:
            axes[kind] = "one of the models reads expression, the other embeddings"
        elif here.expression_output:
            axes[kind] = match_genes(genes, genes_there, width, width_there)
        elif all(embeddings) and embeddings[0] != embeddings[1]:
            axes[kind] = f"the embedding is {embeddings[0]} there and {embeddings[1]} here"
        elif width != width_there:
            axes[kind] = f"embeddings are {width_there} wide there and {width} here"
    if here.gene_decoder is not None and there.gene_decoder is not None:
        widths = here.gene_decoder.n_genes, there.gene_decoder.n_genes
        axes["decoded"] = match_genes(genes, genes_there, *widths)
    squeezed, squeezed_there = here.squeezed_dim, there.squeezed_dim
    if squeezed != squeezed_there:
        few = torch.arange(min(squeezed, squeezed_there))
        axes["squeezed"] = Places(few, few, f"{len(few)} of {squeezed} squeezed numbers")
    if here.pert_dim != there.pert_dim:
        axes["features"] = (
            f"perturbation features are {there.pert_dim} wide there and {here.pert_dim} here"
        )
    elif one_hot and source.perturbations != description.perturbations:
        axes["features"] = "perturbations are one-hot, and the other model's are others or unknown"
    axes["batches"] = match_batches(description.batches, source.batches)
    return axes


def match_genes(
    names: Sequence[str], names_there: Sequence[str], width: int, width_there: int
) -> Places:
    """Match genes by name, or in their order where one model has no names for them.

    Raises
    ------
    DataError
        If no name is common, or there are no names and the numbers differ.
    """
    if tuple(names) == tuple(names_there) and width == width_there:
        return WHOLE
    if not names or not names_there:
        if width == width_there:
            return WHOLE
        raise DataError(
            f"the genes of one of the models have no names, and it has {width_there} of them where "
            f"this one has {width}: which are the same can't be told; import it with --genes"
        )
    if not set(names) & set(names_there):
        raise DataError(
            f"no gene is common: the first is {names_there[0]!r} there and {names[0]!r} here; are "
            "these symbols and identifiers (cells.gene_names)?"
        )
    return _by_name(names, names_there, "genes")


def match_batches(names: Sequence[str], names_there: Sequence[str]) -> Axis:
    """Match technical batches by name."""
    if not set(names) & set(names_there):
        return "no technical batch of a name is common"
    if tuple(names) == tuple(names_there):
        return WHOLE
    return _by_name(names, names_there, "technical batches")


def _by_name(names: Sequence[str], names_there: Sequence[str], what: str) -> Places:
    place = {name: at for at, name in enumerate(names_there)}
    new = [at for at, name in enumerate(names) if name in place]
    old = [place[names[at]] for at in new]
    said = f"{len(new)} of {len(names)} {what} by name"
    return Places(torch.tensor(new), torch.tensor(old), said)
