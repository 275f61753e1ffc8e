"""A training that is asked to stop ends its step and keeps its state."""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType

import lightning

AT_ONCE = 1.0
"""Seconds in which a second signal is taken for the first one again."""


class Interruptions(lightning.Callback):
    """Notes a SIGTERM (a cluster's time limit or preemption) or SIGINT (Ctrl-C) while training.

    A second one acts as it would without this, unless it comes at once: Ctrl-C reaches the job and
    Snakemake, which passes it on.

    Attributes
    ----------
    asked
        The signal that came; None: none did.
    """

    def __init__(self) -> None:
        self.asked: signal.Signals | None = None
        self._since = 0.0

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Listen from here on: Lightning has put its own handlers there before, and resets all."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not None:
            if time.monotonic() - self._since > AT_ONCE:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                signal.raise_signal(number)
            return
        self.asked, self._since = signal.Signals(number), time.monotonic()
        try:
            print(f"{self.asked.name}: ending this step, to keep its state", flush=True)
        except (OSError, RuntimeError):
            # Of `train | tee log`, Ctrl-C ends tee first; and a signal may come amid another line.
            # To say it must not cost what it says, nor may what is printed until the step ends.
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
