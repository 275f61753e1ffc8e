"""The model that a training starts with: built as the plan says, parts of it frozen."""

from __future__ import annotations

from workflow_scripts.models import StateTransition, StateTransitionSettings
from workflow_scripts.models.from_config import either, state_transition_settings
from workflow_scripts.training.plan import TrainingPlan


def planned_settings(
    plan: TrainingPlan, *, n_genes: int, feature_dim: int, n_batches: int
) -> StateTransitionSettings:
    """Describe the model of a plan for data of these widths.

    Raises
    ------
    ConfigError
        Where ``model.kwargs`` describe no model.
    """
    return state_transition_settings(
        plan.model_kwargs,
        input_dim=n_genes,
        output_dim=n_genes,
        pert_dim=feature_dim,
        output_space=plan.output_space,
        expression_output=True,
        n_batches=n_batches,
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
