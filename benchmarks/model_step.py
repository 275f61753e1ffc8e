"""A training step of state_sm as the trainer takes it, without the trainer around it."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from workflow_scripts.models import StateTransition  # noqa: E402
from workflow_scripts.models.from_config import set_loss  # noqa: E402
from workflow_scripts.settings.compose import compose_traced  # noqa: E402
from workflow_scripts.settings.run import Run  # noqa: E402
from workflow_scripts.training.batches import Batch  # noqa: E402
from workflow_scripts.training.compiling import objective_for  # noqa: E402
from workflow_scripts.training.plan import TrainingPlan  # noqa: E402
from workflow_scripts.training.starting_model import build_model, planned_settings  # noqa: E402
from workflow_scripts.training.step import (  # noqa: E402
    clip_gradients,
    make_optimizer,
    step_objective,
)

FEATURES = 5_120
"""Width of ESM2's vectors."""


def plan_of(n_genes: int, overrides: Sequence[str] = ()) -> TrainingPlan:
    """Return the seed's plan for state_sm, on all genes or on a number of chosen ones."""
    space = "all" if n_genes > 5_000 else "gene"
    asked = ["model=state_sm", f"data.kwargs.output_space={space}", *overrides]
    composition = compose_traced(ROOT / "config", "config", [], asked)
    run = Run(composition, ROOT / "config" / "config.yaml", tuple(asked))
    return TrainingPlan.from_slice(run.slice("train"))


class Training:
    """state_sm, its loss and its optimizer.

    Parameters
    ----------
    device
        Where it trains.
    n_genes
        Width of the cells; the perturbations' is `FEATURES`.
    autocast
        Lower precision of the forward pass; None: float32.
    overrides
        Of the seed's config.
    """

    def __init__(
        self,
        device: torch.device,
        n_genes: int,
        *,
        autocast: torch.dtype | None = None,
        overrides: Sequence[str] = (),
    ) -> None:
        self.plan = plan_of(n_genes, overrides)
        settings = planned_settings(self.plan, n_genes=n_genes, feature_dim=FEATURES, n_batches=1)
        torch.manual_seed(self.plan.seed)
        self.device = device
        self.autocast = autocast
        self.model: StateTransition = build_model(settings, self.plan).to(device).train()
        self.loss = set_loss(self.plan.model_kwargs)
        self.optimizer = make_optimizer(self.model, self.plan)
        self.compute = objective_for(False, device, print)

    def compile(self) -> None:
        """Take compiled steps from here on, as the trainer does on a GPU."""
        self.compute = objective_for(True, self.device, print)

    @property
    def n_parameters(self) -> int:
        """Numbers that are learned."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def step(self, batch: Batch, *, read: bool = True) -> None:
        """Take a step in the trainer's order.

        Parameters
        ----------
        batch
            The cell sets.
        read
            Read the loss and the gradient's norm from the device, as the trainer does. It is part
            of a step's time; without it a GPU's step is only begun, and nothing is clipped.
        """
        precision = (
            torch.autocast(self.device.type, self.autocast, cache_enabled=False)
            if self.autocast
            else nullcontext()
        )
        with precision:
            loss = step_objective(
                *(self.model, self.loss, batch),
                decoder_weight=self.plan.decoder_weight,
                compute=self.compute,
            ).total
        self.optimizer.zero_grad()
        loss.backward()
        if read:
            if not math.isfinite(loss.detach()):
                raise ArithmeticError("the loss is not finite")
            clip_gradients(self.model, self.plan)
        self.optimizer.step()

    def seconds_a_step(
        self, next_batch: Callable[[], Batch], steps: int, read: bool = True
    ) -> float:
        """Take some steps and wait for their end."""
        start = time.perf_counter()
        for _ in range(steps):
            self.step(next_batch(), read=read)
        wait(self.device)
        return (time.perf_counter() - start) / steps


def wait(device: torch.device) -> None:
    """Wait for the end of what the device was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
