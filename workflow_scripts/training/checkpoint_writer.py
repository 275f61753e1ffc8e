"""Writes the checkpoints of a training, so that each is whole or absent."""

from __future__ import annotations

import shutil
from pathlib import Path

import lightning

from workflow_scripts.cache.writing import link
from workflow_scripts.errors import NO_ROOM, DataError
from workflow_scripts.training.checkpoints import (
    LAST,
    best_name,
    kept_steps,
    prune,
    replace_file,
    step_name,
)


class CheckpointWriter:
    """Writes the state after a step.

    All processes of a training take part, since each may hold a part of the state; the first one
    writes.
    """

    def __init__(self, folder: Path, *, keep: int, first: bool) -> None:
        """Prepare the folder: remove what an earlier start was killed in the middle of.

        Parameters
        ----------
        folder
            Where checkpoints lie.
        keep
            Step checkpoints that stay.
        first
            Whether this is the first of the processes.
        """
        self._folder = folder
        self._keep = keep
        self._first = first
        if first:
            # What a kill left half written, or not yet renamed, under the lock of the folder.
            for path in folder.glob(".*.ckpt.*"):
                path.unlink()

    def write_best(self, trainer: lightning.Trainer, step: int) -> None:
        """Write the state whose validation after ``step`` was the best so far."""
        self._save(trainer, self._folder / best_name(step))

    def write_step(self, trainer: lightning.Trainer, step: int, *, is_best: bool) -> None:
        """Write the state after ``step``, the last one now, and drop what needn't stay.

        With ``is_best``, it was just written as such.
        """
        path = self._folder / step_name(step)
        if not is_best:
            self._save(trainer, path)
        if not self._first:
            return
        if is_best:
            link(self._folder / best_name(step), path)
        link(path, self._folder / LAST)
        prune(self._folder, step, self._keep)

    def _save(self, trainer: lightning.Trainer, path: Path) -> None:
        beside = path.with_name(f".{path.name}.new")
        try:
            trainer.save_checkpoint(beside)
            if self._first:
                replace_file(beside, path)
        except OSError as error:
            beside.unlink(missing_ok=True)
            if error.errno not in NO_ROOM:
                raise
            kept = max(kept_steps(self._folder), default=0)
            raise DataError(
                f"{path}: the checkpoint can't be written ({error}); "
                f"{shutil.disk_usage(self._folder).free / 1e9:.1f} GB are free. The one of step "
                f"{kept} is kept: make room, or lower engine.keep_checkpoints, and start again"
            ) from error
