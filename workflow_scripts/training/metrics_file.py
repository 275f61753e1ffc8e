"""The log of a training as CSV: one row a step, whole after every kill."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from workflow_scripts.cache.writing import write_atomically
from workflow_scripts.models.effect_scores import EFFECT_SCORES
from workflow_scripts.training.validating import badness

LOG = "training.csv"
EARLIER = "training-earlier.csv"
"""All rows that earlier starts left, those of steps beyond the log's among them."""

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

    def __init__(self, folder: Path, start: int) -> None:
        """Open the log for the steps after ``start``.

        It keeps the rows up to there. Those of later steps, which a killed or a longer training
        left, stay beside it for a training that returns to their checkpoints. A torn last row is
        removed.
        """
        rows = _rows(folder)
        _write(folder / EARLIER, rows.values())
        _write(folder / LOG, [row for step, row in rows.items() if step <= start])
        # Held open for the length of the training, and closed by it.
        self._file = (folder / LOG).open("a", encoding="utf-8", newline="")

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


def logged_steps(folder: Path) -> int:
    """Return how many steps the rows of a training tell of without a gap, from the first on."""
    return next(at for at, step in enumerate([*_rows(folder), None]) if step != at + 1)


def validations(folder: Path, select_by: str) -> dict[int, float]:
    """Return the badness of each validation that the rows of a training tell of, by step."""
    named = (dict(zip(COLUMNS, row, strict=True)) for row in _rows(folder).values())
    return {
        int(row["step"]): badness(
            {name: float(row[name]) for name in SCORES if row[name]}, select_by
        )
        for row in named
        if row["val_loss"]
    }


def _rows(folder: Path) -> dict[int, list[str]]:
    """Return the whole rows of all steps that were ever computed, by step, ascending."""
    rows: dict[int, list[str]] = {}
    for path in (folder / EARLIER, folder / LOG):  # the log has what was computed last
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                whole = [row for row in csv.reader(file) if len(row) == len(COLUMNS)]
            rows |= {int(row[0]): row for row in whole if row[0].isdigit()}
    return dict(sorted(rows.items()))


def _write(path: Path, rows: Iterable[Sequence[str]]) -> None:
    write_atomically(path, "".join(f"{','.join(row)}\n" for row in (COLUMNS, *rows)))
