"""What is said of a run before it starts is what it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cells.test_packing import pack
from tests.cells.test_packing import settings as packing_settings
from tests.screens import write_screen
from tests.training.test_step_memory import BATCHES, DECODER, FEATURES, GENES, LLAMA, plan
from workflow_scripts.cells.store import CellStore
from workflow_scripts.features.vectors import Features
from workflow_scripts.training import trainer
from workflow_scripts.training.estimates import (
    CELL_BYTES,
    CUDA_CONTEXT_BYTES,
    PROCESS_BYTES,
    DataSizes,
    RunEstimate,
    estimate_run,
    packed_bytes,
)
from workflow_scripts.training.machine import Machine
from workflow_scripts.training.plan import TrainingPlan
from workflow_scripts.training.readers import BYTES_TO_SPREAD

ROOT = Path(__file__).parents[2]
STATUS = Path("/proc/self/status")


@pytest.mark.parametrize("holds", ["counts", "log1p"])
@pytest.mark.parametrize(("n_genes", "cells"), [(30, 200), (300, 40), (70_000, 3)])
def test_packed_cells_are_as_large_as_they_were_said_to_be(
    tmp_path, make_screen, n_genes, cells, holds
):
    genes = [f"ENSG{number:011d}" for number in range(n_genes)]
    path = make_screen(genes=genes, cells_per_group=cells, values=holds)
    store = pack(tmp_path / "store", path)
    real = sum(entry["bytes"] for entry in store.manifest["files"].values())
    told = packed_bytes(store.n_cells, len(store.values), n_genes, holds)
    assert told == pytest.approx(real, rel=0.1)


def test_packed_embedding_is_counted(tmp_path, make_screen):
    path = make_screen(cells_per_group=200, embedding=("X_pca", 40))
    plain = pack(tmp_path / "plain", path)
    store = pack(tmp_path / "store", path, given=replace(packing_settings(), embedding="X_pca"))
    more = store.manifest["files"]["embedding.npy"]["bytes"]
    counted = (store.n_cells, len(store.values), store.n_genes, "counts")
    assert packed_bytes(*counted, 40) - packed_bytes(*counted) == more - 128  # numpy's header
    assert plain.manifest["files"].keys() < store.manifest["files"].keys()


def test_embedding_is_read_ahead_of_the_step_in_place_of_the_controls_expression():
    asked = plan({**LLAMA, **DECODER}, output_space="embedding")
    told, plain = (
        estimate_run(asked, sizes(embedding_dim=width), device="cuda", num_workers=0)
        for width in (20, None)
    )
    a_cell = 6 * 2_000_000 / 1_000  # float32 and the number of its column
    assert plain.loading_bytes == 2 * 48 * a_cell
    assert told.loading_bytes == 48 * a_cell + 2 * 48 * 20 * 4
    assert told.packed_bytes - plain.packed_bytes == 1_000 * 20 * 4
    assert told.model.batch_bytes < plain.model.batch_bytes


def sizes(**changes: Any) -> DataSizes:
    whole: dict[str, Any] = {
        "holds": "log1p",
        "n_cells": 1_000,
        "n_values": 2_000_000,
        "n_genes": GENES,
    }
    whole["n_read"] = changes.get("n_genes", GENES)
    rest = {"feature_dim": FEATURES, "n_batches": BATCHES, "sets_per_epoch": 60}
    return DataSizes(**{**rest, **whole, **changes})


def estimate(asked: TrainingPlan | None = None, **changes: Any) -> RunEstimate:
    options: dict[str, Any] = {"device": "cuda", "num_workers": 0, **changes}
    return estimate_run(asked or plan(LLAMA), sizes(), **options)


def test_steps_and_epochs_are_counted():
    told = estimate()
    assert (told.steps, told.sets_per_step, told.cells_per_step) == (100, 3, 48)
    assert (told.steps_per_epoch, told.epochs) == (20, 5)


def test_estimate_is_json():
    told = estimate()
    assert json.loads(json.dumps(told.to_dict())) == told.to_dict()
    assert told.to_dict()["model"]["n_parameters"] == told.model.n_parameters


def test_gpu_holds_the_model_and_the_host_what_waits_for_it():
    on_gpu, on_cpu = estimate(), estimate(device="cpu")
    assert on_cpu.device_bytes is None
    # 96 cells of 2,000 stored values, in six bytes each: 52 to spread one out.
    spreading = 96 * 2_000 * BYTES_TO_SPREAD
    assert on_gpu.device_bytes == on_gpu.model.total + CUDA_CONTEXT_BYTES + spreading
    assert on_gpu.loading_bytes == 96 * 2_000 * 6
    assert on_cpu.loading_bytes == 0
    assert on_cpu.host_bytes > on_gpu.host_bytes - on_gpu.loading_bytes


@pytest.mark.parametrize("threads", [2, 12])
def test_batches_that_are_read_ahead_are_few_whatever_the_threads(threads):
    on_gpu, busy_gpu = estimate(), estimate(num_workers=threads)
    batch = on_gpu.model.batch_bytes
    assert busy_gpu.loading_bytes == 3 * on_gpu.loading_bytes
    assert busy_gpu.device_bytes - on_gpu.device_bytes == 2 * batch
    on_cpu, busy_cpu = estimate(device="cpu"), estimate(device="cpu", num_workers=threads)
    assert busy_cpu.loading_bytes == 2 * batch
    assert busy_cpu.host_bytes - on_cpu.host_bytes >= 2 * batch


@pytest.mark.parametrize("every", [50, 10])
def test_checkpoint_takes_no_memory_beside_what_it_holds(every):
    wide = LLAMA | {"hidden_dim": 512, "cell_set_len": 1}
    told = estimate(plan(wide, val_freq=50, save_every=every), device="cpu")
    assert told.host_bytes - PROCESS_BYTES - told.loading_bytes - 1_000 * CELL_BYTES == (
        told.model.total
    )
    # On a GPU, a checkpoint to go on from is read on the host.
    on_gpu = estimate(plan(wide))
    held = on_gpu.host_bytes - PROCESS_BYTES - on_gpu.loading_bytes - 1_000 * CELL_BYTES
    assert held == on_gpu.model.checkpoint_bytes


TRAIN = """
import json, sys
from pathlib import Path
from tests.training.test_estimates import resident, trained
from workflow_scripts.cells.store import CellStore
store = CellStore.open(Path(sys.argv[1]))
before = resident("VmRSS")
trained(store, Path(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4]))
print(json.dumps({"growth": resident("VmHWM") - before, "peak": resident("VmHWM")}))
"""
LARGER = LLAMA | {"cell_set_len": 64, "hidden_dim": 256, "n_encoder_layers": 4}
"""A model whose step takes half a gigabyte with 24 sets of 6,000 genes."""
WIDE = LLAMA | {"cell_set_len": 4, "hidden_dim": 1024, "n_encoder_layers": 4, "n_decoder_layers": 4}
"""A model whose weights, gradients and moments take half a gigabyte."""


def resident(name: str) -> int:
    """Return a memory figure of this process, as Linux keeps it, in bytes."""
    lines = STATUS.read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024


def trained(store: CellStore, folder: Path, kwargs: dict[str, Any], sets: int) -> None:
    """Train a model for some steps, with a validation and a checkpoint at the end."""
    names = sorted(map(str, store.cells["perturbation"].cat.categories))
    table = store.cells[["dataset", "file", "context", "perturbation"]].drop_duplicates()
    roles = {"control": "control", "A": "val"}
    splits = table.assign(split=[roles.get(str(name), "train") for name in table["perturbation"]])
    features = Features(tuple(names), np.eye(len(names), FEATURES, dtype=np.float32))
    machine = Machine("cpu", 0, pin_memory=False, gpu_cells=None, keep_checkpoints=1)
    asked = plan(kwargs, sets=sets, max_steps=3, val_freq=3, save_every=3)
    trainer.train(asked, store, splits, features, folder, machine, {})


@pytest.mark.long
@pytest.mark.skipif(not STATUS.is_file(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    ("kwargs", "sets", "most"),
    # A checkpoint of the wide one that were composed in memory would take two thirds of it more.
    [(LARGER, 24, 2.0), (WIDE, 2, 1.4)],
    ids=["cells decide", "weights decide"],
)
def test_training_takes_the_memory_it_was_said_to(tmp_path, kwargs, sets, most):
    genes = [f"g{number}" for number in range(6000)]
    store = pack(tmp_path / "store", write_screen(tmp_path / "s.h5ad", genes=genes))
    command = [sys.executable, "-c", TRAIN, str(store.path), str(tmp_path)]
    command += [json.dumps(kwargs), str(sets)]
    # Otherwise glibc keeps the gaps between blocks for itself, which no estimate can know.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    real = json.loads(done.stdout.splitlines()[-1])
    size = sizes(n_cells=store.n_cells, n_genes=6000)
    told = estimate_run(plan(kwargs, sets=sets), size, device="cpu", num_workers=0)
    assert told.model.total / 2 < real["growth"] < told.model.total * most
    assert told.host_bytes / 1.5 < real["peak"] < told.host_bytes * 1.5
