"""What a run will need, known before it starts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from workflow_scripts.training.plan import TrainingPlan
from workflow_scripts.training.step_memory import (
    Arithmetic,
    Device,
    ModelMemory,
    model_memory,
    settled_precision,
)

Holds = Literal["counts", "log1p"]

CELL_ROW_BYTES = 20
"""A cell's row in cells.parquet: 14 to 22 bytes, measured on 800 to 200,000 packed cells."""

TABLE_BYTES = 8_000
"""What both Parquet tables take beside their rows: 7,700 bytes for 48 packed cells."""

GENE_ROW_BYTES = 10
"""A gene's row in genes.parquet: its symbol or Ensembl number, compressed."""

PROCESS_BYTES = 730_000_000
"""Resident memory of a training of a tiny model on the CPU, measured (720 to 737 MB)."""

WORKER_BYTES = 50_000_000
"""What a reading process has for itself beside its batches, measured (46 MB)."""

CELL_BYTES = 105
"""A cell in the trainer: table, groups and two epochs' order, measured on 200,000 cells."""

CELL_BYTES_GROUPING = 530
"""The same at the moment the groups are made, before the first step."""

READY_BATCHES = 2
"""Batches each reading process has ready: ``prefetch_factor`` of torch's DataLoader."""

CUDA_CONTEXT_BYTES = 300_000_000
"""What a process takes of a GPU before its first tensor, CUDA 11.7 and later
(github.com/pytorch/pytorch/issues/107667)."""


@dataclass(frozen=True)
class DataSizes:
    """How large the data of a run are.

    Attributes
    ----------
    n_cells, n_values, n_genes
        Cells of all datasets, their stored (non-zero) values, and genes.
    feature_dim
        Width of the perturbations' features.
    n_batches
        Technical batches.
    holds
        What the cells' values are.
    sets_per_epoch
        Training sets that visit every training cell once.

    Raises
    ------
    ValueError
        Where there is no training set.
    """

    n_cells: int
    n_values: int
    n_genes: int
    feature_dim: int
    n_batches: int
    holds: Holds
    sets_per_epoch: int

    def __post_init__(self) -> None:
        if self.sets_per_epoch < 1:
            raise ValueError(f"sets_per_epoch is {self.sets_per_epoch}, must be at least 1")


@dataclass(frozen=True)
class RunEstimate:
    """What a run will need.

    Attributes
    ----------
    steps, epochs, steps_per_epoch
        Steps to train, and how often they visit every training cell.
    sets_per_step, cells_per_step
        Cell sets a step, and the cells they predict (as many controls are read for them).
    precision
        The arithmetic of the steps.
    packed_bytes
        Size of the packed cells on disk.
    host_bytes
        Resident memory of the training, all its processes together, at its largest: the process
        itself, the table of cells, the batches that are ready (`loading_bytes`), and on the CPU the
        largest moment of a step, or a checkpoint being written (Lightning composes it in memory)
        where that is more. Packed cells are mapped, not held: the system gives their pages away
        when memory is short. Gaps that the C library's allocator leaves come on top: up to 30 % of
        a step's memory in the trainings measured, most where its tensors are below 32 MB.
    loading_bytes
        Of it: batches that wait to be used, and the processes that read them. Whatever the pace of
        the steps, every batch that may wait does so while the trainer validates.
    device_bytes
        Memory of the GPU: the largest moment of a step and CUDA's context. None on the CPU.
    model
        What the model takes, part by part.
    """

    steps: int
    epochs: float
    steps_per_epoch: float
    sets_per_step: int
    cells_per_step: int
    precision: Arithmetic
    packed_bytes: int
    host_bytes: int
    loading_bytes: int
    device_bytes: int | None
    model: ModelMemory

    def to_dict(self) -> dict[str, Any]:
        """Return the estimate as JSON types."""
        return asdict(self)


def packed_bytes(n_cells: int, n_values: int, n_genes: int, holds: Holds) -> int:
    """Return the size of a packed store (`cells.store`): its arrays, and an estimate of its tables.

    Parameters
    ----------
    n_cells, n_values, n_genes
        Cells, stored (non-zero) values of all cells together, genes.
    holds
        What the values are. A count is taken for one below 65,536; a larger one anywhere doubles
        the bytes of all.
    """
    value_bytes = 2 if holds == "counts" else 4  # uint16 or float32
    value_bytes += 2 if n_genes <= 65_536 else 4  # and its column: uint16 or int32
    tables = TABLE_BYTES + n_cells * CELL_ROW_BYTES + n_genes * GENE_ROW_BYTES
    return (n_cells + 1) * 8 + n_values * value_bytes + tables


def estimate_run(
    plan: TrainingPlan, sizes: DataSizes, *, device: Device, num_workers: int
) -> RunEstimate:
    """Work out what a run needs (a second or less: the model is built without its weights).

    Parameters
    ----------
    plan
        What to train.
    sizes
        How large its data are.
    device
        Where it will train.
    num_workers
        Processes that read batches; 0: the trainer reads them itself.

    Raises
    ------
    ConfigError
        Where ``model.kwargs`` describe no model.
    """
    precision = settled_precision(plan, device)
    model = model_memory(
        plan,
        n_genes=sizes.n_genes,
        feature_dim=sizes.feature_dim,
        n_batches=sizes.n_batches,
        precision=precision,
        device=device,
    )
    # Lightning holds the next batch. The step's own is the model's on the CPU; a GPU has a copy.
    ready = min(num_workers * READY_BATCHES, plan.max_steps)
    waiting = ready + (1 if device == "cpu" else 2)
    loading = waiting * model.batch_bytes + num_workers * WORKER_BYTES
    training = model.checkpoint_bytes
    if device == "cpu":
        # What is composed stands beside weights and moments. A validation frees the gradients.
        validated = plan.save_every % plan.val_freq == 0 and plan.max_steps % plan.val_freq == 0
        beside = model.checkpoint_bytes if validated else model.parameter_bytes
        training = max(training + beside + model.batch_bytes, model.total)
    while_training = sizes.n_cells * CELL_BYTES + loading + training
    return RunEstimate(
        steps=plan.max_steps,
        epochs=plan.max_steps * plan.sets_per_step / sizes.sets_per_epoch,
        steps_per_epoch=sizes.sets_per_epoch / plan.sets_per_step,
        sets_per_step=plan.sets_per_step,
        cells_per_step=plan.sets_per_step * plan.set_size,
        precision=precision,
        packed_bytes=packed_bytes(sizes.n_cells, sizes.n_values, sizes.n_genes, sizes.holds),
        host_bytes=PROCESS_BYTES + max(sizes.n_cells * CELL_BYTES_GROUPING, while_training),
        loading_bytes=loading,
        device_bytes=None if device == "cpu" else model.total + CUDA_CONTEXT_BYTES,
        model=model,
    )
