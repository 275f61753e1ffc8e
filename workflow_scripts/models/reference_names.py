"""What the reference implementation calls the weights of an ST model.

Most have its names here too. It names tokens otherwise, and stores what no cell passes through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

CONFIDENCE_TOKEN = "confidence_token.confidence_token"
CONFIDENCE_HEAD = "confidence_token.confidence_projection"
BATCH_TOKEN = "batch_token"
BATCH_CLASSIFIER = "batch_classifier.0"

RESIDUAL = "final_down_then_up."
"""Where the reference keeps the layers of the residual in the output's space. With ``output_space:
all`` it stores them also where no residual is predicted, and nothing passes through them then."""

EMBEDDINGS = {"llama": {"embed_tokens": 32_000}, "GPT2": {"wte": 50_257}}
"""Embeddings of words that the reference stores by backbone, with their rows: zeros, unused."""

POSITIONS = "transformer_backbone.wpe.weight"
"""GPT2's embeddings of positions, which the reference holds at zero: cells have no order."""

_UNUSED = re.compile(
    r"transformer_backbone\.("
    r"(embed_tokens|wte)\.weight"
    # Tables that older versions of transformers stored among the weights.
    r"|rotary_emb\.(original_)?inv_freq|layers\.\d+\.self_attn\.rotary_emb\.inv_freq"
    r"|h\.\d+\.attn\.(bias|masked_bias))"
)


def is_unused(name: str) -> bool:
    """Tell whether the reference stores a tensor under this name that no cell passes through."""
    return _UNUSED.fullmatch(name) is not None


def our_name(name: str) -> str:
    """Return what a weight of the reference is called here.

    Parts of the tokens are known by their place, whatever their attributes are called: a number is
    a layer of the confidence head, and what has neither number nor kind is the token.
    """
    if name.startswith("confidence_token"):
        layer = re.fullmatch(r".*\.(\d+)\.(weight|bias)", name)
        if layer is None:
            return "confidence_token.token"
        return f"confidence_token.head.{layer[1]}.{layer[2]}"
    if name.startswith("batch_") and not name.startswith("batch_encoder."):
        kind = re.fullmatch(r".*\.(weight|bias)", name)
        return "batch_token.token" if kind is None else f"batch_token.classifier.{kind[1]}"
    return name


def reference_name(name: str) -> str:
    """Return what the reference calls a weight of ours; `our_name` leads back."""
    for ours, theirs in (
        ("confidence_token.token", CONFIDENCE_TOKEN),
        ("confidence_token.head", CONFIDENCE_HEAD),
        ("batch_token.token", BATCH_TOKEN),
        ("batch_token.classifier", BATCH_CLASSIFIER),
    ):
        if name == ours or name.startswith(f"{ours}."):
            return theirs + name.removeprefix(ours)
    return name


def in_our_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the used weights of a reference checkpoint; tokens lose the axes of sets and cells.

    Raises
    ------
    ValueError
        If two of them would have one name here, both named in the message.
    """
    renamed: dict[str, Tensor] = {}
    sources: dict[str, str] = {}
    for name, tensor in weights.items():
        ours = our_name(name)
        if ours in renamed:
            raise ValueError(f"{sources[ours]} and {name} are both taken for {ours}")
        renamed[ours] = tensor.flatten() if ours.endswith("_token.token") else tensor
        sources[ours] = name
    return renamed


def n_layers_of(names: Iterable[str], part: str) -> int:
    """Count the Linear layers of an encoder or decoder by the names of its weights."""
    return sum(re.fullmatch(rf"{part}\.\d+\.weight", name) is not None for name in names)
