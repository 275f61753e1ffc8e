"""The model that a training starts with: built as the plan says, parts of it frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.errors import DataError
from workflow_scripts.features.vectors import Features
from workflow_scripts.models import (
    ModelDescription,
    StateTransition,
    StateTransitionSettings,
    load_model,
    read_description,
)
from workflow_scripts.models.from_config import either, state_transition_settings
from workflow_scripts.models.initial_weights import take_weights
from workflow_scripts.training.plan import TrainingPlan


def planned_settings(
    plan: TrainingPlan,
    *,
    n_genes: int,
    feature_dim: int,
    n_batches: int,
    embedding_dim: int | None = None,
) -> StateTransitionSettings:
    """Describe the model of a plan for data of these widths.

    With an embedding the model reads and predicts that, and decodes it to the genes.

    Raises
    ------
    ConfigError
        Where ``model.kwargs`` describe no model.
    """
    expression = embedding_dim is None
    width = n_genes if embedding_dim is None else embedding_dim
    return state_transition_settings(
        plan.model_kwargs,
        input_dim=width,
        output_dim=width,
        pert_dim=feature_dim,
        output_space=plan.output_space,
        expression_output=expression,
        n_batches=n_batches,
        n_genes=None if expression else n_genes,
    )


def freezes(plan: TrainingPlan) -> bool:
    """Tell whether backbone and perturbation encoder stay as they are."""
    return either(plan.model_kwargs, "freeze_pert_backbone", "freeze_pert")


def build_model(settings: StateTransitionSettings, plan: TrainingPlan) -> StateTransition:
    """Build a model, its weights from torch's global generator, and freeze what the plan freezes.

    Frozen weights get no gradient, and the optimizer (`make_optimizer`) doesn't know them.
    """
    model = StateTransition(settings)
    if freezes(plan):
        for part in (model.transformer_backbone, model.pert_encoder):
            part.requires_grad_(False)
    return model


def start_from(
    path: Path, model: StateTransition, description: ModelDescription, features: Features
) -> dict[str, Any]:
    """Fill a model with what it can take of the one at ``path``, and say of each tensor what came.

    Parameters
    ----------
    path
        A model folder or a checkpoint (``model.kwargs.init_from``).
    model, description
        The freshly built model, and what its numbers stand for.
    features
        Vectors of the perturbations.

    Returns
    -------
    Which tensors were taken, in part or not, in JSON's types.

    Raises
    ------
    DataError
        If the model can't be loaded or has another backbone, if its genes can't be matched, or if
        something that nothing would train starts afresh.
    """
    try:
        source, known = load_model(path), read_description(path)
        transfer = take_weights(model, description, source, known, one_hot=is_one_hot(features))
    except DataError as error:
        raise DataError(f"model.kwargs.init_from: {path}: {error}") from error
    print(f"starting from {path}:", *transfer.lines(), sep="\n", flush=True)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    if idle := sorted((transfer.fresh.keys() | transfer.partly.keys()) - trained):
        raise DataError(
            f"model.kwargs.init_from: {path}: {', '.join(idle)} would start afresh, and "
            "freeze_pert_backbone keeps them as random numbers made them; set it to false"
        )
    return {"source": path.name, **transfer.to_dict()}


def is_one_hot(features: Features) -> bool:
    """Tell whether each perturbation's vector is a number of its own."""
    n_names, width = features.matrix.shape
    return n_names == width and np.array_equal(features.matrix, np.eye(n_names))
