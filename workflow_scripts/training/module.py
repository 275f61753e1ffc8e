"""The Lightning module: a step, which knows no more than its number and its batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import lightning
import torch
from torch import Tensor

from workflow_scripts.errors import DataError
from workflow_scripts.models import StateTransition
from workflow_scripts.models.losses import SetLoss
from workflow_scripts.models.objective import objective
from workflow_scripts.settings.findings import listing
from workflow_scripts.training.batches import Batch
from workflow_scripts.training.compiling import ObjectiveOf
from workflow_scripts.training.plan import TrainingPlan
from workflow_scripts.training.processes import ALONE, Processes
from workflow_scripts.training.step import (
    clip_gradients,
    make_optimizer,
    seed_dropout,
    step_objective,
)
from workflow_scripts.training.validating import Validation

KEPT = (
    "the last checkpoint is kept. Lower training.lr or training.gradient_clip_val, or check the "
    "values"
)


class StepLosses(NamedTuple):
    """Losses of a step, means over all of its sets.

    Attributes
    ----------
    total
        What the step lowered.
    per_set
        The distance between predicted and observed cells alone.
    """

    total: float
    per_set: float


class _Pass(NamedTuple):
    """What is read of a pass when its step ends, still on the device.

    Attributes
    ----------
    losses
        The loss, the distance alone, whether to stop [3].
    per_set
        Distances of its sets [sets].
    numbers
        Which sets they are [sets].
    """

    losses: Tensor
    per_set: Tensor
    numbers: Tensor


class TrainingModule(lightning.LightningModule):
    """Trains an ST model on batches of cell sets.

    Attributes
    ----------
    gradient_norm
        Norm of the last step's gradient, before it was cut.
    scores
        Those of the last validation, by their columns in the log.
    """

    def __init__(
        self,
        model: StateTransition,
        loss: SetLoss,
        plan: TrainingPlan,
        description: Mapping[str, Any],
        names_of: Callable[[Sequence[int]], Sequence[str]],
        *,
        validation: Validation | None = None,
        compute: ObjectiveOf = objective,
        processes: Processes = ALONE,
        is_asked_to_stop: Callable[[], bool] = lambda: False,
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
            Names of sets, by their numbers, for whoever reads of one that went wrong.
        validation
            Adds up validations; None where there are none.
        compute
            The objective of steps that train, maybe compiled; validations have other shapes, and
            compute it as it is.
        processes
            Which of several processes this is.
        is_asked_to_stop
            Whether this one should end.
        """
        super().__init__()
        self.model = model
        self._loss = loss
        self._plan = plan
        self._description = dict(description)
        self._names_of = names_of
        self._compute = compute
        self._processes = processes
        self._is_asked_to_stop = is_asked_to_stop
        self._passes: list[_Pass] = []
        self._losses = StepLosses(math.nan, math.nan)
        self._validation = validation
        self.gradient_norm = math.nan
        self.scores: Mapping[str, float] = {}
        self._stop_agreed = False

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Take the learning rate of the step's number."""
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self._plan.lr * self._plan.schedule.factor(self.global_step)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a pass: a step, or a part of it.

        Nothing is read from the device here, so that it isn't idle while the host asks for the
        backward pass.
        """
        number = len(self._passes)
        seed_dropout(self._plan.seed, self.global_step, self._processes.rank, number)
        made = step_objective(
            *(self.model, self._loss, batch),
            decoder_weight=self._plan.decoder_weight,
            compute=self._compute,
        )
        distance = made.per_set.detach().nanmean()
        asked = torch.full_like(distance, float(self._is_asked_to_stop()))
        losses = torch.stack([made.total.detach(), distance, asked])
        self._passes.append(_Pass(losses, made.per_set.detach(), batch.numbers))
        return made.total

    @property
    def stop_asked(self) -> bool:
        """Whether training should end after this step.

        Several processes must agree: they do as each step ends.
        """
        return self._is_asked_to_stop() if self._processes.ranks == 1 else self._stop_agreed

    def losses_of_step(self) -> StepLosses:
        """Return the losses of the step that has ended."""
        return self._losses

    def on_validation_start(self) -> None:
        """Forget the last validation."""
        assert self._validation is not None
        self._validation.begin(self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add some validation sets."""
        assert self._validation is not None
        predicted = self.model.outputs(batch.control, batch.features, batch.batch).prediction
        self._validation.add(
            batch.numbers,
            self._loss.per_set(predicted, batch.observed),
            predicted=predicted,
            observed=batch.observed,
            control=batch.control,
        )

    def on_validation_epoch_end(self) -> None:
        """Work out the scores."""
        assert self._validation is not None
        self.scores = self._validation.scores(lambda own: self._of_all(own).sum(dim=0))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer of the model."""
        return make_optimizer(self.model, self._plan)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the norm over all parameters; keep the norm and the step's losses for the log.

        Raises
        ------
        DataError
            Where a loss is not finite: the weights of the step before are the last good ones.
            Or where the norm is not, though the loss was: the step would ruin the weights, and the
            checkpoint after it. In 16-mixed that is left to the scaler, which passes over such
            steps.
        """
        self._read_losses()
        self.gradient_norm = clip_gradients(self.model, self._plan)
        if not (math.isfinite(self.gradient_norm) or self._plan.precision == "16-mixed"):
            step, sets = self.global_step, self._plan.sets_per_step
            names = dict.fromkeys(self._names_of(range(step * sets, (step + 1) * sets)))
            raise DataError(
                f"step {step + 1}: the loss is finite, and its gradient's norm is "
                f"{self.gradient_norm}, over sets of {listing(list(names), 5)}; {KEPT}"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what makes the checkpoint readable without the config."""
        checkpoint["stateline"] = {**self._description, "step": self.global_step}

    def _of_all(self, own: Tensor) -> Tensor:
        """Return the same numbers of every process [processes, …]."""
        if self._processes.ranks == 1:
            return own[None]
        gathered = self.all_gather(own)
        assert isinstance(gathered, Tensor)
        return gathered

    def _read_losses(self) -> None:
        passes, self._passes = self._passes, []
        read = self._of_all(torch.stack([one.losses for one in passes])).mean(dim=0).tolist()
        for one, (total, _, _) in zip(passes, read, strict=True):
            if not math.isfinite(total):
                self._refuse(one, total)
        total, per_set, stop = (math.fsum(each) / len(read) for each in zip(*read, strict=True))
        self._losses = StepLosses(total, per_set)
        self._stop_agreed = stop > 0

    def _refuse(self, broken_pass: _Pass, loss: float) -> None:
        losses = self._of_all(broken_pass.per_set).flatten()
        numbers = self._of_all(broken_pass.numbers).flatten()
        broken = numbers[~losses.isfinite()].tolist()
        names = list(dict.fromkeys(self._names_of(broken)))
        where = f"not finite in {len(broken)} of {len(losses)} sets: {listing(names, 5)}"
        if not broken:
            where = "finite in every set, and not where the gene decoder or a token learns"
        raise DataError(f"step {self.global_step + 1}: the loss is {loss}, {where}; {KEPT}")
