"""What only shows where cells, splits and features meet: groups that sets outgrow, idle vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.cache.digests import file_digest
from workflow_scripts.cells.audited import AuditFiles
from workflow_scripts.errors import ConfigError, DataError
from workflow_scripts.features.summary import coverage
from workflow_scripts.models import load_model, read_description
from workflow_scripts.models.files import other_splits
from workflow_scripts.models.initial_weights import check_start
from workflow_scripts.models.model_settings import BOTTLENECK
from workflow_scripts.settings.findings import Finding, listing
from workflow_scripts.training.plan import TrainingPlan
from workflow_scripts.training.starting_model import freezes, planned_settings
from workflow_scripts.training.validating import nothing_to_rank

_GROUP = ["dataset", "file", "context", "perturbation"]


def split_coverage(splits: pd.DataFrame, features: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Count the perturbations with a vector of their own in each split.

    Parameters
    ----------
    splits
        One row a group, with its split.
    features
        The audit of the features.
    """
    used = splits[splits["split"].isin(["train", "val", "test"])]
    counted = coverage(used, "split", features["control"]["label"], features["missing"])
    return {split: counted[split] for split in ("train", "val", "test") if split in counted}


def set_groups(splits: pd.DataFrame, batches: pd.DataFrame, *, by_batch: bool) -> pd.DataFrame:
    """Return the groups whose cells may share a set, with their split.

    Parameters
    ----------
    splits
        One row a group of cells: its labels, split, is_control, n_cells.
    batches
        The same cells by technical batch.
    by_batch
        Sets share the technical batch.
    """
    if not by_batch:
        return splits
    named = splits[[*_GROUP, "is_control", "split"]]
    return batches.merge(named, on=_GROUP, how="inner", validate="many_to_one")


def sets_per_epoch(groups: pd.DataFrame, plan: TrainingPlan) -> int:
    """Return how many sets visit every training cell once; the last of a group is filled up.

    Where cells are left out (``plan.most_cells``), technical batches are taken to lose equal parts.
    """
    trains = groups["split"].isin(["train", "control"] if plan.yield_controls else ["train"])
    sizes = groups.loc[trains, "n_cells"]
    if plan.most_cells is not None:
        together = groups[trains].groupby(_GROUP)["n_cells"].transform("sum")
        sizes = (sizes * (plan.most_cells / together).clip(upper=1.0)).apply(np.ceil)
    return int(np.ceil(sizes / plan.set_size).sum())


def check_training(
    plan: TrainingPlan, given: AuditFiles, read: Sequence[str] | None
) -> list[Finding]:
    """Find what would stop a training, or make it pointless.

    Parameters
    ----------
    plan
        What to train.
    given
        What the audits wrote.
    read
        Genes that are read; None where training cells will choose them.
    """
    return [
        *cross_check(given.groups, given.groups_by_batch, given.of_features, plan),
        *narrow_residual(plan, given.of_cells.get("embedding_dim")),
        *_check_initial_model(plan, given, read),
    ]


def cross_check(
    splits: pd.DataFrame, batches: pd.DataFrame, features: Mapping[str, Any], plan: TrainingPlan
) -> list[Finding]:
    """Find what no audit could see alone.

    Parameters
    ----------
    splits
        One row a group of cells: columns perturbation, context, split, n_cells.
    batches
        The same cells by technical batch.
    features
        The audit of the features.
    plan
        How sets are made.
    """
    groups = set_groups(splits, batches, by_batch=plan.by_batch)
    used = groups[groups["split"] != "dropped"]
    return [
        *_small_groups(used, plan.set_size),
        *_untrained_names(used, bool(features["files"])),
        *_untrained_batches(splits, batches, plan),
        *_unranked(used, plan.select_by),
    ]


def narrow_residual(plan: TrainingPlan, embedding_dim: int | None) -> list[Finding]:
    """Say where a predicted embedding is squeezed, as expression is with ``output_space`` all.

    An eighth of thousands of genes still holds what a cell is; an eighth of 50 components doesn't.
    """
    if embedding_dim is None or plan.output_space != "all":
        return []
    if not plan.model_kwargs.get("predict_residual", True):
        return []
    text = (
        f"data.kwargs.output_space is all, so that a predicted embedding of {embedding_dim} "
        f"numbers is squeezed through {embedding_dim // BOTTLENECK}; set it to embedding, which "
        "adds the residual inside the model"
    )
    return [Finding("warning", "narrow-residual", text)]


