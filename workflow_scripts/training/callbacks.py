"""What happens between steps: the log, the checkpoints, a line for a person to read."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from workflow_scripts.errors import DataError, StoppedError
from workflow_scripts.training.batches import Batch, Feeder
from workflow_scripts.training.checkpoint_writer import CheckpointWriter
from workflow_scripts.training.checkpoints import STATE
from workflow_scripts.training.interruptions import Interruptions
from workflow_scripts.training.metrics_file import SCORES, MetricsFile
from workflow_scripts.training.module import TrainingModule
from workflow_scripts.training.pace import Progress
from workflow_scripts.training.plan import TrainingPlan
from workflow_scripts.training.processes import Share
from workflow_scripts.training.validating import badness

PASSES = "passes"
"""Under which name a checkpoint keeps in how many passes a step was computed."""


class StepKeeper(lightning.Callback):
    """Writes each step's row, then the checkpoints that are due, in that order.

    Where a validation follows a step, both wait for it: the row then holds its loss, the best
    checkpoint holds the weights that were validated, and a resumed run knows both. Of several
    processes all come to the same decisions, and the first one writes and talks.
    """

    def __init__(
        self,
        folder: Path,
        plan: TrainingPlan,
        share: Share,
        interruptions: Interruptions,
        feeder: Feeder,
        *,
        start: int,
        keep: int,
        sets_per_epoch: int,
        ideal_seconds: float,
    ) -> None:
        self._plan = plan
        self._share = share
        self._interruptions = interruptions
        self._feeder = feeder
        self._sets_per_epoch = sets_per_epoch
        self._first = share.processes.rank == 0
        self._writer = CheckpointWriter(folder, keep=keep, first=self._first)
        self._metrics = MetricsFile(folder, start) if self._first else None
        self._row: dict[str, Any] = {}
        self._cells_per_step = plan.sets_per_step * plan.set_size
        self._ideal_seconds = ideal_seconds
        self._progress = (
            Progress(start, plan.max_steps, self._cells_per_step) if self._first else None
        )
        self._began: float | None = None
        self._waited = 0.0
        self.step = start
        self._least_bad = math.inf
        self.best_step = 0

    @property
    def state_key(self) -> str:
        """Name of this callback's state in a checkpoint."""
        return STATE

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the validations so far."""
        return {"least_bad": self._least_bad, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the validations of the run that is continued."""
        self._least_bad = state_dict["least_bad"]
        self.best_step = state_dict["best_step"]

    def on_fit_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Hold all processes to the step that the first one goes on from.

        Raises
        ------
        DataError
            Where this one goes on from another: each looked into the folder by itself.
        """
        first: int = trainer.strategy.broadcast(self.step)
        if first != self.step:
            raise DataError(
                f"the first process goes on from step {first}, and this one from step "
                f"{self.step}: another training wrote into the folder as they started, or the "
                "machines don't see the same files; start again"
            )

    def on_save_checkpoint(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Note in how many passes a step was computed: Lightning counts passes."""
        checkpoint[PASSES] = self._share.passes

    def on_load_checkpoint(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Recount the passes of a run that went on with others, so that steps begin with one."""
        if checkpoint[PASSES] != self._share.passes and self._first:
            print(
                f"note: steps had {checkpoint[PASSES]} passes so far and have {self._share.passes} "
                "from here on: other elements are dropped, so the weights are not bit for bit "
                "those of an unbroken training",
                flush=True,
            )
        counts = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        for count in (counts["total"], counts["current"]):
            ready = count["ready"]
            more = ready // checkpoint[PASSES] * self._share.passes - ready
            count.update({name: passes + more for name, passes in count.items()})

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Note when the step began, and what its passes waited for their cells."""
        if self._began is None:
            self._began = time.monotonic()
        else:
            self._began += self._feeder.waited
        self._waited += self._feeder.waited

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Write row and checkpoint of a step that has ended, unless a validation comes first."""
        if trainer.global_step == self.step:
            return  # more passes follow
        assert isinstance(pl_module, TrainingModule)
        assert self._began is not None
        self.step = trainer.global_step
        losses = pl_module.losses_of_step()
        seconds = time.monotonic() - self._began
        self._row = {
            "step": self.step,
            "epoch": (self.step - 1) * self._plan.sets_per_step // self._sets_per_epoch,
            "train_loss": losses.total,
            "train_set_loss": losses.per_set,
            **dict.fromkeys(SCORES),
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "gradient_norm": pl_module.gradient_norm,
            "seconds": round(seconds, 6),
            "waiting": round(self._waited, 6),
            "cells_per_second": round(self._cells_per_step / (seconds + self._waited), 1),
            "mfu": float(f"{self._ideal_seconds / seconds:.4g}"),
            "memory": memory_in_use(pl_module.device),
        }
        if self._progress is not None:
            self._progress.add(self.step, seconds, self._waited)
        self._began, self._waited = None, 0.0
        if not self._plan.validates_at(self.step):
            self._end_step(trainer, pl_module)

    def on_validation_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Write the row of a validated step, the best checkpoint and the step's own."""
        assert isinstance(pl_module, TrainingModule)
        self._row |= pl_module.scores
        found = badness(pl_module.scores, self._plan.select_by)
        is_best = found < self._least_bad
        if is_best:
            self._least_bad, self.best_step = found, self.step
        over = self._plan.stops_at(self.step, self.best_step)
        if over and self._progress is not None:
            self._progress.say(
                f"step {self.step}: {self._plan.patience} validations that are no better than that "
                f"of step {self.best_step} ({self._plan.select_by}): training ends here"
            )
        trainer.should_stop = trainer.should_stop or over
        self._tell(now=True)
        self._end_step(trainer, pl_module, is_best=is_best, is_last=over)

    def on_train_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Close the log."""
        self.close()

    def close(self) -> None:
        """Close the log and the bar."""
        if self._metrics is not None:
            self._metrics.close()
        if self._progress is not None:
            self._progress.close()

    def _end_step(
        self,
        trainer: lightning.Trainer,
        module: TrainingModule,
        *,
        is_best: bool = False,
        is_last: bool = False,
    ) -> None:
        step = self.step
        if self._metrics is not None:
            self._metrics.append(self._row)
        for logger in trainer.loggers:
            values = {k: v for k, v in self._row.items() if v is not None and k != "step"}
            logger.log_metrics(values, step=step)
        self._tell(now=False)
        if is_best:
            self._writer.write_best(trainer, step)
        is_last = is_last or step == self._plan.max_steps
        stops = module.stop_asked and not is_last
        if self._plan.saves_at(step) or is_last or stops:
            if self._metrics is not None:
                self._metrics.sync()
            self._writer.write_step(trainer, step, is_best=is_best)
        if stops:
            asked = self._interruptions.asked
            by = "a signal to another of its processes" if asked is None else asked.name
            raise StoppedError(
                f"stopped by {by} after step {step} of {self._plan.max_steps}; its state is kept, "
                "and the same command continues from there"
            )

    def _tell(self, *, now: bool) -> None:
        if self._progress is None:
            return
        shown = [f"loss {self._row['train_loss']:.4f}"]
        if self._row["val_loss"] is not None:
            shown.append(f"validation {self._row['val_loss']:.4f}")
        if self.best_step:
            name = self._plan.select_by
            of = "" if name == "val_loss" else f"{name} "
            shown.append(f"best {of}{abs(self._least_bad):.4f} (step {self.best_step})")
        self._progress.tell(self.step, "  ".join(shown), now=now)


def memory_in_use(device: torch.device) -> int:
    """Return the largest memory of the training so far, in bytes: of its GPU, or its process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
