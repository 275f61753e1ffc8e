"""How a training is carried out, which changes nothing of what it learns."""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import dataclass, replace
from typing import Any, Literal

import lightning
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.loggers import Logger

from workflow_scripts.cells.store import CellStore
from workflow_scripts.errors import DataError
from workflow_scripts.features.vectors import Features
from workflow_scripts.settings.slices import Slice
from workflow_scripts.training.compiling import ObjectiveOf, objective_for
from workflow_scripts.training.estimates import DataSizes
from workflow_scripts.training.fit import machine_limits, most_sets_at_once
from workflow_scripts.training.plan import TrainingPlan
from workflow_scripts.training.processes import ALONE, Processes, Share, started_by
from workflow_scripts.training.readers import CellReader, DeviceReader, HostReader
from workflow_scripts.training.step_memory import model_memory, products_in, settled_precision
from workflow_scripts.training.utilization import matmul_rate


@dataclass(frozen=True)
class Machine:
    """Where and how a training is carried out.

    Results are equal to rounding whatever stands here, and bit by bit where devices, threads and
    passes are the same.

    Attributes
    ----------
    device
        ``cuda`` or ``auto``: the GPU, if there is one; ``cpu``: never.
    num_workers
        Threads that read cells while a step runs; 0: each step waits for its own.
    pin_memory
        Copy cells to the GPU through pinned memory.
    gpu_cells
        Most bytes of the GPU's memory that packed cells may take; None: what training leaves free.
    keep_checkpoints
        Step checkpoints that stay.
    strategy
        How processes share the work, in Lightning's words.
    batch
        Sets that go through the model at once; ``auto``: as many as fit; None: all of a step.
    compile
        Whether steps are compiled; ``auto``: on a GPU.
    deterministic
        On a GPU, only algorithms that give the same bits each time.
    processes
        Which of several processes this is.
    logger
        Where metrics go beside the CSV.
    """

    device: str
    num_workers: int
    pin_memory: bool
    gpu_cells: float | None
    keep_checkpoints: int
    strategy: str = "auto"
    batch: int | Literal["auto"] | None = None
    compile: bool | Literal["auto"] = False
    deterministic: bool = False
    processes: Processes = ALONE
    logger: Logger | None = None

    @classmethod
    def from_slice(
        cls, settings: Slice, processes: Processes, logger: Logger | None = None
    ) -> Machine:
        """Read the operational settings of train."""
        budget = settings["engine.gpu_cells"]
        return cls(
            device=settings["model.device"],
            num_workers=settings["data.kwargs.num_workers"],
            pin_memory=settings["data.kwargs.pin_memory"],
            gpu_cells=None if budget is None else budget * 1e9,
            keep_checkpoints=settings["engine.keep_checkpoints"],
            strategy=settings["training.strategy"],
            batch=settings["engine.batch"],
            compile=settings["engine.compile"],
            deterministic=settings["engine.deterministic"],
            processes=processes,
            logger=logger,
        )

    @property
    def where(self) -> torch.device:
        """The device of this process."""
        if self.device != "cpu" and torch.cuda.is_available():
            return torch.device("cuda", self.processes.device)
        return torch.device("cpu")

    @property
    def device_name(self) -> str:
        """What the device of this process is called; of a CPU, with how many threads."""
        if self.where.type == "cuda":
            return torch.cuda.get_device_name(self.where)
        return f"CPU, {self.threads} threads"

    @property
    def threads(self) -> int:
        """CPU threads of this process."""
        return torch.get_num_threads()

    @property
    def cuda_version(self) -> str | None:
        """The version of CUDA that torch was built for; None on a CPU."""
        return torch.version.cuda if self.where.type == "cuda" else None

    def say(self, line: str) -> None:
        """Print a line, in the first of the processes."""
        if self.processes.rank == 0:
            print(line, flush=True)

    def share(
        self, plan: TrainingPlan, store: CellStore, features: Features, *, sets_per_epoch: int
    ) -> Share:
        """Return what this process computes of each step.

        Raises
        ------
        DataError
            Where there are fewer devices than asked for, or they can't share a step's sets.
        """
        ranks = self.processes.ranks
        there = torch.cuda.device_count() if self.where.type == "cuda" else os.cpu_count() or 1
        if self.processes.on_node > there:
            what = "GPUs" if self.where.type == "cuda" else "CPU cores, and no GPU"
            raise DataError(
                f"training.devices is {self.processes.on_node}, and there are {there} {what}, "
                "here; lower it"
            )
        own = max(plan.sets_per_step // ranks, 1)
        if self.batch != "auto":
            return Share(plan.sets_per_step, self.batch or own, self.processes)
        sizes = DataSizes(
            n_cells=store.n_cells,
            n_values=len(store.indices),
            n_genes=store.manifest["n_genes"],
            n_read=store.n_genes,
            feature_dim=features.matrix.shape[1],
            n_batches=len(store.cells["batch"].cat.categories),
            holds=store.manifest["holds"],
            sets_per_epoch=sets_per_epoch,
            embedding_dim=store.embedding_dim,
        )
        at_once = most_sets_at_once(
            plan,
            sizes,
            machine_limits(store.folder),
            device="cuda" if self.where.type == "cuda" else "cpu",
            devices=ranks,
            num_workers=self.num_workers,
        )
        self.say(f"engine.batch: {at_once} of a device's {own} sets a step fit at once")
        return Share(plan.sets_per_step, at_once, self.processes)

    def objective(self) -> ObjectiveOf:
        """Return what computes the losses of a step."""
        return objective_for(self.compile, self.where, self.say)

    def ideal_seconds(
        self, plan: TrainingPlan, share: Share, store: CellStore, features: Features
    ) -> float:
        """Return how long a step's matrix products would take at the rate of a large one, here."""
        device: Literal["cpu", "cuda"] = "cuda" if self.where.type == "cuda" else "cpu"
        precision = settled_precision(plan, device)
        a_pass = model_memory(
            replace(plan, sets_per_step=share.sets_per_pass),
            n_genes=store.n_genes,
            feature_dim=features.matrix.shape[1],
            n_batches=len(store.cells["batch"].cat.categories),
            precision=precision,
            device=device,
            embedding_dim=store.embedding_dim,
        )
        rate = matmul_rate(self.where, products_in(precision))
        return share.passes * a_pass.flops / rate

    def reader(self, store: CellStore) -> CellReader:
        """Return what reads cells to where the model is."""
        if self.where.type == "cuda":
            return DeviceReader(store, self.where, self.num_workers, pinned=self.pin_memory)
        return HostReader(store, min(self.num_workers, self.threads))

    def trainer(
        self, plan: TrainingPlan, share: Share, callbacks: list[lightning.Callback]
    ) -> lightning.Trainer:
        """Return Lightning's trainer: it counts passes, of which a step may have several."""
        gpu, ranks = self.where.type == "cuda", self.processes.ranks
        precision = settled_precision(plan, "cuda" if gpu else "cpu")
        why = "as model.device says" if self.device == "cpu" else "no GPU here"
        where = f"{ranks} x " * (ranks > 1) + (
            torch.cuda.get_device_name() if gpu else f"the CPU, {why} ({self.threads} threads)"
        )
        parts = f", {share.passes} passes of {share.sets_per_pass} sets a step"
        self.say(f"training on {where}, {precision}{parts * (share.passes > 1)}")
        # Nothing here reads what it has not written; to fill it would take the memory's time.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        # Lightning's banners are for another use than this.
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
        # Of Lightning's own use of torch, and of Slurm, which is told to it below.
        for text in (".*LeafSpec", ".*`srun` command is available"):
            warnings.filterwarnings("ignore", message=text)
        return lightning.Trainer(
            accelerator="gpu" if gpu else "cpu",
            devices=self.processes.on_node,
            num_nodes=self.processes.nodes,
            strategy="ddp" if ranks > 1 else self.strategy,
            plugins=self._environment(),
            precision=precision,
            deterministic=self.deterministic or None,
            accumulate_grad_batches=share.passes,
            max_steps=plan.max_steps,
            max_epochs=-1,
            val_check_interval=plan.val_freq * share.passes,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            logger=self.logger or False,
            log_every_n_steps=1,  # nothing is logged through it; a larger one warns of short runs
            callbacks=callbacks,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )

    def _environment(self) -> list[Any]:
        """Say what starts the processes: Lightning would believe in Slurm inside any of its jobs.

        A job that runs out of time is started again by the workflow, not by Lightning.
        """
        starter = started_by(self.processes.ranks, os.environ) if self.processes.ranks > 1 else None
        if starter == "torchrun":
            return [TorchElasticEnvironment()]
        return [SLURMEnvironment(auto_requeue=False) if starter else LightningEnvironment()]
