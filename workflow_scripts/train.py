r"""Train the model of a run to its last step, from wherever an earlier start left off.

Example:

    python -m workflow_scripts.train --settings results/demo/stages/train.json \
        --config results/demo/config.yaml --cells cache/cells/…/manifest.json \
        --splits results/demo/splits.parquet --features results/demo/features.safetensors \
        --out-dir results/demo/checkpoints --metrics results/demo/training.csv \
        --starts results/demo/starts.json
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from workflow_scripts.cache.digests import file_digest
from workflow_scripts.cache.identity import IdentityFolder
from workflow_scripts.cells.gene_choice import ChosenGenes
from workflow_scripts.cells.manifest import Manifest
from workflow_scripts.command import command_parser, run_command
from workflow_scripts.errors import StoppedError
from workflow_scripts.gpu_slots import own_gpus
from workflow_scripts.settings.choices import INIT_FROM
from workflow_scripts.settings.slices import Slice, read_settings, shown_config
from workflow_scripts.settings.stages import identity_of
from workflow_scripts.stage import model_digest
from workflow_scripts.training.large_pages import use_large_pages
from workflow_scripts.training.processes import Processes, free_cores, idle_seconds
from workflow_scripts.training.starts import STARTS, keep_starts, read_starts


def main(arguments: Sequence[str]) -> None:
    """Train, or link what was trained before; leave final, best and the log where asked."""
    parser = command_parser("python -m workflow_scripts.train", __doc__)
    parser.add_argument("--settings", type=Path, required=True, help="stage file of train")
    parser.add_argument("--config", type=Path, required=True, help="frozen config (YAML)")
    parser.add_argument(
        "--cells", type=Path, required=True, help="manifest of the packed cells (JSON)"
    )
    parser.add_argument("--splits", type=Path, required=True, help="split of each group (Parquet)")
    parser.add_argument(
        "--genes", type=Path, nargs="?", help="genes that were chosen (JSON); all if not given"
    )
    parser.add_argument(
        "--features", type=Path, required=True, help="vectors of the perturbations (safetensors)"
    )
    parser.add_argument(
        "--out-dir", type=Path, required=True, help="folder of checkpoints, to write"
    )
    parser.add_argument(
        "--work-dir", type=Path, help="folder of finished work; that of checkpoints if not given"
    )
    # Not --log: torchrun reads that as one of its own.
    parser.add_argument(
        "--metrics", type=Path, required=True, help="losses by step, to write (CSV)"
    )
    parser.add_argument(
        "--starts", type=Path, required=True, help="starts of the training, to write (JSON)"
    )
    parser.add_argument("--threads", type=int, help="most CPU threads; all there are if not given")
    given = parser.parse_args(arguments)

    settings = read_settings(given.settings, given.config)
    cells = Manifest.read(given.cells)
    inputs = {
        "cells": cells.digest,
        "splits": file_digest(given.splits),
        "features": file_digest(given.features),
    }
    genes = None if given.genes is None else ChosenGenes.read(given.genes)
    if genes is not None:
        inputs["genes"] = genes.digest
    initial = settings.section("model.kwargs").get("init_from")
    if initial is not None:
        inputs["init_from"] = model_digest(initial, INIT_FROM)
    # Its content counts, not where it lies.
    values = {path: value for path, value in settings.identity.items() if path != INIT_FROM}
    identity = identity_of("train", values, inputs)
    max_steps = settings["training.max_steps"]
    patience = settings["engine.early_stopping"]
    until = f"-{max_steps}" if patience is None else f"-{max_steps}-{patience}"
    work = IdentityFolder(given.work_dir or given.out_dir, identity, until)
    provenance = {"identity": identity, **inputs}
    processes = Processes.of(settings["training.devices"], settings["engine.nodes"], os.environ)
    if processes.rank:
        # The first process holds the lock, keeps the files, and says what goes wrong.
        if not work.has_finished():
            with suppress(StoppedError):
                _train(given, settings, genes, work, provenance, processes)
        return
    work.note_current("train")
    with work.lock():
        if work.has_finished():
            print(f"trained before, to step {max_steps}: {work.path}")
        else:
            with own_gpus(processes.on_node, settings["model.device"]):
                last = _train(given, settings, genes, work, provenance, processes)
            keep_starts(work.path / STARTS)
            work.finish([*_checkpoints(work.path, last), "training.csv", STARTS])
        named = {name.partition("=")[0]: name for name in work.finished_files()}
        work.publish(
            {
                named["step"]: given.out_dir / "final.ckpt",
                named["best-step"]: given.out_dir / "best.ckpt",
                "training.csv": given.metrics,
                STARTS: given.starts,
            }
        )


def _train(
    given: argparse.Namespace,
    settings: Slice,
    genes: ChosenGenes | None,
    work: IdentityFolder,
    provenance: Mapping[str, str],
    processes: Processes,
) -> int:
    """Train, and return the last step, whose checkpoint the first process alone writes."""
    use_large_pages()
    if settings["engine.deterministic"]:
        # Has to be there before the first product on a GPU.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    since = time.monotonic(), idle_seconds()
    # Only now: a run that is already trained returns without these seconds.
    import pandas as pd
    import torch

    from workflow_scripts.cells.store import CellStore
    from workflow_scripts.features.vectors import load_features
    from workflow_scripts.training.machine import Machine
    from workflow_scripts.training.plan import TrainingPlan
    from workflow_scripts.training.trainer import train
    from workflow_scripts.training.wandb_log import wandb_logger

    budget, first = settings["engine.gpu_cells"], processes.rank == 0
    machine = Machine(
        settings["model.device"],
        settings["data.kwargs.num_workers"],
        settings["data.kwargs.pin_memory"],
        None if budget is None else budget * 1e9,
        settings["engine.keep_checkpoints"],
        settings["training.strategy"],
        settings["engine.batch"],
        settings["engine.compile"],
        settings["engine.deterministic"],
        processes,
        wandb_logger(settings, shown_config(given.config), work.path) if first else None,
    )
    most = processes.threads(given.threads or torch.get_num_threads(), os.environ)
    threads, why = most, ""
    if begun := read_starts(work.path / STARTS):
        # Sums differ in their last bits with the number of threads.
        threads, why = begun[0].get("threads", most), "as this training began"
    elif processes.ranks == 1 < most and machine.where.type == "cpu":
        threads, why = min(free_cores(since), most), "as many as other work leaves free"
    if threads != most:
        machine.say(f"CPU threads: {threads} of {most}, {why}")
    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # Lightning would choose for several processes
    plan = TrainingPlan.from_slice(settings)
    store = CellStore.open(given.cells)
    return train(
        plan,
        store if genes is None else store.select(genes.names),
        pd.read_parquet(given.splits),
        load_features(given.features),
        work.path,
        machine,
        provenance,
    )


def _checkpoints(folder: Path, last: int) -> tuple[str, str]:
    """Return the names of the checkpoint of the last step, and of the best one that it tells."""
    from workflow_scripts.training.checkpoints import best_name, best_step_of, step_name

    final = step_name(last)
    return final, best_name(best_step_of(folder / final))


if __name__ == "__main__":
    run_command(main)
