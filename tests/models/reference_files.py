"""Checkpoints as the reference writes them, made of weights of our own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workflow_scripts import import_checkpoint
from workflow_scripts.models import (
    GeneDecoderSettings,
    StateTransition,
    StateTransitionSettings,
    load_model,
)

Settings = Callable[..., StateTransitionSettings]

LLAMA = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "hidden_dropout": 0.0,
    "layer_norm_eps": 1e-6,
    "rotary_dim": 0,
    "use_rotary_embeddings": False,
}
GPT2 = {"n_positions": 6, "n_embd": 16, "n_layer": 2, "n_head": 2, "attn_pdrop": 0.0}
GPT2_SETTINGS: dict[str, Any] = {
    "backbone_key": "GPT2",
    "backbone": {
        **{"n_layer": 2, "n_head": 2, "n_inner": 64},
        **{"attn_pdrop": 0.0, "resid_pdrop": 0.1, "embd_pdrop": 0.1},
    },
    "causal": True,
}
DECODER = GeneDecoderSettings(n_genes=11, hidden_dims=(12, 12, 8))
EMBEDDING: dict[str, Any] = {"output_space": "embedding", "expression_output": False}
GENE: dict[str, Any] = {"output_space": "gene"}

# Our settings, and the hyper-parameters that say the same.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mlp_basal": ({"use_basal_projection": True}, {"use_basal_projection": True}),
    "one_layer": (
        {"use_basal_projection": True, "n_encoder_layers": 1, "n_decoder_layers": 1},
        {"use_basal_projection": True, "n_encoder_layers": 1, "n_decoder_layers": 1},
    ),
    "no_residual": ({"predict_residual": False}, {"predict_residual": False}),
    "gene": (GENE, {"output_space": "gene", "embed_key": "X_hvg"}),
    "gpt2": (GPT2_SETTINGS, {"transformer_backbone_key": "GPT2"}),
    "confidence": ({"confidence_token": True}, {"confidence_token": True}),
    "confidence_head": ({"confidence_token": True}, {"confidence_head": True}),
    "batch_token": (
        {"batch_token_classes": 3},
        {"use_batch_token": True, "basal_mapping_strategy": "batch"},
    ),
    "batch_encoder": ({"n_batches": 3}, {"batch_encoder": True}),
    "mask_attn": ({"mask_attn": True}, {"mask_attn": True}),
    "decoder": (
        {**EMBEDDING, "gene_decoder": DECODER},
        {"output_space": "embedding", "embed_key": "X_state", "decoder_cfg": {"dropout": 0.1}},
    ),
    "residual_decoder": (
        {**EMBEDDING, "gene_decoder": replace(DECODER, residual=True)},
        {"output_space": "embedding", "embed_key": "X_state", "residual_decoder": True},
    ),
    "cut_embedding": (
        {**EMBEDDING, "relu_on_embeddings": True},
        {"output_space": "embedding", "embed_key": "X_state", "gene_decoder_bool": False},
    ),
}


def their_name(name: str) -> str:
    """Return a name as the reference has it, of those that differ."""
    for ours, theirs in (
        ("confidence_token.token", "confidence_token.confidence_token"),
        ("confidence_token.head", "confidence_token.confidence_projection"),
        ("batch_token.token", "batch_token"),
        ("batch_token.classifier", "batch_classifier.0"),
    ):
        if name.startswith(ours):
            return name.replace(ours, theirs)
    return name


def checkpoint_of(model: StateTransition, **parameters: Any) -> dict[str, Any]:
    """Return what the reference would have stored of such a model."""
    settings = model.settings
    weights = {their_name(name): tensor.clone() for name, tensor in model.state_dict().items()}
    for token in ("confidence_token.confidence_token", "batch_token"):
        if token in weights:
            weights[token] = weights[token].reshape(1, 1, -1)
    if settings.output_space == "all" and not settings.predict_residual:
        # Stored all the same, as drawn at random: nothing passes through them.
        wide, narrow = settings.output_dim, settings.output_dim // 8
        for layer, n_out, n_in in ((0, narrow, wide), (2, wide, narrow)):
            weights[f"final_down_then_up.{layer}.weight"] = torch.randn(n_out, n_in)
            weights[f"final_down_then_up.{layer}.bias"] = torch.randn(n_out)
    backbone: dict[str, Any] = {**LLAMA, "bidirectional_attention": not settings.causal}
    if settings.backbone_key == "GPT2":
        backbone = dict(GPT2)
        weights["transformer_backbone.wte.weight"] = torch.zeros(50, 16)
        weights["transformer_backbone.wpe.weight"] = torch.zeros(6, 16)
    else:
        weights["transformer_backbone.embed_tokens.weight"] = torch.zeros(50, 16)
    stored = {
        "input_dim": 24, "hidden_dim": 16, "output_dim": 24, "pert_dim": 6, "batch_dim": 3,
        "gene_dim": 24, "hvg_dim": 24, "gene_names": None, "decoder_cfg": None,
        "lr": 1e-4, "loss_fn": "mse", "batch_size": 3, "control_pert": "non-targeting",
        "weight_decay": 5e-4, "dropout": 0.1, "embed_key": None, "output_space": "all",
        "basal_mapping_strategy": "random", "cell_set_len": 5, "blur": 0.05, "loss": "energy",
        "n_encoder_layers": 2, "n_decoder_layers": 2, "use_basal_projection": False,
        "predict_residual": True, "distributional_loss": "energy",
        "transformer_backbone_key": "llama", "transformer_backbone_kwargs": backbone,
    }  # fmt: skip
    return {
        "state_dict": weights,
        "hyper_parameters": stored | parameters,
        "global_step": 7,
        "pytorch-lightning_version": "2.0.0",
    }


def imported(content: dict[str, Any], folder: Path, *options: str) -> StateTransition:
    torch.save(content, folder / "reference.ckpt")
    import_checkpoint.main(
        [str(folder / "reference.ckpt"), "--out", str(folder / "model"), *options]
    )
    return load_model(folder / "model")


def predictions(model: StateTransition) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    control = torch.rand(3, 5, 24, generator=generator)
    features = torch.randn(3, 6, generator=generator)
    batch = torch.tensor([[0], [1], [2]]).expand(3, 5)
    said = model.eval().outputs(control, features, batch)
    parts = [said.prediction, said.confidence, said.batch_logits]
    decoded = [] if model.gene_decoder is None else [model.decode(said.prediction)]
    return [part for part in (*parts, *decoded) if part is not None]


def same(model: StateTransition, other: StateTransition) -> bool:
    pairs = zip(predictions(model), predictions(other), strict=True)
    return all(torch.equal(one, another) for one, another in pairs)
