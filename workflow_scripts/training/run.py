"""Train as a run's settings say, with what this machine has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from workflow_scripts.cache.identity import IdentityFolder
from workflow_scripts.cache.writing import link
from workflow_scripts.cells.gene_choice import ChosenGenes
from workflow_scripts.cells.store import CellStore
from workflow_scripts.features.vectors import load_features
from workflow_scripts.settings.slices import Slice
from workflow_scripts.training.checkpoints import best_name, best_step_of, step_name
from workflow_scripts.training.files import TrainingFiles
from workflow_scripts.training.machine import Machine
from workflow_scripts.training.plan import TrainingPlan
from workflow_scripts.training.processes import Processes, free_cores
from workflow_scripts.training.starts import STARTS, read_starts
from workflow_scripts.training.trainer import train
from workflow_scripts.training.wandb_log import wandb_logger


def train_run(
    settings: Slice,
    files: TrainingFiles,
    work: IdentityFolder,
    processes: Processes,
    *,
    since: tuple[float, float],
    shown: Mapping[str, Any],
) -> int:
    """Train in a folder that may hold an earlier start's work, and return the last step.

    Parameters
    ----------
    settings, files, work
        What train is given.
    processes
        Which of several processes this is.
    since
        The moment that `free_cores` looks back to.
    shown
        The frozen config, nested, for wandb.
    """
    logger = wandb_logger(settings, shown, work.path) if processes.rank == 0 else None
    machine = Machine.from_slice(settings, processes, logger)
    threads = most = processes.threads(files.threads or torch.get_num_threads(), os.environ)
    why = "as this training began"
    if begun := read_starts(work.path / STARTS):
        # Sums differ in their last bits with the number of threads.
        threads = begun[0].get("threads", most)
    elif processes.ranks == 1 < most and machine.where.type == "cpu":
        threads, why = min(free_cores(since), most), "as many as other work leaves free"
    if threads != most:
        machine.say(f"CPU threads: {threads} of {most}, {why}")
    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # Lightning would choose for several processes
    store = CellStore.open(files.cells)
    return train(
        TrainingPlan.from_slice(settings),
        store if files.genes is None else store.select(ChosenGenes.read(files.genes).names),
        pd.read_parquet(files.splits),
        load_features(files.features),
        work.path,
        machine,
        {"identity": work.identity, **work.inputs},
    )


def link_states(folder: Path, last: int, final: Path, best: Path) -> None:
    """Link the checkpoint of the last step, and the best one that it tells of."""
    link(folder / step_name(last), final)
    link(folder / best_name(best_step_of(final)), best)