def _check_initial_model(
    plan: TrainingPlan, given: AuditFiles, read: Sequence[str] | None
) -> list[Finding]:
    path = plan.model_kwargs.get("init_from")
    feature_dim = given.of_features["dimension"]
    try:
        here = planned_settings(
            plan,
            n_genes=len(given.genes),
            feature_dim=feature_dim,
            n_batches=1,
            embedding_dim=given.of_cells.get("embedding_dim"),
        )
        frozen = freezes(plan)
    except ConfigError:  # the estimate says so
        return []
    if path is None:
        return [_frozen_at_random()] if frozen else []
    try:
        there, description = load_model(Path(path)).settings, read_description(Path(path))
        check_start(there, here, description.gene_names, read)
    except DataError as error:
        return [Finding("error", "init-from", f"model.kwargs.init_from: {path}: {error}")]
    if frozen and there.pert_dim != feature_dim:
        text = (
            f"model.kwargs.init_from: {path}: it reads perturbation features of {there.pert_dim} "
            f"numbers, and those here have {feature_dim}: its perturbation encoder would start "
            "afresh, and freeze_pert_backbone would keep it so; set that to false"
        )
        return [Finding("error", "init-from", text)]
    return other_splits(description, file_digest(given.splits), f"model.kwargs.init_from: {path}: ")


def _frozen_at_random() -> Finding:
    text = (
        "model.kwargs.freeze_pert_backbone keeps backbone and perturbation encoder as they are, "
        "and without model.kwargs.init_from they are random numbers; name a model there, or set it "
        "to false"
    )
    return Finding("warning", "frozen-at-random", text)


def _small_groups(used: pd.DataFrame, set_size: int) -> list[Finding]:
    findings = []
    controls = used["is_control"].astype(bool)
    small = used["n_cells"] < set_size
    if (small & ~controls).any():
        names = _names(used[small & ~controls])
        text = (
            f"{len(names)} of {(~controls).sum()} groups of perturbed cells have fewer cells than "
            f"a set ({set_size}, model.kwargs.cell_set_len); their sets repeat cells: "
        )
        findings.append(Finding("note", "small-groups", text + listing(names, 8), tuple(names)))
    if (small & controls).any():
        names = _names(used[small & controls])
        text = f"fewer controls than a set has cells ({set_size}); sets repeat them: "
        findings.append(Finding("note", "few-controls", text + listing(names, 8), tuple(names)))
    return findings


def _untrained_names(used: pd.DataFrame, has_features: bool) -> list[Finding]:
    trained = set(used.loc[used["split"] == "train", "perturbation"])
    tested = set(used.loc[used["split"] == "test", "perturbation"])
    untrained = sorted(tested - trained)
    if has_features or not untrained:
        return []
    text = (
        f"perturbations are one-hot, and {len(untrained)} of the {len(tested)} that are tested "
        f"never train: nothing is learned of them: {listing(untrained, 8)}; give them features "
        "(data.kwargs.perturbation_features_file), or hold them out in some contexts alone"
    )
    return [Finding("warning", "one-hot-untrained", text, tuple(untrained))]


def _untrained_batches(
    splits: pd.DataFrame, batches: pd.DataFrame, plan: TrainingPlan
) -> list[Finding]:
    """Find technical batches that would be encoded by a vector that nothing has trained."""
    if not plan.model_kwargs.get("batch_encoder", False):
        return []
    groups = set_groups(splits, batches, by_batch=True)
    trains = ["train", "control"] if plan.yield_controls else ["train"]
    trained = set(groups.loc[groups["split"].isin(trains), "batch"])
    held_out = groups[groups["split"].isin(["val", "test"])]
    untrained = sorted(set(held_out["batch"]) - trained)
    if not untrained:
        return []
    text = (
        f"model.kwargs.batch_encoder gives each technical batch a learned vector, and "
        f"{len(untrained)} batches of held-out cells have no cell in training: "
        f"{listing(untrained, 8)}; set model.kwargs.batch_encoder=false, or let controls of those "
        "batches train (data.kwargs.should_yield_control_cells, splits.held_out_controls=share)"
    )
    return [Finding("error", "batches-untrained", text, tuple(untrained))]


def _unranked(used: pd.DataFrame, select_by: str) -> list[Finding]:
    validates = used[used["split"] == "val"]
    ranked = validates.groupby("context", observed=True)["perturbation"].nunique()
    if select_by == "val_loss" or (ranked > 1).any():
        return []
    return [Finding("error", "nothing-to-rank", nothing_to_rank(select_by))]


def _names(table: pd.DataFrame) -> list[str]:
    columns = ["context", "perturbation", *(["batch"] if "batch" in table else [])]
    labels = table[columns].astype(str).agg("/".join, axis=1)
    return [f"{name} ({size})" for name, size in zip(labels, table["n_cells"], strict=True)]
