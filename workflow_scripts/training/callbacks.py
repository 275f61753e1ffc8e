"""What happens between steps: the log, the checkpoints, a line for a person to read."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
from torch import Tensor

from workflow_scripts.settings.errors import StoppedError
from workflow_scripts.settings.finished import link
from workflow_scripts.training.batches import Batch
from workflow_scripts.training.checkpoints import (
    LAST,
    STATE,
    best_name,
    prune,
    replace_file,
    step_name,
)
from workflow_scripts.training.interruptions import Interruptions
from workflow_scripts.training.metrics_file import LOG, MetricsFile
from workflow_scripts.training.module import TrainingModule
from workflow_scripts.training.plan import TrainingPlan

SECONDS_BETWEEN_LINES = 10.0
"""How often the log tells how far the training is."""


class StepKeeper(lightning.Callback):
    """Writes each step's row, then the checkpoints that are due, in that order.

    Where a validation follows a step, both wait for it: the row then holds its loss, the best
    checkpoint holds the weights that were validated, and a resumed run knows both.
    """

    def __init__(
        self,
        folder: Path,
        plan: TrainingPlan,
        interruptions: Interruptions,
        *,
        start: int,
        keep: int,
        sets_per_epoch: int,
    ) -> None:
        self._folder = folder
        self._plan = plan
        self._interruptions = interruptions
        self._keep = keep
        self._sets_per_epoch = sets_per_epoch
        self._metrics = MetricsFile(folder / LOG, start)
        self._row: dict[str, Any] = {}
        self._started = self._spoke = time.monotonic()
        self._start = start
        self.best_loss = math.inf
        self.best_step = 0

    @property
    def state_key(self) -> str:
        """Name of this callback's state in a checkpoint."""
        return STATE

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the validations so far."""
        return {"best_loss": self.best_loss, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the validations of the run that is continued."""
        self.best_loss = state_dict["best_loss"]
        self.best_step = state_dict["best_step"]

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Note when the step began."""
        self._began = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Write the step's row and its checkpoint, unless a validation comes first."""
        step = trainer.global_step
        assert isinstance(outputs, Mapping)
        assert isinstance(pl_module, TrainingModule)
        loss = float(outputs["loss"])
        self._row = {
            "step": step,
            "epoch": (step - 1) * self._plan.sets_per_step // self._sets_per_epoch,
            "train_loss": loss,
            "val_loss": None,
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "gradient_norm": pl_module.gradient_norm,
            "seconds": round(time.monotonic() - self._began, 6),
        }
        if not self._plan.validates_at(step):
            self._end_step(trainer, step)

    def on_validation_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Write the row of a validated step, the best checkpoint and the step's own."""
        assert isinstance(pl_module, TrainingModule)
        step = trainer.global_step
        self._row["val_loss"] = pl_module.validation_loss
        is_best = pl_module.validation_loss < self.best_loss
        if is_best:
            self.best_loss, self.best_step = pl_module.validation_loss, step
        self._say(step)
        self._end_step(trainer, step, is_best=is_best)

    def on_train_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Close the log."""
        self._metrics.close()

    def _end_step(self, trainer: lightning.Trainer, step: int, *, is_best: bool = False) -> None:
        self._metrics.append(self._row)
        for logger in trainer.loggers:
            values = {k: v for k, v in self._row.items() if v is not None and k != "step"}
            logger.log_metrics(values, step=step)
        if time.monotonic() - self._spoke > SECONDS_BETWEEN_LINES:
            self._say(step)
        if is_best:
            self._save(trainer, self._folder / best_name(step))
        stopped = self._interruptions.asked if step < self._plan.max_steps else None
        if self._plan.saves_at(step) or stopped:
            self._metrics.sync()
            path = self._folder / step_name(step)
            if is_best:
                link(self._folder / best_name(step), path)
            else:
                self._save(trainer, path)
            link(path, self._folder / LAST)
            prune(self._folder, step, self._keep)
        if stopped:
            raise StoppedError(
                f"stopped by {stopped.name} after step {step} of {self._plan.max_steps}; its state "
                "is kept, and the same command continues from there"
            )

    def _save(self, trainer: lightning.Trainer, path: Path) -> None:
        beside = path.with_name(f".{path.name}.new")
        trainer.save_checkpoint(beside)
        replace_file(beside, path)

    def _say(self, step: int) -> None:
        self._spoke = time.monotonic()
        rate = (step - self._start) / max(self._spoke - self._started, 1e-9)
        left = (self._plan.max_steps - step) / max(rate, 1e-9)
        validation = self._row.get("val_loss")
        shown = "" if validation is None else f"  validation {validation:.4f}"
        print(
            f"step {step}/{self._plan.max_steps}  loss {self._row['train_loss']:.4f}{shown}  "
            f"{rate:.1f} steps/s  {left:.0f} s left",
            flush=True,
        )
