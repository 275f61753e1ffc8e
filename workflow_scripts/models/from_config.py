"""From ``model.kwargs`` of a config, in the names its field uses, to the models' settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from workflow_scripts.errors import ConfigError
from workflow_scripts.models.losses import SetLoss
from workflow_scripts.models.model_settings import GeneDecoderSettings, StateTransitionSettings
from workflow_scripts.settings.choices import READ_BY


def state_transition_settings(
    kwargs: Mapping[str, Any],
    *,
    input_dim: int,
    output_dim: int,
    pert_dim: int,
    output_space: str,
    expression_output: bool,
    n_batches: int | None = None,
    n_genes: int | None = None,
    causal: bool | None = None,
) -> StateTransitionSettings:
    """Turn ``model.kwargs`` and the widths of the data into settings of an ST model.

    Parameters
    ----------
    kwargs
        ``model.kwargs``, resolved and of the schema's types.
    input_dim, output_dim, pert_dim
        Widths of control cells, predicted cells and perturbation features.
    output_space
        ``data.kwargs.output_space``.
    expression_output
        Whether the output is expression, not an embedding.
    n_batches
        Number of technical batches; needed with ``batch_encoder`` and ``use_batch_token``.
    n_genes
        Number of genes that predicted embeddings are decoded to (unless ``gene_decoder_bool`` is
        false); None where the output is expression.
    causal
        Whether attention is causal, for imported checkpoints. None: as
        ``bidirectional_attention`` says, and full where that is absent.

    Raises
    ------
    ConfigError
        Where the parts don't fit one another or the data.
    """
    for name in ("batch_encoder", "use_batch_token"):
        if kwargs.get(name) and n_batches is None:
            raise ConfigError(f"model.kwargs.{name} is true, but the data has no technical batches")
    hidden_dim, key = kwargs["hidden_dim"], kwargs["transformer_backbone_key"]
    backbone = backbone_kwargs(key, kwargs["transformer_backbone_kwargs"], hidden_dim)
    full = backbone.pop("bidirectional_attention", True)
    try:
        return StateTransitionSettings(
            input_dim=input_dim,
            output_dim=output_dim,
            pert_dim=pert_dim,
            hidden_dim=hidden_dim,
            cell_set_len=kwargs["cell_set_len"],
            n_encoder_layers=kwargs["n_encoder_layers"],
            n_decoder_layers=kwargs["n_decoder_layers"],
            use_basal_projection=kwargs.get("use_basal_projection", True),
            output_space=output_space,
            expression_output=expression_output,
            backbone_key=key,
            backbone=backbone,
            causal=not full if causal is None else causal,
            predict_residual=kwargs.get("predict_residual", True),
            n_batches=n_batches if kwargs.get("batch_encoder") else None,
            mask_attn=kwargs.get("mask_attn", False),
            dropout=kwargs.get("dropout", 0.1),
            gene_decoder=None if n_genes is None else _gene_decoder(kwargs, n_genes),
            batch_token_classes=n_batches if kwargs.get("use_batch_token") else None,
            confidence_token=either(kwargs, "confidence_token", "confidence_head"),
        )
    except ValueError as error:
        raise ConfigError(f"model.kwargs: {error}") from error


def either(kwargs: Mapping[str, Any], name: str, alias: str) -> bool:
    """Read a flag of ``model.kwargs`` that has two names: true in either is true."""
    return any([kwargs.get(name, False), kwargs.get(alias, False)])


def _gene_decoder(kwargs: Mapping[str, Any], n_genes: int) -> GeneDecoderSettings | None:
    if not kwargs.get("gene_decoder_bool", True):
        return None
    return GeneDecoderSettings(
        n_genes=n_genes,
        hidden_dims=tuple(kwargs.get("decoder_hidden_dims", GeneDecoderSettings.hidden_dims)),
        residual=kwargs.get("residual_decoder", False),
    )


def backbone_kwargs(key: str, given: Mapping[str, Any], hidden_dim: int) -> dict[str, Any]:
    """Return the keys of ``transformer_backbone_kwargs`` that this backbone reads, with defaults.

    Without its width, which is ``model.kwargs.hidden_dim``.
    """
    read = {name: given[name] for name in READ_BY[key] if given.get(name) is not None}
    for width in ("hidden_size", "n_embd"):
        read.pop(width, None)
    if key == "GPT2":
        dropped = dict.fromkeys(("attn_pdrop", "resid_pdrop", "embd_pdrop"), 0.1)
        return {"n_inner": 4 * hidden_dim, **dropped, **read}
    heads = read["num_attention_heads"]
    shape = {"num_key_value_heads": heads, "head_dim": hidden_dim // heads}
    return {**shape, "attention_dropout": 0.0, **read}


def set_loss(kwargs: Mapping[str, Any]) -> SetLoss:
    """Choose the loss that ``model.kwargs`` names."""
    names = (field.name for field in fields(SetLoss))
    return SetLoss(**{name: kwargs[name] for name in names if name in kwargs})
