"""One optimizer step of an ST model, in plain torch: what trains it, and what tells its size."""

from __future__ import annotations

import numpy as np
import torch

from workflow_scripts.models import StateTransition
from workflow_scripts.models.losses import SetLoss
from workflow_scripts.models.objective import Objective, objective
from workflow_scripts.training.batches import Batch
from workflow_scripts.training.compiling import ObjectiveOf
from workflow_scripts.training.plan import TrainingPlan


def step_objective(
    model: StateTransition,
    loss: SetLoss,
    batch: Batch,
    *,
    decoder_weight: float,
    compute: ObjectiveOf = objective,
) -> Objective:
    """Return what a step lowers (``total``), and the loss of each set (``per_set``) [sets].

    ``compute`` may be a compiled one.
    """
    return compute(
        model,
        loss,
        control=batch.control,
        features=batch.features,
        observed=batch.observed,
        batch=batch.batch,
        expression=batch.expression,
        decoder_weight=decoder_weight,
    )


def seed_dropout(seed: int, step: int, rank: int, number: int) -> None:
    """Make what a pass drops a function of the seed, the step, the process and the pass of it."""
    words = np.random.SeedSequence((seed, step, rank, number)).generate_state(1, np.uint64)
    torch.manual_seed(int(words[0]))


def make_optimizer(model: torch.nn.Module, plan: TrainingPlan) -> torch.optim.Optimizer:
    """Return AdamW with the configured weight decay (the reference has plain Adam).

    It knows only what is not frozen: weight decay would move frozen weights too. Fused: one pass
    over weights, gradients and moments, which is all that the memory has to move.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(trained, lr=plan.lr, weight_decay=plan.weight_decay, fused=True)


def clip_gradients(model: torch.nn.Module, plan: TrainingPlan) -> float:
    """Clip by the norm over all parameters, and return the norm as it was.

    Gradients within the limit are left alone: torch's own clipping multiplies them by one, which
    moves as much memory as a third of the optimizer does.
    """
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    total = torch.nn.utils.get_total_norm(gradients)
    norm = float(total)
    # Not within it are a NaN, and what torch's factor, limit / (norm + 1e-6), would shrink.
    if plan.clip and not norm + 1e-6 <= plan.clip:
        torch.nn.utils.clip_grads_with_norm_(model.parameters(), plan.clip, total)
    return norm
