"""A checkpoint of a real training of state_sm: its size, and the time to write and to resume it.

The trainer itself takes a step, validates and saves; started again, it goes on and takes a second
one. The floors are the same bytes: written from memory and synced to disk, and read into memory.
"""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from cells import pack
from model_step import FEATURES, plan_of
from screens import write_screen

from workflow_scripts.features.vectors import Features
from workflow_scripts.training.callbacks import StepKeeper
from workflow_scripts.training.checkpoint_writer import CheckpointWriter
from workflow_scripts.training.checkpoints import kept_steps
from workflow_scripts.training.machine import Machine
from workflow_scripts.training.trainer import train

N_CELLS, N_VALUES, TURNS = 2_000, 500, 5

ROWS = {
    "save": "writing it, synced, its place taken",
    "copy": "floor: the same bytes written from memory and synced",
    "restore": "resuming: longer until the first step than from nothing",
    "read": "floor: the same bytes read into memory",
    "begin": "from nothing to the first step",
    "resume": "from the checkpoint to the first step",
}


class Moments:
    """When the trainer saves and when its first step begins, noted by its own callback."""

    def __init__(self) -> None:
        self.saving: list[float] = []
        self.begun = 0.0
        self.n_parameters = 0
        save, begin = CheckpointWriter._save, StepKeeper.on_train_batch_start

        def timed(writer: CheckpointWriter, *given: Any) -> None:
            start = time.perf_counter()
            save(writer, *given)
            trainer: lightning.Trainer = given[0]
            self.n_parameters = sum(p.numel() for p in trainer.lightning_module.parameters())
            self.saving.append(time.perf_counter() - start)

        def noted(keeper: StepKeeper, *given: Any) -> None:
            self.begun = self.begun or time.perf_counter()
            begin(keeper, *given)

        CheckpointWriter._save = timed  # type: ignore[method-assign]
        StepKeeper.on_train_batch_start = noted  # type: ignore[method-assign]

    def until_first_step(self, work: Callable[[], object]) -> float:
        """Return the seconds from the call to its first step."""
        self.begun, start = 0.0, time.perf_counter()
        work()
        return self.begun - start


def measure_checkpoint(folder: Path, n_genes: int) -> None:
    """Train, stop, resume, and print a table."""
    write_screen(folder / "screen.h5ad", N_CELLS, N_VALUES, logged=True, n_genes=n_genes)
    store = pack(folder / "screen.h5ad", folder / "store")
    splits = store.cells[["dataset", "file", "context", "perturbation", "is_control"]]
    splits = splits.drop_duplicates().assign(split="train")
    splits.loc[splits["perturbation"] == "P1", "split"] = "val"
    splits.loc[splits["is_control"], "split"] = "control"
    names = tuple(sorted(splits["perturbation"].astype(str).unique()))
    vectors = np.random.default_rng(0).standard_normal((len(names), FEATURES), dtype=np.float32)
    features = Features(names, vectors)
    machine = Machine("cpu", 0, pin_memory=False, gpu_cells=None, keep_checkpoints=1)
    plan = replace(plan_of(n_genes), sets_per_step=1, val_freq=1, save_every=1, validation_sets=1)

    def run(where: Path, steps: int) -> None:
        train(replace(plan, max_steps=steps), store, splits, features, where, machine, {})

    moments = Moments()
    rows: dict[str, list[float]] = {name: [] for name in ROWS}
    for turn in range(TURNS):
        where = folder / f"training{turn}"
        where.mkdir()
        rows["begin"].append(moments.until_first_step(lambda: run(where, 1)))  # noqa: B023
        rows["save"].append(moments.saving[-1])
        [path] = kept_steps(where).values()
        size = path.stat().st_size
        rows["copy"].append(_writing(path.read_bytes(), folder / "copy"))
        rows["read"].append(_reading(path))
        rows["resume"].append(moments.until_first_step(lambda: run(where, 2)))  # noqa: B023
        shutil.rmtree(where)
    rows["restore"] = [a - b for a, b in zip(rows["resume"], rows["begin"], strict=True)]
    n_parameters = moments.n_parameters
    beyond = size - 12 * n_parameters
    print(f"\n| checkpoint, {n_genes:,} genes, {n_parameters:,} parameters | |\n|---|---|")
    print(f"| size | {size / 1e6:,.1f} MB |")
    print(f"| beyond weights and two moments (1 MB was the bound) | {beyond / 1e6:.2f} MB |")
    for name, text in ROWS.items():
        took = statistics.median(rows[name])
        print(f"| {text} | {took:.2f} s |")


def _writing(content: bytes, path: Path) -> float:
    start = time.perf_counter()
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return time.perf_counter() - start


def _reading(path: Path) -> float:
    start = time.perf_counter()
    path.read_bytes()
    return time.perf_counter() - start
