"""One optimizer step of an ST model, in plain torch: what trains it, and what tells its size."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from workflow_scripts.models import StateTransition
from workflow_scripts.models.losses import SetLoss, mean_over_sets
from workflow_scripts.training.batches import Batch
from workflow_scripts.training.plan import TrainingPlan


def set_losses(model: StateTransition, loss: SetLoss, batch: Batch) -> Tensor:
    """Return the loss of each set of a batch [sets]."""
    predicted = model(batch.control, batch.features, batch.batch)
    return loss.per_set(predicted, batch.observed, batch.control)


def step_loss(model: StateTransition, loss: SetLoss, batch: Batch) -> Tensor:
    """Return what a step lowers: the mean over the batch's sets, those without a value left out."""
    return mean_over_sets(set_losses(model, loss, batch))


def make_optimizer(model: torch.nn.Module, plan: TrainingPlan) -> torch.optim.Optimizer:
    """Return AdamW with the configured weight decay (the reference has plain Adam).

    Fused: one pass over weights, gradients and moments, which is all that the memory has to move.
    """
    return torch.optim.AdamW(
        model.parameters(), lr=plan.lr, weight_decay=plan.weight_decay, fused=True
    )


def clip_gradients(model: torch.nn.Module, plan: TrainingPlan) -> float:
    """Clip by the norm over all parameters, and return the norm as it was."""
    limit = plan.clip or math.inf
    return float(torch.nn.utils.clip_grad_norm_(model.parameters(), limit))
