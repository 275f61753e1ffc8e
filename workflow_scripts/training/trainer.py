"""Train a model, from the last checkpoint there is to the last step."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn

from workflow_scripts.cells.groups import Group, describe_small_groups, make_groups
from workflow_scripts.cells.leakage import leaks
from workflow_scripts.cells.sampling import SetSampler, fixed_sets
from workflow_scripts.cells.store import CellStore
from workflow_scripts.errors import DataError
from workflow_scripts.features.vectors import Features
from workflow_scripts.models import ModelDescription
from workflow_scripts.models.from_config import set_loss
from workflow_scripts.models.objective import objective
from workflow_scripts.settings.findings import render
from workflow_scripts.training.batches import AHEAD, BatchMaker, Feeder
from workflow_scripts.training.callbacks import StepKeeper
from workflow_scripts.training.checkpoint_file import DirectCheckpointIO
from workflow_scripts.training.checkpoints import best_step_of, latest_usable
from workflow_scripts.training.compiling import ObjectiveOf
from workflow_scripts.training.interruptions import Interruptions
from workflow_scripts.training.machine import Machine
from workflow_scripts.training.metrics_file import logged_steps, validations
from workflow_scripts.training.module import TrainingModule
from workflow_scripts.training.plan import TrainingPlan
from workflow_scripts.training.processes import ALONE, Processes
from workflow_scripts.training.readers import DeviceReader
from workflow_scripts.training.residency import Residency
from workflow_scripts.training.starting_model import build_model, planned_settings, start_from
from workflow_scripts.training.starts import STARTS, noted
from workflow_scripts.training.validating import Validation, nothing_to_rank


def train(
    plan: TrainingPlan,
    store: CellStore,
    splits: pd.DataFrame,
    features: Features,
    folder: Path,
    machine: Machine,
    provenance: Mapping[str, Any],
) -> int:
    """Train to ``plan.max_steps``; leave checkpoints, log and list of starts in ``folder``.

    Of several processes each one calls this, and the first one writes.

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
    if small := describe_small_groups([*groups, *validation], plan.set_size):
        machine.say(f"note: {small}")
    sampler = SetSampler(
        groups,
        set_size=plan.set_size,
        seed=plan.seed,
        map_controls=plan.map_controls,
        weighting=plan.weighting,
    )
    until = plan.last_step(validations(folder, plan.select_by))
    logged = min(logged_steps(folder), until)
    found = latest_usable(folder, until, logged, provenance)
    start = 0 if found is None else found[0]
    share = machine.share(plan, store, features, sets_per_epoch=sampler.sets_per_epoch)
    fixed = fixed_sets(
        validation,
        set_size=plan.set_size,
        seed=plan.seed,
        limit=plan.validation_sets,
        fraction=plan.validation_fraction,
    )
    expression = store.embedding_dim is None
    width = store.n_genes if store.embedding_dim is None else store.embedding_dim
    tested = Validation(validation, fixed, list(store.genes) if expression else [], width)
    if plan.select_by != "val_loss" and not tested.can_score:
        raise DataError(nothing_to_rank(plan.select_by))
    interruptions = Interruptions()
    module = _module(
        plan,
        store,
        features,
        provenance,
        lambda numbers: [f"{g.context}/{g.perturbation}" for g in sampler.groups_of(numbers)],
        validation=tested,
        compute=machine.objective(),
        processes=machine.processes,
        is_asked_to_stop=lambda: interruptions.asked is not None,
    )
    reader = machine.reader(store)
    callbacks: list[lightning.Callback] = [interruptions]
    if plan.ema is not None:
        # The device is named: where Lightning makes the copy, the model is still on the CPU.
        average = get_ema_multi_avg_fn(plan.ema)  # type: ignore[no-untyped-call]
        callbacks.append(WeightAveraging(machine.where, multi_avg_fn=average))
    if isinstance(reader, DeviceReader):
        callbacks.append(Residency(reader, start, machine.gpu_cells))
    machine.say(
        f"{sum(p.numel() for p in module.parameters()):,} parameters; {len(groups)} groups, "
        f"{sampler.sets_per_epoch} sets an epoch; from step {start} to {plan.max_steps}"
    )
    ahead = min(machine.num_workers, AHEAD)
    at_once = share.sets_per_pass
    feeder = Feeder(
        lambda at: sampler.take(share.numbers(at)),
        range(start * share.passes, plan.max_steps * share.passes),
        BatchMaker(reader, groups, features),
        most_cells=at_once * plan.set_size,
        ahead=ahead,
    )
    keeper = StepKeeper(
        folder,
        plan,
        share,
        interruptions,
        feeder,
        start=start,
        keep=machine.keep_checkpoints,
        sets_per_epoch=sampler.sets_per_epoch,
        ideal_seconds=machine.ideal_seconds(plan, share, store, features),
    )
    validation_feeder = Feeder(
        lambda at: fixed.take(slice(at * at_once, (at + 1) * at_once)),
        range(machine.processes.rank, -(-len(fixed.groups) // at_once), machine.processes.ranks),
        BatchMaker(reader, validation, features),
        most_cells=at_once * plan.set_size,
        ahead=ahead,
    )
    if found is not None and start == until:
        keeper.close()
        _check_best(best_step_of(found[1]))
        return start
    trainer = machine.trainer(plan, share, [*callbacks, keeper])
    trainer.strategy.checkpoint_io = DirectCheckpointIO()
    # It is: the feeder begins with the pass that follows the checkpoint.
    warnings.filterwarnings("ignore", ".* your dataloader is not resumable", UserWarning)
    starts = folder / STARTS
    try:
        with noted(starts, machine, start=start, logged=logged, reached=lambda: keeper.step):
            trainer.fit(
                module,
                feeder,
                validation_feeder,
                ckpt_path=None if found is None else str(found[1]),
                weights_only=True,
            )
    except torch.OutOfMemoryError as error:
        raise DataError(
            f"no GPU memory is left for {at_once} sets at once ({error}); set engine.batch=auto or "
            "to less, engine.gpu_cells=0, or free the GPU of other work"
        ) from error
    except RuntimeError as error:
        ranks = machine.processes.ranks
        # Gloo has no error of its own.
        lost = isinstance(error, torch.distributed.DistError) or "gloo" in str(error)
        if ranks == 1 or not lost:
            raise
        raise DataError(
            f"another of the {ranks} processes is gone: it was killed (out of memory?), or says "
            f"above what went wrong; the same command continues from the last checkpoint ({error})"
        ) from error
    _check_best(keeper.best_step)
    return keeper.step


def _check_best(best_step: int) -> None:
    if not best_step:
        raise DataError(
            "no validation gave a finite number, so there is no best state; see training.csv, and "
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
    trains = any(not group.is_control for group in groups)
    if not trains or not validation:
        raise DataError(
            f"the {'validation' if trains else 'training'} split holds no perturbed cell; name "
            "some in the split file (splits_audit.json of the run says what each split holds)"
        )
    return groups, validation


def _module(
    plan: TrainingPlan,
    store: CellStore,
    features: Features,
    provenance: Mapping[str, Any],
    names_of: Callable[[Sequence[int]], Sequence[str]],
    *,
    validation: Validation | None = None,
    compute: ObjectiveOf = objective,
    processes: Processes = ALONE,
    is_asked_to_stop: Callable[[], bool] = lambda: False,
) -> TrainingModule:
    batches = [str(name) for name in store.cells["batch"].cat.categories]
    settings = planned_settings(
        plan,
        n_genes=store.n_genes,
        feature_dim=features.matrix.shape[1],
        n_batches=len(batches),
        embedding_dim=store.embedding_dim,
    )
    torch.manual_seed(plan.seed)
    description: dict[str, Any] = {
        "settings": settings.to_dict(),
        "gene_names": [str(gene) for gene in store.genes],
        "perturbations": list(features.names),
        "contexts": [str(name) for name in store.cells["context"].cat.categories],
        "batches": batches,
        "embedding": store.embedding_name,
        "provenance": json.loads(json.dumps(provenance)),
    }
    model = build_model(settings, plan)
    if path := plan.model_kwargs.get("init_from"):
        known = ModelDescription(
            tuple(description["gene_names"]),
            tuple(features.names),
            batches=tuple(batches),
            embedding=store.embedding_name,
        )
        description["provenance"]["start"] = start_from(Path(path), model, known, features)
    return TrainingModule(
        model,
        set_loss(plan.model_kwargs),
        plan,
        description,
        names_of,
        validation=validation,
        compute=compute,
        processes=processes,
        is_asked_to_stop=is_asked_to_stop,
    )
