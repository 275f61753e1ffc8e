"""Packed cells move to the GPU, once the first steps have shown what training leaves free there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning
import torch
from torch import Tensor

from workflow_scripts.training.batches import Batch
from workflow_scripts.training.readers import DeviceReader

SETTLED = 10
"""Steps after which the allocator has taken what a step needs at its largest."""

SPARE = 0.1
"""Part of a GPU's memory that stays free: validation, libraries and fragments come on top."""


def fits(needed: int, free: int, total: int, budget: float | None) -> bool:
    """Tell whether packed cells may lie on the GPU.

    Parameters
    ----------
    needed
        Bytes of the packed cells.
    free, total
        Bytes of the GPU: free while training goes on, and all.
    budget
        Most bytes that they may take; None: as many as are free but for a part (`SPARE`).
    """
    room = free - SPARE * total
    return needed <= (room if budget is None else min(room, budget))


class Residency(lightning.Callback):
    """Moves the packed cells to the GPU after some steps, where they fit."""

    def __init__(self, reader: DeviceReader, start: int, budget: float | None) -> None:
        self._reader = reader
        self._at = start + SETTLED
        self._budget = budget

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Decide once, and say how."""
        if trainer.global_step != self._at:
            return
        needed = self._reader.bytes_to_move_in
        free, total = torch.cuda.mem_get_info(pl_module.device)
        moved = fits(needed, free, total, self._budget)
        if moved:
            try:
                self._reader.move_in()
            except torch.cuda.OutOfMemoryError:
                moved = False
        where = "lie on the GPU from now on" if moved else "go to the GPU step by step"
        print(
            f"packed cells ({needed / 1e9:.1f} GB) {where}: training leaves {free / 1e9:.1f} of "
            f"{total / 1e9:.1f} GB free",
            flush=True,
        )
