"""The log of a training as CSV: one row a step, whole after every kill."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from workflow_scripts.models.effect_scores import EFFECT_SCORES
from workflow_scripts.settings.finished import write_atomically
from workflow_scripts.training.validating import badness

LOG = "training.csv"
SCORES = ("val_loss", *(f"val_{name}" for name in EFFECT_SCORES))
COLUMNS = (
    *("step", "epoch", "train_loss", "train_set_loss", *SCORES, "lr", "gradient_norm"),
    *("seconds", "waiting", "cells_per_second", "mfu", "memory"),
)
"""Scores are those of the validation after a step, empty where none followed, or nothing was to be
ranked; then the seconds a step took, those it waited for its cells before, the cells it predicted
in a second of both, the share of the device's matmul rate that its matrix products made use of
(model FLOPs utilization; `utilization.matmul_rate`), and the peak of memory in bytes."""

UNREPEATED = ("seconds", "waiting", "cells_per_second", "mfu", "memory")
"""Columns that differ between two trainings that are otherwise the same."""


class MetricsFile:
    """Rows of a training, appended as they come."""

    def __init__(self, path: Path, start: int) -> None:
        """Open the log for the steps after ``start``.

        Rows of later steps, which a killed run may have left, and a torn last row are removed:
        these steps are computed again.
        """
        kept = [",".join(COLUMNS)]
        if path.exists() and start > 0:
            with path.open(newline="", encoding="utf-8") as file:
                kept += [",".join(row) for row in csv.reader(file) if _is_kept(row, start)]
        write_atomically(path, "\n".join(kept) + "\n")
        # Held open for the length of the training, and closed by it.
        self._file = path.open("a", encoding="utf-8", newline="")

    def append(self, row: Mapping[str, object]) -> None:
        """Write one row; a value that is None is left empty."""
        line = io.StringIO()
        csv.DictWriter(line, COLUMNS, lineterminator="\n").writerow(row)
        self._file.write(line.getvalue())
        self._file.flush()

    def sync(self) -> None:
        """Wait until all rows are on disk; a checkpoint must not be ahead of its log."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def logged_steps(path: Path) -> int:
    """Return how many steps a log tells of without a gap, from the first on."""
    if not path.exists():
        return 0
    with path.open(newline="", encoding="utf-8") as file:
        steps = [int(row[0]) for row in csv.reader(file) if _is_kept(row, sys.maxsize)]
    gaps = [at for at, step in enumerate(steps, start=1) if step != at]
    return gaps[0] - 1 if gaps else len(steps)


def validations(path: Path, select_by: str) -> dict[int, float]:
    """Return the badness of each validation that a log tells of, by step."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if _is_kept(row, sys.maxsize)]
    named = (dict(zip(COLUMNS, row, strict=True)) for row in rows)
    return {
        int(row["step"]): badness(
            {name: float(row[name]) for name in SCORES if row[name]}, select_by
        )
        for row in named
        if row["val_loss"]
    }


def _is_kept(row: list[str], start: int) -> bool:
    return len(row) == len(COLUMNS) and row[0].isdigit() and int(row[0]) <= start
