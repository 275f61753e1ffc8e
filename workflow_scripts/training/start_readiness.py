"""Whether the model that a run starts from is there, can be loaded, and fits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.errors import ConfigError, DataError
from workflow_scripts.models import load_model, read_description
from workflow_scripts.models.initial_weights import check_start
from workflow_scripts.models.origins import other_splits
from workflow_scripts.settings.findings import Finding
from workflow_scripts.training.plan import TrainingPlan
from workflow_scripts.training.starting_model import freezes, planned_settings


def check_initial_model(
    plan: TrainingPlan,
    genes: Sequence[str] | None,
    splits: str,
    *,
    n_genes: int,
    feature_dim: int,
    embedding_dim: int | None = None,
) -> list[Finding]:
    """Find what would stop a training that starts from another model, or make it pointless.

    Parameters
    ----------
    plan
        What to train.
    genes
        Names of the genes that are read; None where training cells will choose them.
    splits
        Digest of the run's splits. A model that was trained with others, or doesn't say with which,
        brings what it learnt of the test cells along: a warning.
    n_genes, feature_dim
        Number of genes at most, and width of the perturbations' features.
    embedding_dim
        Width of the embedding that the model reads; None where it reads expression.
    """
    path = plan.model_kwargs.get("init_from")
    try:
        here = planned_settings(
            plan,
            n_genes=n_genes,
            feature_dim=feature_dim,
            n_batches=1,
            embedding_dim=embedding_dim,
        )
        frozen = freezes(plan)
    except ConfigError:  # the estimate says so
        return []
    if path is None:
        return [_frozen_at_random()] if frozen else []
    try:
        there, description = load_model(Path(path)).settings, read_description(Path(path))
        check_start(there, here, description.gene_names, genes)
    except DataError as error:
        return [Finding("error", "init-from", f"model.kwargs.init_from: {path}: {error}")]
    if frozen and there.pert_dim != feature_dim:
        text = (
            f"model.kwargs.init_from: {path}: it reads perturbation features of {there.pert_dim} "
            f"numbers, and those here have {feature_dim}: its perturbation encoder would start "
            "afresh, and freeze_pert_backbone would keep it so; set that to false"
        )
        return [Finding("error", "init-from", text)]
    return other_splits(description, splits, f"model.kwargs.init_from: {path}: ")


def _frozen_at_random() -> Finding:
    text = (
        "model.kwargs.freeze_pert_backbone keeps backbone and perturbation encoder as they are, "
        "and without model.kwargs.init_from they are random numbers; name a model there, or set it "
        "to false"
    )
    return Finding("warning", "frozen-at-random", text)
