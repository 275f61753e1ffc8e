"""What a training step lowers: the set loss, and what the model's other parts learn from.

The weights are those of the reference implementation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workflow_scripts.models.losses import SetLoss, mean_change, mean_over_sets
from workflow_scripts.models.st import StateTransition

BATCH_TOKEN_WEIGHT = 0.1
"""Weight of the batch token's cross-entropy beside the set loss."""

CONFIDENCE_WEIGHT = 0.01
"""Weight of the confidence token's squared error beside the set loss."""

CONFIDENCE_SCALE = 10.0
"""The confidence token learns so many times the loss of its set."""


@dataclass(frozen=True)
class Objective:
    """The losses of some sets.

    Attributes
    ----------
    per_set
        Distance between the predicted and the observed cells of each set: what validation and
        scores look at.
    total
        What a step lowers: the mean of these, the penalty of change (`regularization`), and the
        losses of decoder and tokens.
    """

    per_set: Float[Tensor, " sets"]
    total: Float[Tensor, ""]


def objective(
    model: StateTransition,
    loss: SetLoss,
    *,
    control: Float[Tensor, "sets cells input"],
    features: Float[Tensor, "sets features"] | Float[Tensor, "sets cells features"],
    observed: Float[Tensor, "sets cells output"],
    batch: Int[Tensor, "sets cells"] | None = None,
    expression: Float[Tensor, "sets cells genes"] | None = None,
    decoder_weight: float = 1.0,
) -> Objective:
    """Predict some sets and work out all that trains the model.

    Parameters
    ----------
    model, loss
        The model, and the distance between sets.
    control, features, batch
        What the model is asked with.
    observed
        The cells to predict.
    expression
        Expression of those cells (log1p of normalised counts), for a model that decodes embeddings:
        the decoder learns by the same distance. Not read by another model.
    decoder_weight
        Weight of that distance beside the one of embeddings.

    Raises
    ------
    ValueError
        If the model has a gene decoder and ``expression`` is missing, which would leave it as it
        is, or a batch token and ``batch`` is missing.
    """
    said = model.outputs(control, features, batch)
    per_set = loss.per_set(said.prediction, observed)
    total = mean_over_sets(per_set)
    if loss.regularization:
        change = mean_change(said.prediction, control, ~per_set.detach().isnan())
        total = total + loss.regularization * change
    if model.gene_decoder is not None:
        if expression is None:
            raise ValueError("this model has a gene decoder: it needs `expression` to train it")
        total = total + decoder_weight * loss(model.decode(said.prediction), expression)
    if said.batch_logits is not None:
        if batch is None:
            raise ValueError("this model has a batch token: it needs `batch` to train it")
        total = total + BATCH_TOKEN_WEIGHT * batch_token_loss(said.batch_logits, batch)
    if said.confidence is not None:
        total = total + CONFIDENCE_WEIGHT * confidence_loss(said.confidence, per_set)
    return Objective(per_set, total)


def batch_token_loss(
    logits: Float[Tensor, "sets batches"], batch: Int[Tensor, "sets cells"]
) -> Float[Tensor, ""]:
    """Compute the cross-entropy of the sets' technical batches.

    A set shares its batch. Where its controls had to come from others, each of them counts for the
    part of the cells that it has.
    """
    log_probabilities = logits.float().log_softmax(dim=1)
    return -log_probabilities.gather(1, batch.long()).mean()


def confidence_loss(
    confidence: Float[Tensor, " sets"], per_set: Float[Tensor, " sets"]
) -> Float[Tensor, ""]:
    """Compute the mean squared error of the expected losses, those that are NaN left out.

    No gradient passes to ``per_set``: the model is not to lose more where it says so.
    """
    target = CONFIDENCE_SCALE * per_set.detach()
    known = ~target.isnan()
    error = torch.where(known, confidence.float() - target.nan_to_num(), 0.0)
    return error.square().sum() / known.sum()
