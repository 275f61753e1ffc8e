"""What a run will need, known before it starts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from workflow_scripts.training.batches import AHEAD
from workflow_scripts.training.plan import TrainingPlan
from workflow_scripts.training.readers import BYTES_TO_SPREAD, ROWS_AT_ONCE
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

CELL_BYTES = 120
"""A cell in the trainer: table, groups and the order of epochs, measured on a million cells."""

CUDA_CONTEXT_BYTES = 300_000_000
"""What a process takes of a GPU before its first tensor, CUDA 11.7 and later
(github.com/pytorch/pytorch/issues/107667)."""


@dataclass(frozen=True)
class DataSizes:
    """How large the data of a run are.

    Attributes
    ----------
    n_cells, n_values, n_genes
        Cells of all datasets, their stored (non-zero) values, and genes, all of which are packed.
    n_read
        Genes that are read.
    feature_dim
        Width of the perturbations' features.
    n_batches
        Technical batches.
    holds
        What the cells' values are.
    sets_per_epoch
        Training sets that visit every training cell once.
    embedding_dim
        Width of the embedding that the model reads; None where it reads expression.

    Raises
    ------
    ValueError
        Where there is no training set.
    """

    n_cells: int
    n_values: int
    n_genes: int
    n_read: int
    feature_dim: int
    n_batches: int
    holds: Holds
    sets_per_epoch: int
    embedding_dim: int | None = None

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
    sets_at_once
        Sets of a step that go through the model of a device at once.
    precision
        The arithmetic of the steps.
    packed_bytes
        Size of the packed cells on disk.
    host_bytes
        Resident memory of the training at its largest, of all its processes: each one itself, the
        table of cells, the batches that are ready (`loading_bytes`), and on the CPU the largest
        moment of a step, a validation with batches of its own, or a checkpoint being written
        (Lightning composes it in memory), whichever is most. Packed cells are mapped, not held: the
        system gives their pages away when memory is short. Gaps that the C library's allocator
        leaves come on top: up to 30 % of a step's memory in the trainings measured, most where its
        tensors are below 32 MB.
    loading_bytes
        Of it: batches that are read ahead; with a GPU, what is stored of them on its way there.
    device_bytes
        Memory of the GPU: the largest moment of a step, the batches that are read ahead and CUDA's
        context, without packed cells, which move there only where room is left. None on the CPU.
    model
        What the model takes, part by part.
    """

    steps: int
    epochs: float
    steps_per_epoch: float
    sets_per_step: int
    cells_per_step: int
    sets_at_once: int
    precision: Arithmetic
    packed_bytes: int
    host_bytes: int
    loading_bytes: int
    device_bytes: int | None
    model: ModelMemory

    def to_dict(self) -> dict[str, Any]:
        """Return the estimate as JSON types."""
        return asdict(self)


def packed_bytes(
    n_cells: int, n_values: int, n_genes: int, holds: Holds, embedding_dim: int | None = None
) -> int:
    """Return the size of a packed store (`cells.store`): its arrays, and an estimate of its tables.

    Parameters
    ----------
    n_cells, n_values, n_genes
        Cells, stored (non-zero) values of all cells together, genes.
    holds
        What the values are. A count is taken for one below 65,536; a larger one anywhere doubles
        the bytes of all.
    embedding_dim
        Width of the embedding that is packed beside them; None for none.
    """
    tables = TABLE_BYTES + n_cells * CELL_ROW_BYTES + n_genes * GENE_ROW_BYTES
    a_cell = 8 + 4 * (embedding_dim or 0)
    return n_cells * a_cell + n_values * _stored_bytes(n_genes, holds) + tables


def _stored_bytes(n_genes: int, holds: Holds) -> int:
    value = 2 if holds == "counts" else 4  # uint16 or float32
    return value + (2 if n_genes <= 65_536 else 4)  # and its column: uint16 or int32


def estimate_run(
    plan: TrainingPlan,
    sizes: DataSizes,
    *,
    device: Device,
    num_workers: int,
    devices: int = 1,
    nodes: int = 1,
    sets_at_once: int | None = None,
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
        Threads that read ahead; 0: nothing is.
    devices
        Devices that share a step, on all machines.
    nodes
        Machines; the memory of a host is that of one of them.
    sets_at_once
        Sets that go through the model of a device at once; None: all of its part of a step.

    Raises
    ------
    ConfigError
        Where ``model.kwargs`` describe no model.
    """
    on_node = devices // nodes
    precision = settled_precision(plan, device)
    at_once = replace(plan, sets_per_step=sets_at_once or max(plan.sets_per_step // devices, 1))
    model = model_memory(
        at_once,
        n_genes=sizes.n_read,
        feature_dim=sizes.feature_dim,
        n_batches=sizes.n_batches,
        precision=precision,
        device=device,
        embedding_dim=sizes.embedding_dim,
    )
    ahead, own = min(num_workers, AHEAD), model.batch_bytes
    value_bytes = _stored_bytes(sizes.n_genes, sizes.holds)
    a_cell = sizes.n_values / sizes.n_cells
    step_cells = at_once.sets_per_step * plan.set_size
    embedded = 2 * step_cells * (sizes.embedding_dim or 0) * 4
    # Beside an embedding only the cells to predict are read as expression, not their controls.
    cells_at_once = 2 * step_cells if sizes.embedding_dim is None else step_cells
    loading = (ahead + 1) * (round(cells_at_once * a_cell * value_bytes) + embedded)
    device_bytes = model.total + ahead * own + CUDA_CONTEXT_BYTES
    device_bytes += round(min(ROWS_AT_ONCE, cells_at_once) * a_cell * BYTES_TO_SPREAD)
    # On a GPU, a training that goes on reads its checkpoint here first.
    training = model.checkpoint_bytes
    if device == "cpu":
        loading = ahead * own
        # Checkpoints go to the disk from where weights and moments lie; nothing is composed.
        validating = training + own + (ahead + 1) * own
        training = max(validating, model.total)
    return RunEstimate(
        steps=plan.max_steps,
        epochs=plan.max_steps * plan.sets_per_step / sizes.sets_per_epoch,
        steps_per_epoch=sizes.sets_per_epoch / plan.sets_per_step,
        sets_per_step=plan.sets_per_step,
        cells_per_step=plan.sets_per_step * plan.set_size,
        sets_at_once=at_once.sets_per_step,
        precision=precision,
        packed_bytes=packed_bytes(
            *(sizes.n_cells, sizes.n_values, sizes.n_genes, sizes.holds, sizes.embedding_dim)
        ),
        host_bytes=on_node * (PROCESS_BYTES + sizes.n_cells * CELL_BYTES + loading + training),
        loading_bytes=on_node * loading,
        device_bytes=None if device == "cpu" else device_bytes,
        model=model,
    )
