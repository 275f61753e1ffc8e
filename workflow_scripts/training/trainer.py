"""Train a model, from the last checkpoint there is to the last step."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning
import pandas as pd
import torch
from lightning.pytorch.loggers import Logger

from workflow_scripts.cells.groups import Group, describe_small_groups, make_groups
from workflow_scripts.cells.leakage import leaks
from workflow_scripts.cells.sampling import SetRows, SetSampler, fixed_sets
from workflow_scripts.cells.store import CellStore
from workflow_scripts.features.validation import Features
from workflow_scripts.models import ModelDescription
from workflow_scripts.models.from_config import set_loss
from workflow_scripts.settings.errors import DataError
from workflow_scripts.settings.findings import render
from workflow_scripts.training.batches import AHEAD, BatchMaker, Feeder
from workflow_scripts.training.callbacks import StepKeeper
from workflow_scripts.training.checkpoints import best_step_of, latest_usable
from workflow_scripts.training.interruptions import Interruptions
from workflow_scripts.training.metrics_file import LOG, logged_steps, validations
from workflow_scripts.training.module import TrainingModule
from workflow_scripts.training.plan import TrainingPlan
from workflow_scripts.training.readers import CellReader, DeviceReader, HostReader
from workflow_scripts.training.residency import Residency
from workflow_scripts.training.starting_model import build_model, planned_settings, start_from


@dataclass(frozen=True)
class Machine:
    """How the training is carried out: nothing here changes its result.

    Attributes
    ----------
    device
        ``cuda`` or ``auto``: the GPU, if there is one; ``cpu``: never.
    devices, strategy
        Lightning's.
    num_workers
        Threads that read cells while a step runs; 0: each step waits for its own.
    pin_memory
        Copy cells to the GPU through pinned memory.
    gpu_cells
        Most bytes of the GPU's memory that packed cells may take; None: what training leaves free.
    keep_checkpoints
        Step checkpoints that stay.
    logger
        Where metrics go beside the CSV.
    """

    device: str
    devices: int | str
    strategy: str
    num_workers: int
    pin_memory: bool
    gpu_cells: float | None
    keep_checkpoints: int
    logger: Logger | None = None


def train(
    plan: TrainingPlan,
    store: CellStore,
    splits: pd.DataFrame,
    features: Features,
    folder: Path,
    machine: Machine,
    provenance: Mapping[str, Any],
) -> int:
    """Train to ``plan.max_steps`` and leave its checkpoints and ``training.csv`` in ``folder``.

    Returns
    -------
    The last step: ``plan.max_steps``, or an earlier one that ``plan.patience`` ended.

    Raises
    ------
    DataError
        Where there is nothing to train on or to validate with, the loss isn't finite, no memory or
        no disk is left.
    StoppedError
        Where a signal asked for it.
    """
    groups, validation = training_groups(plan, store, splits)
    for line in describe_small_groups([*groups, *validation], plan.set_size):
        print(f"note: {line}", flush=True)
    sampler = SetSampler(
        groups,
        set_size=plan.set_size,
        sets_per_step=plan.sets_per_step,
        seed=plan.seed,
        map_controls=plan.map_controls,
        weighting=plan.weighting,
    )
    until = plan.last_step(validations(folder / LOG))
    found = latest_usable(folder, until, logged_steps(folder / LOG), provenance)
    start = 0 if found is None else found[0]
    module = _module(
        plan, store, features, provenance, lambda step: _set_names(groups, sampler.step(step))
    )
    interruptions = Interruptions()
    device = _device(machine)
    reader = _reader(store, machine, device)
    callbacks: list[lightning.Callback] = [interruptions]
    if isinstance(reader, DeviceReader):
        callbacks.append(Residency(reader, start, machine.gpu_cells))
    print(
        f"{sum(p.numel() for p in module.parameters()):,} parameters; {len(groups)} groups, "
        f"{sampler.sets_per_epoch} sets an epoch; from step {start} to {plan.max_steps}",
        flush=True,
    )
    fixed = fixed_sets(
        validation,
        set_size=plan.set_size,
        seed=plan.seed,
        limit=plan.validation_sets,
        fraction=plan.validation_fraction,
    )
    ahead = min(machine.num_workers, AHEAD)
    room = plan.sets_per_step * plan.set_size
    feeder = Feeder(
        sampler.step,
        range(start, plan.max_steps),
        BatchMaker(reader, groups, features),
        most_cells=room,
        ahead=ahead,
    )
    keeper = StepKeeper(
        folder,
        plan,
        interruptions,
        feeder,
        start=start,
        keep=machine.keep_checkpoints,
        sets_per_epoch=sampler.sets_per_epoch,
    )
    validation_feeder = Feeder(
        lambda at: fixed.take(slice(at * plan.sets_per_step, (at + 1) * plan.sets_per_step)),
        range(-(-len(fixed.groups) // plan.sets_per_step)),
        BatchMaker(reader, validation, features),
        most_cells=room,
        ahead=ahead,
    )
    if found is not None and start == until:
        keeper.close()
        _check_best(best_step_of(found[1]))
        return start
    try:
        _trainer(plan, machine, device, [*callbacks, keeper]).fit(
            module,
            feeder,
            validation_feeder,
            ckpt_path=None if found is None else str(found[1]),
            weights_only=True,
        )
    except torch.OutOfMemoryError as error:
        raise DataError(
            f"no GPU memory is left for a step ({error}); lower training.batch_size or "
            "model.kwargs.cell_set_len, set engine.gpu_cells=0, or free the GPU of other work"
        ) from error
    _check_best(keeper.best_step)
    return keeper.step


def _check_best(best_step: int) -> None:
    if not best_step:
        raise DataError(
            "no validation gave a finite loss, so there is no best state; see training.csv, and "
            "lower training.lr or check the values"
        )


def training_groups(
    plan: TrainingPlan, store: CellStore, splits: pd.DataFrame
) -> tuple[list[Group], list[Group]]:
    """Return the groups that train and those that validate.

    Raises
    ------
    DataError
        Where one of them is empty, and where a held-out cell is among those that train under
        another name: packing has compared all cells, preflight only those that it looked at.
    """
    if found := leaks(splits, store.twins()):
        raise DataError(render(found))
    groups = make_groups(
        store.cells,
        splits,
        "train",
        by_batch=plan.by_batch,
        controls=plan.yield_controls,
        most_cells=plan.most_cells,
    )
    validation = make_groups(store.cells, splits, "val", by_batch=plan.by_batch, controls=False)
    if not any(not group.is_control for group in groups) or not validation:
        raise DataError(
            "the training or the validation split holds no perturbed cell; "
            "see splits_audit.json of the run"
        )
    return groups, validation


def _set_names(groups: Sequence[Group], sets: SetRows) -> list[str]:
    return [f"{groups[at].context}/{groups[at].perturbation}" for at in sets.groups]


def _module(
    plan: TrainingPlan,
    store: CellStore,
    features: Features,
    provenance: Mapping[str, Any],
    names_of: Callable[[int], Sequence[str]],
) -> TrainingModule:
    batches = [str(name) for name in store.cells["batch"].cat.categories]
    settings = planned_settings(
        plan,
        n_genes=store.n_genes,
        feature_dim=features.matrix.shape[1],
        n_batches=len(batches),
    )
    torch.manual_seed(plan.seed)
    description: dict[str, Any] = {
        "settings": settings.to_dict(),
        "gene_names": [str(gene) for gene in store.genes],
        "perturbations": list(features.names),
        "contexts": [str(name) for name in store.cells["context"].cat.categories],
        "batches": batches,
        "provenance": json.loads(json.dumps(provenance)),
    }
    model = build_model(settings, plan)
    if path := plan.model_kwargs.get("init_from"):
        known = ModelDescription(
            tuple(description["gene_names"]), tuple(features.names), batches=tuple(batches)
        )
        description["provenance"]["start"] = start_from(Path(path), model, known, features)
    return TrainingModule(model, set_loss(plan.model_kwargs), plan, description, names_of)


def _device(machine: Machine) -> torch.device:
    gpu = machine.device != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if gpu else "cpu")


def _reader(store: CellStore, machine: Machine, device: torch.device) -> CellReader:
    if device.type == "cuda":
        return DeviceReader(store, device, machine.num_workers, pinned=machine.pin_memory)
    return HostReader(store, min(machine.num_workers, torch.get_num_threads()))


def _trainer(
    plan: TrainingPlan, machine: Machine, device: torch.device, callbacks: list[lightning.Callback]
) -> lightning.Trainer:
    gpu = device.type == "cuda"
    bf16 = gpu and torch.cuda.is_bf16_supported()
    automatic: Literal["bf16-mixed", "32-true"] = "bf16-mixed" if bf16 else "32-true"
    precision = automatic if plan.precision == "auto" else plan.precision
    threads = torch.get_num_threads()
    why = "no GPU here" if machine.device != "cpu" else "as model.device says"
    where = torch.cuda.get_device_name() if gpu else f"the CPU, {why} ({threads} threads)"
    print(f"training on {where}, {precision}", flush=True)
    # Lightning's banners are for another use than this.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    return lightning.Trainer(
        accelerator="gpu" if gpu else "cpu",
        devices=machine.devices,
        strategy=machine.strategy,
        precision=precision,
        max_steps=plan.max_steps,
        max_epochs=-1,
        val_check_interval=plan.val_freq,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        logger=machine.logger or False,
        log_every_n_steps=1,  # nothing is logged through it; a larger one warns of short runs
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
