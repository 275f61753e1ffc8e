"""Predicting and writing cells, beside the model's forward pass alone, and the memory it takes.

Example:

    python benchmarks/predict.py

state_sm at 18,080 genes with random weights, 16 sets of 128 cells a pass, on cells simulated by
structure. The forward pass alone is asked for as many sets, from controls that are in memory. Both
take turns, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from cells import N_GENES, SET_SIZE, SETS, pack
from model_step import FEATURES, plan_of
from screens import write_screen

from workflow_scripts.cells.predicted_cells import (
    Predicted,
    describe,
    write_observed,
    write_predicted,
)
from workflow_scripts.cells.store import CellStore
from workflow_scripts.cells.targets import Targets, groups_of_list
from workflow_scripts.command import command_parser
from workflow_scripts.features.vectors import Features
from workflow_scripts.models import ModelDescription
from workflow_scripts.prediction.trained_models import TrainedModels
from workflow_scripts.training.starting_model import build_model, planned_settings

ROUNDS = 5


def targets_of(store: CellStore, n_cells: int) -> Targets:
    """Ask for so many cells, as many of each perturbation."""
    names = [name for name in store.cells["perturbation"].cat.categories if name != "control"]
    each = -(-n_cells // (len(names) * SET_SIZE)) * SET_SIZE  # whole sets
    few = names[: max(1, n_cells // each)]
    asked = pd.DataFrame(
        {
            "perturbation": few,
            "context": "k562",
            "n_cells": n_cells // len(few),
            "dataset": "screen",
        }
    )
    groups = groups_of_list(store, asked, by_batch=False)
    return Targets.draw(groups, set_size=SET_SIZE, seed=0, measured=False)


class Work:
    """A model, and cells to predict with it."""

    def __init__(self, folder: Path, n_cells: int) -> None:
        self.folder = folder
        self.store = CellStore.open(folder / "store" / "manifest.json")
        self.targets = targets_of(self.store, n_cells)
        plan = plan_of(N_GENES)
        torch.manual_seed(0)
        settings = planned_settings(plan, n_genes=N_GENES, feature_dim=FEATURES, n_batches=1)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = build_model(settings, plan).to(self.device).eval()
        names = tuple(sorted({group.perturbation for group in self.targets.groups}))
        matrix = np.random.default_rng(0).normal(size=(len(names), FEATURES)).astype(np.float32)
        self.features = Features(names, matrix)

    def forward(self) -> None:
        """Ask the model for as many cells, and keep nothing."""
        sets = self.targets.sets.take(slice(0, SETS))
        shape = (*sets.control.shape, N_GENES)
        control = torch.from_numpy(self.store.dense(sets.control.ravel()).reshape(shape))
        control = control.to(self.device)
        features = torch.from_numpy(self.features.matrix[: len(sets.groups)]).to(self.device)
        batch = torch.zeros(sets.control.shape, dtype=torch.long, device=self.device)
        start, n_sets = time.perf_counter(), len(self.targets.sets.groups)
        with torch.inference_mode():
            for at in range(0, n_sets, SETS):
                n = min(SETS, n_sets - at)
                self.model(control[:n], features[:n], batch[:n]).float().cpu()
        self.took = time.perf_counter() - start

    def predict(self) -> None:
        """Predict and write."""
        start = time.perf_counter()
        description = ModelDescription(tuple(map(str, self.store.genes)))
        models = TrainedModels([(self.model, description)], self.features)
        blocks = models.predict(self.store, self.targets, SETS)
        path = self.folder / "predicted.h5ad"
        write_predicted(
            path, self.store, self.targets, blocks, describe(self.store, "b"), clip=True
        )
        self.took = time.perf_counter() - start


def throughput(folder: Path, n_cells: int) -> None:
    """Let both take turns."""
    peers = {
        name: subprocess.Popen(
            [sys.executable, __file__, "--peer", name, str(folder), str(n_cells)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for name in ("forward", "predict")
    }
    rates: dict[str, list[float]] = {name: [] for name in peers}
    for turn in range(ROUNDS + 1):
        for name, peer in peers.items():
            assert peer.stdin is not None
            assert peer.stdout is not None
            print("go", file=peer.stdin, flush=True)
            rate = float(peer.stdout.readline())
            if turn:  # the first one warms up
                rates[name].append(rate)
    for peer in peers.values():
        assert peer.stdin is not None
        peer.stdin.close()
        peer.wait()
    shares = [p / f for p, f in zip(rates["predict"], rates["forward"], strict=True)]
    print("| | cells/s |\n|---|---|")
    for name, found in rates.items():
        print(f"| {name} | {statistics.median(found):,.0f} |")
    print(f"\npredicted and written / forward alone: {statistics.median(shares):.2f}")


def peer(name: str, folder: Path, n_cells: int) -> None:
    """Work whenever a line comes."""
    work, answers = Work(folder, n_cells), sys.stdout
    sys.stdout = sys.stderr
    for _ in sys.stdin:
        getattr(work, name)()
        print(len(work.targets.paired) / work.took, file=answers, flush=True)


def memory(folder: Path, sizes: list[int]) -> None:
    """Measure each size in a process of its own."""
    print("| predicted cells | written as | peak | file |\n|---|---|---|---|")
    for kind in ("sparse", "dense"):
        for n_cells in sizes:
            command = [sys.executable, __file__, "--size", kind, str(folder), str(n_cells)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr[-2000:])
            found = json.loads(done.stdout.strip().splitlines()[-1])
            print(
                f"| {n_cells:,} | {kind} | {found['peak'] / 1e9:.2f} GB | "
                f"{found['size'] / 1e9:.2f} GB |",
                flush=True,
            )


def size(kind: str, folder: Path, n_cells: int) -> None:
    """Write so many cells, the controls as they are or with a dense effect; tell the peak."""
    store = CellStore.open(folder / "store" / "manifest.json")
    targets = targets_of(store, n_cells)
    effect = np.zeros(N_GENES, dtype=np.float32)
    if kind == "dense":
        effect += np.float32(0.01)
    step = SETS * SET_SIZE
    blocks = (
        Predicted(store.dense(targets.paired[at : at + step]) + effect)
        for at in range(0, len(targets.paired), step)
    )
    path = folder / "memory.h5ad"
    write_predicted(path, store, targets, blocks, describe(store, "b"), clip=False)
    write_observed(folder / "observed.h5ad", store, targets, describe(store, "b"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print("\n" + json.dumps({"peak": peak, "size": path.stat().st_size}))
    path.unlink()


def main() -> None:
    """Make the cells, measure, print tables."""
    parser = command_parser("python benchmarks/predict.py", __doc__)
    parser.add_argument(
        "--cells", type=int, nargs="+", default=[8_192], help="predicted cells; several: --memory"
    )
    parser.add_argument(
        "--memory",
        action="store_true",
        help="peak of resident memory as the number of predicted cells grows, of the baseline "
        "control, whose cells are sparse, and of a dense model of few parameters",
    )
    parser.add_argument("--peer", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--size", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peer:
        peer(given.peer[0], Path(given.peer[1]), int(given.peer[2]))
        return
    if given.size:
        size(given.size[0], Path(given.size[1]), int(given.size[2]))
        return
    folder = Path(tempfile.mkdtemp(prefix="predict-"))
    try:
        write_screen(folder / "screen.h5ad", 20_000, 4_000, logged=True, n_genes=N_GENES)
        pack(folder / "screen.h5ad", folder / "store")
        if given.memory:
            memory(folder, given.cells)
        else:
            throughput(folder, given.cells[0])
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
