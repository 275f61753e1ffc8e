"""What a model takes over from another one that it starts from, and what starts afresh.

Numbers that stand for genes or batches are matched by name. Nothing is passed over in silence:
every tensor is taken, taken in part, or fresh, with a reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from workflow_scripts.errors import DataError
from workflow_scripts.models.files import ModelDescription
from workflow_scripts.models.matching import WHOLE, Places, match_axes, match_genes
from workflow_scripts.models.model_settings import StateTransitionSettings
from workflow_scripts.models.st import StateTransition


@dataclass(frozen=True)
class Transfer:
    """What became of each tensor of a model that started from another.

    Attributes
    ----------
    taken
        Names of the tensors that are the other model's.
    partly
        Tensor to which part of it is; the rest starts afresh.
    fresh
        Tensor to why nothing of the other model could be taken.
    notes
        What else to know.
    """

    taken: tuple[str, ...]
    partly: Mapping[str, str]
    fresh: Mapping[str, str]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        values = asdict(self)
        return values | {"taken": list(self.taken), "notes": list(self.notes)}

    def lines(self) -> Iterator[str]:
        """Yield it in words, a line each."""
        counts = f"{len(self.taken)} tensors taken, {len(self.partly)} in part"
        yield f"{counts}, {len(self.fresh)} fresh"
        yield from (f"  in part: {name}: {how}" for name, how in self.partly.items())
        yield from (f"  fresh: {name}: {why}" for name, why in self.fresh.items())
        yield from (f"  note: {text}" for text in self.notes)


def check_start(
    there: StateTransitionSettings,
    here: StateTransitionSettings,
    genes_there: Sequence[str],
    genes_here: Sequence[str] | None,
) -> None:
    """Check that a model can start from another one.

    Parameters
    ----------
    there, here
        Settings of the model that there is, and of the one that starts from it.
    genes_there, genes_here
        Names of their genes; empty where unknown, None where they aren't chosen yet.

    Raises
    ------
    DataError
        If the backbones differ, no gene is common, or genes are without names and differ in number.
    """
    theirs, ours = _backbone(there), _backbone(here)
    differing = [
        f"{name} is {theirs.get(name)} there and {ours.get(name)} here"
        for name in {**theirs, **ours}
        if theirs.get(name) != ours.get(name)
    ]
    if differing:
        raise DataError(
            f"another backbone: {'; '.join(differing)}; set model.kwargs.hidden_dim, "
            "transformer_backbone_key and transformer_backbone_kwargs (causal is "
            "bidirectional_attention: false) to those of the model to start from"
        )
    if genes_here is not None and there.expression_output and here.expression_output:
        match_genes(genes_here, genes_there, here.output_dim, there.output_dim)


def _backbone(settings: StateTransitionSettings) -> dict[str, Any]:
    """Return all of a backbone but its dropout, which acts in training alone."""
    sizes = {k: v for k, v in settings.backbone.items() if not k.endswith(("drop", "dropout"))}
    names = ("backbone_key", "hidden_dim", "causal")
    return {**{name: getattr(settings, name) for name in names}, **sizes}


def take_weights(
    model: StateTransition,
    description: ModelDescription,
    source: StateTransition,
    source_description: ModelDescription,
    *,
    one_hot: bool,
) -> Transfer:
    """Fill a freshly built model with what it can take of another one.

    Parameters
    ----------
    model, description
        The model to fill, in place, and what its numbers stand for.
    source, source_description
        The model to take from.
    one_hot
        Whether perturbations are one-hot, so that a number of theirs stands for a name.

    Raises
    ------
    DataError
        As `check_start` does.
    """
    here, there = model.settings, source.settings
    check_start(there, here, source_description.gene_names, description.gene_names)
    axes = match_axes(here, there, description, source_description, one_hot=one_hot)
    old = source.state_dict()
    taken: list[str] = []
    partly: dict[str, str] = {}
    fresh: dict[str, str] = {}
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            why = _why_fresh(name, here, there)
            places = [axes.get(kind, WHOLE) for kind in _kinds(name, tensor.ndim, here)]
            reasons = [place for place in places if isinstance(place, str)]
            if why or reasons:
                fresh[name] = why or reasons[0]
                continue
            if name not in old:
                fresh[name] = "the other model has no such tensor"
                continue
            part = _copy(tensor, old[name], [p for p in places if isinstance(p, Places)])
            if part is None:
                shapes = f"{tuple(old[name].shape)} there and {tuple(tensor.shape)} here"
                fresh[name] = f"its shape is {shapes}"
            elif part:
                partly[name] = part
            else:
                taken.append(name)
    return Transfer(tuple(taken), partly, fresh, tuple(_notes(here, there, source_description)))


def _copy(new: Tensor, old: Tensor, places: Sequence[Places]) -> str | None:
    """Copy what is matched; return which part that is, empty for all, None where nothing fits."""
    into, out, parts = [], [], []
    for at, place in enumerate(places):
        if place.new is None and new.shape[at] != old.shape[at]:
            return None
        shape = [1] * new.ndim
        shape[at] = -1
        everything = torch.arange(new.shape[at])
        into.append((everything if place.new is None else place.new).view(shape))
        out.append((everything if place.old is None else place.old).view(shape))
        if into[-1].numel() < new.shape[at]:
            parts.append(place.said)
    new[tuple(into)] = old[tuple(out)]
    return "; ".join(parts)


def _kinds(name: str, ndim: int, settings: StateTransitionSettings) -> list[str]:
    """Say what the places of each axis of a tensor stand for; empty where for nothing of a name."""
    decoded = "gene_decoder.final_layer.0"
    decoder = settings.gene_decoder
    if decoder is not None and not decoder.residual:
        decoded = f"gene_decoder.decoder.{4 * len(decoder.hidden_dims)}"
    last = f"project_out.{3 * (settings.n_decoder_layers - 1)}"
    kinds = {
        "pert_encoder.0.weight": ["", "features"],
        "pert_encoder.0.bias": ["features"],
        "basal_encoder.weight": ["", "input"],
        "basal_encoder.0.weight": ["", "input"],
        f"{last}.weight": ["output", ""],
        f"{last}.bias": ["output"],
        "final_down_then_up.0.weight": ["squeezed", "output"],
        "final_down_then_up.0.bias": ["squeezed"],
        "final_down_then_up.2.weight": ["output", "squeezed"],
        "final_down_then_up.2.bias": ["output"],
        f"{decoded}.weight": ["decoded", ""],
        f"{decoded}.bias": ["decoded"],
        "batch_encoder.weight": ["batches", ""],
        "batch_token.classifier.weight": ["batches", ""],
        "batch_token.classifier.bias": ["batches"],
    }
    return kinds.get(name, [""] * ndim)


def _why_fresh(
    name: str, here: StateTransitionSettings, there: StateTransitionSettings
) -> str | None:
    """Say why a part can't be taken whose layers are other ones, even where a shape is the same."""
    for part, attribute in (
        ("pert_encoder.", "n_encoder_layers"),
        ("basal_encoder.", "n_encoder_layers" if here.use_basal_projection else ""),
        ("project_out.", "n_decoder_layers"),
    ):
        if name.startswith(part) and attribute:
            values = getattr(there, attribute), getattr(here, attribute)
            if values[0] != values[1]:
                return f"{attribute} is {values[0]} there and {values[1]} here"
    mine, theirs = here.gene_decoder, there.gene_decoder
    if name.startswith("gene_decoder.") and mine is not None and theirs is not None:
        layers = (theirs.hidden_dims, theirs.residual), (mine.hidden_dims, mine.residual)
        if layers[0] != layers[1]:
            return "the gene decoder has other layers there"
    return None


def _notes(
    here: StateTransitionSettings, there: StateTransitionSettings, source: ModelDescription
) -> Iterator[str]:
    for name in ("output_space", "predict_residual", "cell_set_len", "mask_attn"):
        values = getattr(there, name), getattr(here, name)
        if values[0] != values[1]:
            yield f"{name} was {values[0]} there and is {values[1]} here"
    if not source.gene_names and here.expression_output:
        yield "the genes of the other model have no names: they were taken in their order"
