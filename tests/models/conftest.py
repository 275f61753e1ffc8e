"""Small models and real presets; shapes in signatures are checked while these tests run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from workflow_scripts.models import (
    StateTransitionSettings,
    state_transition_settings,
)

# `model.kwargs` of the seed's two presets, interpolations resolved, nothing left out.
PERTSETS: dict[str, Any] = {
    "cell_set_len": 512,
    "extra_tokens": 1,
    "decoder_hidden_dims": [1024, 1024, 512],
    "blur": 0.05,
    "hidden_dim": 328,
    "loss": "energy",
    "confidence_token": False,
    "n_encoder_layers": 4,
    "n_decoder_layers": 4,
    "predict_residual": True,
    "freeze_pert_backbone": False,
    "finetune_vci_decoder": False,
    "residual_decoder": False,
    "batch_encoder": False,
    "nb_decoder": False,
    "decoder_loss_weight": 1.0,
    "use_basal_projection": False,
    "mask_attn": False,
    "distributional_loss": "energy",
    "regularization": 0.0,
    "init_from": None,
    "transformer_backbone_key": "GPT2",
    "transformer_backbone_kwargs": {
        "max_position_embeddings": 512,
        "n_positions": 512,
        "hidden_size": 328,
        "n_embd": 328,
        "n_layer": 8,
        "n_head": 8,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "use_cache": False,
    },
}
STATE_SM: dict[str, Any] = {
    "cell_set_len": 128,
    "blur": 0.05,
    "hidden_dim": 672,
    "loss": "energy",
    "confidence_head": False,
    "n_encoder_layers": 4,
    "n_decoder_layers": 4,
    "predict_residual": True,
    "softplus": True,
    "freeze_pert": False,
    "transformer_decoder": False,
    "finetune_vci_decoder": False,
    "residual_decoder": False,
    "batch_encoder": False,
    "nb_decoder": False,
    "mask_attn": False,
    "use_effect_gating_token": False,
    "use_basal_projection": False,
    "distributional_loss": "energy",
    "gene_decoder_bool": False,
    "init_from": None,
    "transformer_backbone_key": "llama",
    "transformer_backbone_kwargs": {
        "max_position_embeddings": 128,
        "hidden_size": 672,
        "intermediate_size": 2688,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "head_dim": 84,
        "use_cache": False,
        "attention_dropout": 0.0,
        "hidden_dropout": 0.0,
        "layer_norm_eps": 1e-6,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": False,
        "rotary_dim": 0,
        "use_rotary_embeddings": False,
    },
}

N_GENES = 24
PERT_DIM = 6


def preset_kwargs(name: str) -> dict[str, Any]:
    """Return a preset as the seed has it, or ``small_…``: the same keys, 32 wide, 2 layers."""
    kwargs = dict(PERTSETS if name.endswith("pertsets") else STATE_SM)
    backbone = dict(kwargs["transformer_backbone_kwargs"])
    if name.startswith("small_"):
        kwargs["hidden_dim"] = 32
        widths = {"hidden_size": 32, "n_embd": 32, "intermediate_size": 64, "head_dim": 8}
        depths = {"num_hidden_layers": 2, "n_layer": 2}
        heads = {"num_attention_heads": 4, "num_key_value_heads": 4, "n_head": 4}
        backbone |= {k: v for k, v in (widths | depths | heads).items() if k in backbone}
    return kwargs | {"transformer_backbone_kwargs": backbone}


def preset_settings(name: str, **overrides: Any) -> StateTransitionSettings:
    """Return a preset's settings for 24 genes and 6 features; overrides are of `model.kwargs`."""
    return state_transition_settings(
        preset_kwargs(name) | overrides,
        input_dim=N_GENES,
        output_dim=N_GENES,
        pert_dim=PERT_DIM,
        output_space="all",
        expression_output=True,
        n_batches=3,
    )


def small_settings(**overrides: Any) -> StateTransitionSettings:
    """Return settings of a model of 8 to 24 numbers wherever it is wide."""
    backbone = {
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "intermediate_size": 24,
        "attention_dropout": 0.0,
    }
    values: dict[str, Any] = {
        "input_dim": N_GENES,
        "output_dim": N_GENES,
        "pert_dim": PERT_DIM,
        "hidden_dim": 16,
        "cell_set_len": 5,
        "n_encoder_layers": 2,
        "n_decoder_layers": 2,
        "use_basal_projection": False,
        "output_space": "all",
        "expression_output": True,
        "backbone_key": "llama",
        "backbone": backbone,
    }
    return StateTransitionSettings(**(values | overrides))


@pytest.fixture(name="preset_kwargs")
def _preset_kwargs() -> Callable[[str], dict[str, Any]]:
    return preset_kwargs


@pytest.fixture(name="preset_settings")
def _preset_settings() -> Callable[..., StateTransitionSettings]:
    return preset_settings


@pytest.fixture(name="small_settings")
def _small_settings() -> Callable[..., StateTransitionSettings]:
    return small_settings
