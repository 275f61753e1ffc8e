"""How far a training is, as its log says: for whoever looks on from outside. Imports no torch."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.cache.identity import NOTES, noted
from workflow_scripts.settings.stages import home_folder

SECONDS_OF_RATE = 60.0
"""The rate is that of the newest steps that took so long together."""


@dataclass(frozen=True)
class TrainingProgress:
    """What the log of a training says.

    Attributes
    ----------
    step, max_steps
        Steps that are done, and to do in all.
    loss
        ``train_loss`` of the last step.
    select_by, best, best_step
        What chooses the best validation, its value (None before the first), and its step.
    rate
        Steps a second, validations left out.
    """

    step: int
    max_steps: int
    loss: float
    select_by: str
    best: float | None
    best_step: int
    rate: float

    @property
    def seconds_left(self) -> float:
        """What its last step is away, at this rate."""
        return (self.max_steps - self.step) / self.rate


def training_progress(run: Path) -> TrainingProgress | None:
    """Return how far the training of a run is; None before its first step.

    Of several trainings that a run has had, that is the one that its stage file asks for: one that
    is older than this file belongs to other settings, and says nothing.
    """
    home = home_folder(run) / "checkpoints"
    notes, settings = home / f"train{NOTES}", run / "stages" / "train.json"
    try:
        if notes.stat().st_mtime_ns < settings.stat().st_mtime_ns:
            return None
        content = json.loads(settings.read_text(encoding="utf-8"))
        (identity, *_) = noted(notes)
        with (home / identity / "training.csv").open(newline="", encoding="utf-8") as file:
            head, *rows = csv.reader(file)
    except (OSError, ValueError):
        return None
    # A process that was killed, or that writes just now, leaves part of a row.
    whole = [dict(zip(head, row, strict=True)) for row in rows if len(row) == len(head)]
    max_steps = content["extent"]["training.max_steps"]
    whole = [row for row in whole if int(row["step"]) <= max_steps]
    if not whole:
        return None
    select_by = content["identity"]["engine.select_by"]
    column = select_by if select_by == "val_loss" else f"val_{select_by}"
    scores = {int(row["step"]): float(row[column]) for row in whole if row[column]}
    scores = {step: score for step, score in scores.items() if not math.isnan(score)}
    choose = min if select_by == "val_loss" else max
    best_step = choose(scores, key=scores.__getitem__, default=0)
    return TrainingProgress(
        step=int(whole[-1]["step"]),
        max_steps=max_steps,
        loss=float(whole[-1]["train_loss"]),
        select_by=select_by,
        best=scores.get(best_step),
        best_step=best_step,
        rate=_rate([float(row["seconds"]) + float(row["waiting"]) for row in whole]),
    )


def _rate(seconds: Sequence[float]) -> float:
    """Return steps a second, from what each step took."""
    total, steps = 0.0, 0
    for took in reversed(seconds):
        total, steps = total + took, steps + 1
        if total > SECONDS_OF_RATE:
            break
    return steps / max(total, 1e-9)
