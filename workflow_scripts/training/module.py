"""The Lightning module: a step, which knows no more than its number and its batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning
import torch
from torch import Tensor

from workflow_scripts.models import StateTransition
from workflow_scripts.models.losses import SetLoss
from workflow_scripts.settings.errors import DataError
from workflow_scripts.settings.findings import listing
from workflow_scripts.training.batches import Batch
from workflow_scripts.training.plan import TrainingPlan
from workflow_scripts.training.step import clip_gradients, make_optimizer, step_objective


class TrainingModule(lightning.LightningModule):
    """Trains an ST model on batches of cell sets."""

    def __init__(
        self,
        model: StateTransition,
        loss: SetLoss,
        plan: TrainingPlan,
        description: Mapping[str, Any],
        names_of: Callable[[int], Sequence[str]],
    ) -> None:
        """Prepare the module.

        Parameters
        ----------
        model
            The model to train.
        loss
            Loss of (predicted, observed, control).
        plan
            What to do.
        description
            What a checkpoint says of the model (JSON types): kept in each.
        names_of
            Names of the sets of a step, for whoever reads of one that went wrong.
        """
        super().__init__()
        self.model = model
        self._loss = loss
        self._plan = plan
        self._description = dict(description)
        self._names_of = names_of
        self._validation_sum = 0.0
        self._validation_sets = 0
        self.gradient_norm = math.nan
        self.validation_loss = math.nan

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Take the learning rate of the step's number."""
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self._plan.lr * self._plan.schedule.factor(self.global_step)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a step.

        Raises
        ------
        DataError
            Where it is not finite: the weights of the step before are the last good ones.
        """
        made = step_objective(self.model, self._loss, batch, seed=self._plan.seed)
        loss = made.total
        if not torch.isfinite(loss):
            names = self._names_of(self.global_step)
            broken = [names[at] for at in (~made.per_set.isfinite()).nonzero().flatten().tolist()]
            raise DataError(
                f"step {self.global_step + 1}: the loss is {float(loss)}, not finite in "
                f"{len(broken)} of {len(names)} sets: {listing(list(dict.fromkeys(broken)), 5)}; "
                "the last checkpoint is kept. Lower training.lr or training.gradient_clip_val, or "
                "check the values"
            )
        return loss

    def on_validation_start(self) -> None:
        """Forget the last validation."""
        self._validation_sum, self._validation_sets = 0.0, 0

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the losses of some validation sets; one NaN makes the whole validation NaN."""
        losses = step_objective(self.model, self._loss, batch).per_set
        self._validation_sum += float(losses.sum(dtype=torch.float64))
        self._validation_sets += losses.numel()

    def on_validation_epoch_end(self) -> None:
        """Average over the sets."""
        self.validation_loss = self._validation_sum / max(self._validation_sets, 1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer of the model."""
        return make_optimizer(self.model, self._plan)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the norm over all parameters, and keep the norm for the log."""
        self.gradient_norm = clip_gradients(self.model, self._plan)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what makes the checkpoint readable without the config."""
        checkpoint["stateline"] = {**self._description, "step": self.global_step}
