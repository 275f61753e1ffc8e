"""What happens between steps: the log, the checkpoints, a line for a person to read."""

from __future__ import annotations

import errno
import math
import resource
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from workflow_scripts.settings.errors import DataError, StoppedError
from workflow_scripts.settings.finished import link
from workflow_scripts.training.batches import Batch, Feeder
from workflow_scripts.training.checkpoints import (
    LAST,
    STATE,
    best_name,
    kept_steps,
    prune,
    replace_file,
    step_name,
)
from workflow_scripts.training.interruptions import Interruptions
from workflow_scripts.training.metrics_file import LOG, MetricsFile
from workflow_scripts.training.module import TrainingModule
from workflow_scripts.training.pace import Pace
from workflow_scripts.training.plan import TrainingPlan

SECONDS_BETWEEN_LINES = 10.0
"""How often the log tells how far the training is."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
        feeder: Feeder,
        *,
        start: int,
        keep: int,
        sets_per_epoch: int,
    ) -> None:
        self._folder = folder
        self._plan = plan
        self._interruptions = interruptions
        self._feeder = feeder
        self._keep = keep
        self._sets_per_epoch = sets_per_epoch
        self._metrics = MetricsFile(folder / LOG, start)
        self._row: dict[str, Any] = {}
        self._pace = Pace(start, plan.max_steps, plan.sets_per_step * plan.set_size)
        self.step = start
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
        self.step = trainer.global_step
        assert isinstance(outputs, Mapping)
        assert isinstance(pl_module, TrainingModule)
        loss = float(outputs["loss"])
        self._row = {
            "step": self.step,
            "epoch": (self.step - 1) * self._plan.sets_per_step // self._sets_per_epoch,
            "train_loss": loss,
            "val_loss": None,
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "gradient_norm": pl_module.gradient_norm,
            "seconds": round(time.monotonic() - self._began, 6),
            "waiting": round(self._feeder.waited, 6),
            "memory": memory_in_use(pl_module.device),
        }
        self._pace.add(self._row["seconds"], self._feeder.waited)
        if not self._plan.validates_at(self.step):
            self._end_step(trainer)

    def on_validation_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Write the row of a validated step, the best checkpoint and the step's own."""
        assert isinstance(pl_module, TrainingModule)
        self._row["val_loss"] = pl_module.validation_loss
        is_best = pl_module.validation_loss < self.best_loss
        if is_best:
            self.best_loss, self.best_step = pl_module.validation_loss, self.step
        over = self._plan.stops_at(self.step, self.best_step)
        if over:
            print(
                f"step {self.step}: {self._plan.patience} validations without a lower loss than "
                f"that of step {self.best_step}: training ends here",
                flush=True,
            )
            trainer.should_stop = True
        self._say()
        self._end_step(trainer, is_best=is_best, is_last=over)

    def on_train_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Close the log."""
        self.close()

    def close(self) -> None:
        """Close the log."""
        self._metrics.close()

    def _end_step(
        self, trainer: lightning.Trainer, *, is_best: bool = False, is_last: bool = False
    ) -> None:
        step = self.step
        self._metrics.append(self._row)
        for logger in trainer.loggers:
            values = {k: v for k, v in self._row.items() if v is not None and k != "step"}
            logger.log_metrics(values, step=step)
        if self._pace.silent_for() > SECONDS_BETWEEN_LINES:
            self._say()
        if is_best:
            self._save(trainer, self._folder / best_name(step))
        is_last = is_last or step == self._plan.max_steps
        stopped = None if is_last else self._interruptions.asked
        if self._plan.saves_at(step) or is_last or stopped:
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
        try:
            trainer.save_checkpoint(beside)
            replace_file(beside, path)
        except (OSError, RuntimeError) as error:
            beside.unlink(missing_ok=True)
            # torch's own writer tells of any failed write without its number.
            if isinstance(error, OSError) and error.errno not in NO_ROOM:
                raise
            if isinstance(error, RuntimeError) and "write" not in str(error):
                raise
            kept = max(kept_steps(self._folder), default=0)
            raise DataError(
                f"{path}: the checkpoint can't be written ({error}); "
                f"{shutil.disk_usage(self._folder).free / 1e9:.1f} GB are free. The one of step "
                f"{kept} is kept: make room, or lower engine.keep_checkpoints, and start again"
            ) from error

    def _say(self) -> None:
        best = f"  best {self.best_loss:.4f} (step {self.best_step})" if self.best_step else ""
        validation = self._row.get("val_loss")
        shown = "" if validation is None else f"  validation {validation:.4f}"
        print(self._pace.line(self.step, f"loss {self._row['train_loss']:.4f}{shown}{best}"))
        sys.stdout.flush()


def memory_in_use(device: torch.device) -> int:
    """Return the largest memory of the training so far, in bytes: of its GPU, or its process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
