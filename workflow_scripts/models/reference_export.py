"""A model of this project becomes a checkpoint of the reference implementation.

The file has the reference's names of weights and of hyper-parameters. What its vocabulary can't say
stands in an entry of its own, which the reference passes over and the import reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from workflow_scripts.models.files import ModelDescription
from workflow_scripts.models.model_settings import StateTransitionSettings
from workflow_scripts.models.reference_import import MARK
from workflow_scripts.models.reference_names import (
    BATCH_TOKEN,
    CONFIDENCE_TOKEN,
    EMBEDDINGS,
    POSITIONS,
    RESIDUAL,
    reference_name,
)
from workflow_scripts.models.st import StateTransition

EXTRA_TOKENS = 1
"""Positions that the reference's presets keep free beside the cells."""

UNREAD: Mapping[str, Any] = {
    "loss": "energy",
    "lr": 1e-4,
    "loss_fn": "mse",
    "control_pert": "non-targeting",
    "batch_size": 16,
}
"""What a checkpoint of the reference says of its training where the model doesn't know it; no
prediction depends on it."""


SAME_NAMES = (
    *("input_dim", "hidden_dim", "output_dim", "pert_dim", "dropout", "output_space"),
    *("cell_set_len", "n_encoder_layers", "n_decoder_layers", "use_basal_projection"),
    *("predict_residual", "confidence_token", "mask_attn"),
)
"""Settings that the reference knows by the same name."""


def export_reference(
    model: StateTransition, description: ModelDescription
) -> tuple[dict[str, Any], list[str]]:
    """Return the content of a reference checkpoint, and what the reference will do otherwise.

    Parameters
    ----------
    model, description
        The model, and what its numbers stand for.
    """
    settings = model.settings
    content: dict[str, Any] = {
        "epoch": 0,
        "global_step": description.provenance.get("global_step") or 0,
        "pytorch-lightning_version": version("lightning"),
        "state_dict": _weights(model),
        "loops": {},
        "callbacks": {},
        "optimizer_states": [],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": _parameters(settings, description),
        MARK: {
            "causal": settings.causal,
            "relu_on_embeddings": settings.relu_on_embeddings,
            **asdict(description),
        },
    }
    return content, _differences(settings)


def _differences(settings: StateTransitionSettings) -> list[str]:
    found = []
    if settings.backbone_key == "GPT2" and not settings.causal:
        found.append(
            "attention is full here, and the reference's GPT2 is causal: it will predict otherwise"
        )
    cut = settings.expression_output or settings.relu_on_embeddings
    if not cut and settings.gene_decoder is None:
        found.append(
            "embeddings are whole here, and the reference cuts them at zero where it has no gene "
            "decoder: it will predict otherwise"
        )
    return found


def _weights(model: StateTransition) -> dict[str, Tensor]:
    settings = model.settings
    weights = {
        reference_name(name): tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }
    for name in (BATCH_TOKEN, CONFIDENCE_TOKEN):
        if name in weights:
            weights[name] = weights[name].reshape(1, 1, -1)
    # It looks for these when it loads. One zero is stored for all of them.
    zero = torch.zeros(1, 1)
    for name, rows in EMBEDDINGS[settings.backbone_key].items():
        weights[f"transformer_backbone.{name}.weight"] = zero.expand(rows, settings.hidden_dim)
    if settings.backbone_key == "GPT2":
        positions = settings.cell_set_len + EXTRA_TOKENS
        weights[POSITIONS] = zero.expand(positions, settings.hidden_dim)
    if settings.output_space == "all" and not settings.predict_residual:
        wide, narrow = settings.output_dim, settings.squeezed_dim
        for layer, n_out, n_in in ((0, narrow, wide), (2, wide, narrow)):
            weights[f"{RESIDUAL}{layer}.weight"] = zero.expand(n_out, n_in)
            weights[f"{RESIDUAL}{layer}.bias"] = zero[0].expand(n_out)
    return weights


def _parameters(settings: StateTransitionSettings, description: ModelDescription) -> dict[str, Any]:
    decoder = settings.gene_decoder
    genes = settings.output_dim if decoder is None else decoder.n_genes
    known = dict(description.provenance.get("hyper_parameters", {}))
    with_token = settings.batch_token_classes is not None
    embedding = description.embedding or known.get("embed_key") or "X_state"
    if settings.expression_output:
        embedding = None if settings.output_space == "all" else "X_hvg"
        embedding = known.get("embed_key", embedding)
    # The two names of one flag must not contradict each other.
    for alias in ("confidence_head", "cell_sentence_len"):
        known.pop(alias, None)
    return {
        **UNREAD,
        **known,
        **{name: getattr(settings, name) for name in SAME_NAMES},
        "batch_dim": settings.n_batches
        or settings.batch_token_classes
        or known.get("batch_dim")
        or max(len(description.batches), 1),
        "embed_key": embedding,
        "gene_names": list(description.gene_names) or None,
        "gene_dim": genes,
        "hvg_dim": known.get("hvg_dim", settings.output_dim),
        "decoder_cfg": None
        if decoder is None
        else {
            "latent_dim": settings.output_dim,
            "gene_dim": decoder.n_genes,
            "hidden_dims": list(decoder.hidden_dims),
            "dropout": decoder.dropout,
            "residual_decoder": decoder.residual,
        },
        "gene_decoder_bool": decoder is not None,
        "residual_decoder": decoder is not None and decoder.residual,
        "extra_tokens": EXTRA_TOKENS,
        "batch_encoder": settings.n_batches is not None,
        "use_batch_token": with_token,
        "basal_mapping_strategy": "batch"
        if with_token
        else known.get("basal_mapping_strategy", "random"),
        "transformer_backbone_key": settings.backbone_key,
        "transformer_backbone_kwargs": _backbone(settings),
    }


def _backbone(settings: StateTransitionSettings) -> dict[str, Any]:
    positions = settings.cell_set_len + EXTRA_TOKENS
    shared = {
        **settings.backbone,
        "bidirectional_attention": not settings.causal,
        "hidden_size": settings.hidden_dim,
        "n_positions": positions,
        "use_cache": False,
    }
    if settings.backbone_key == "GPT2":
        return {**shared, "n_embd": settings.hidden_dim}
    return {
        **shared,
        "max_position_embeddings": positions,
        "hidden_dropout": 0.0,
        "layer_norm_eps": 1e-6,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": False,
        "rotary_dim": 0,
        "use_rotary_embeddings": False,
    }
