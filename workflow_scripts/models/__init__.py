"""The state-transition model, the baselines and the set losses: tensors in, tensors out."""

from workflow_scripts.models.baselines import (
    Additive,
    Baseline,
    ContextMean,
    ControlBaseline,
    MeanResponse,
    NearestNeighbour,
    PerturbationMeanEffect,
    RidgeEffect,
)
from workflow_scripts.models.denoised import ControlNoise, Denoised
from workflow_scripts.models.effect_intervals import fit_intervals
from workflow_scripts.models.energy import energy_distance
from workflow_scripts.models.files import (
    ModelDescription,
    load_model,
    read_description,
    save_model,
)
from workflow_scripts.models.from_config import set_loss, state_transition_settings
from workflow_scripts.models.losses import SetLoss, mean_over_sets, mse, sinkhorn
from workflow_scripts.models.model_settings import GeneDecoderSettings, StateTransitionSettings
from workflow_scripts.models.objective import Objective, objective
from workflow_scripts.models.st import Outputs, StateTransition
from workflow_scripts.models.training_effects import TrainingEffects

__all__ = [
    "Additive",
    "Baseline",
    "ContextMean",
    "ControlBaseline",
    "ControlNoise",
    "Denoised",
    "GeneDecoderSettings",
    "MeanResponse",
    "ModelDescription",
    "NearestNeighbour",
    "Objective",
    "Outputs",
    "PerturbationMeanEffect",
    "RidgeEffect",
    "SetLoss",
    "StateTransition",
    "StateTransitionSettings",
    "TrainingEffects",
    "energy_distance",
    "fit_intervals",
    "load_model",
    "mean_over_sets",
    "mse",
    "objective",
    "read_description",
    "save_model",
    "set_loss",
    "sinkhorn",
    "state_transition_settings",
]
