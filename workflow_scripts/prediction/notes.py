"""What a baseline's prediction rests on, where its name doesn't say it: remarks for readers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float32, Int64
from torch import Tensor, nn

from workflow_scripts.models import (
    Additive,
    ContextMean,
    MeanResponse,
    NearestNeighbour,
    PerturbationMeanEffect,
    RidgeEffect,
)
from workflow_scripts.settings.findings import listing

FALLBACK = "not seen in another training context: mean effect of all training perturbations"
NO_RESPONSE = "no training perturbation in this context: its controls + mean effect of the others"
NO_MEAN = "no training perturbation in this context: mean of its controls"
NO_PERTURBATION = "perturbation not trained on: without an effect of its own"
NO_CONTEXT = "no training perturbation in this context: without an effect of its own"
USELESS = (
    "features predict no perturbation that is left out: mean effect of all training perturbations"
)
EQUALLY_NEAR = (
    "all training perturbations are equally near, as with one-hot features: their mean effect"
)
ITSELF = "trained on: its own mean effect"


@dataclass(frozen=True)
class Asked:
    """What a baseline is asked of each test group.

    Attributes
    ----------
    perturbation, context
        Their numbers.
    trained
        Whether the perturbation was trained on, in any context.
    features
        Vectors of the perturbations; None where the baseline reads none.
    """

    perturbation: Int64[Tensor, " groups"]
    context: Int64[Tensor, " groups"]
    trained: Bool[Tensor, " groups"]
    features: Float32[Tensor, "groups features"] | None = None


def remarks(model: nn.Module, asked: Asked, names: Sequence[str]) -> list[str] | None:
    """Return a remark for each group, empty where there is nothing to say; None for no remarks.

    Parameters
    ----------
    model
        A fitted baseline.
    asked
        The groups.
    names
        The perturbations trained on, in the order of their numbers.
    """
    if isinstance(model, PerturbationMeanEffect):
        return _where(model.uses_fallback(asked.perturbation, asked.context), FALLBACK)
    if isinstance(model, MeanResponse):
        return _where(model.uses_fallback(asked.context), NO_RESPONSE)
    if isinstance(model, ContextMean):
        return _where(model.uses_fallback(asked.context), NO_MEAN)
    if isinstance(model, Additive):
        perturbation, context = model.knows(asked.perturbation, asked.context)
        both = zip(
            _where(~perturbation, NO_PERTURBATION), _where(~context, NO_CONTEXT), strict=True
        )
        return ["; ".join(filter(None, texts)) for texts in both]
    if isinstance(model, RidgeEffect):
        return [USELESS if math.isinf(model.penalty) else ""] * len(asked.perturbation)
    if isinstance(model, NearestNeighbour):
        assert asked.features is not None
        return [
            ITSELF if trained else _nearest(row.nonzero()[:, 0].tolist(), names)
            for row, trained in zip(model.nearest(asked.features), asked.trained, strict=True)
        ]
    return None


def _where(true: Bool[Tensor, " groups"], text: str) -> list[str]:
    return [text if one else "" for one in true.tolist()]


def _nearest(rows: Sequence[int], names: Sequence[str]) -> str:
    if len(rows) == len(names) > 1:
        return EQUALLY_NEAR
    equally = f"mean of {len(rows)} equally near" if len(rows) > 1 else "nearest trained on"
    return f"{equally}: {listing((names[row] for row in rows), 3)}"
