"""From ``model.kwargs`` of a config, in the names its field uses, to the models' settings.

Every key is read, known to be read by nothing, or refused by its name: none is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflow_scripts.errors import ConfigError
from workflow_scripts.models.backbone_settings import BACKBONES, BackboneSettings
from workflow_scripts.models.config_values import check_keys, flag, integer, number, required
from workflow_scripts.models.gene_decoder import GeneDecoderSettings
from workflow_scripts.models.losses import SetLoss
from workflow_scripts.models.model_settings import StateTransitionSettings
from workflow_scripts.settings.choices import BACKBONE, READ_BY
from workflow_scripts.settings.keys import UNSUPPORTED
from workflow_scripts.settings.schema import KEYS

LOSS_KEYS = frozenset({"loss", "distributional_loss", "blur", "mmd_num_chunks", "regularization"})

_SECTION = "model.kwargs"


def _names(section: str) -> tuple[frozenset[str], frozenset[str]]:
    """Give the schema's keys of a section: those with values to choose, and those not built."""
    keys = [key for key in KEYS.values() if key.path == f"{section}.{key.name}"]
    refused = frozenset(key.name for key in keys if key.reason.startswith(UNSUPPORTED))
    return frozenset(key.name for key in keys) - refused, refused


_MODEL, _NOT_BUILT = _names(_SECTION)
_BACKBONE, _BACKBONE_NOT_BUILT = _names(BACKBONE)
_BACKBONE_INERT = _BACKBONE - frozenset().union(*READ_BY.values())


def model_key_names() -> tuple[frozenset[str], frozenset[str]]:
    """Return the keys of ``model.kwargs`` and of the backbone's section, refused ones too."""
    return (
        _MODEL | _NOT_BUILT | {"transformer_backbone_kwargs"},
        _BACKBONE | _BACKBONE_NOT_BUILT,
    )


LLAMA_NORM_EPS = 1e-6
GPT2_NORM_EPS = 1e-5
GPT2_DROPOUT = 0.1
"""Both eps and the dropout, where a config is silent: the defaults of transformers."""


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
        ``model.kwargs``, resolved.
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
        For a key that is unknown, missing, of another type, or asks for what is not built.
    """
    section = _SECTION
    check_keys(kwargs, _MODEL | {"transformer_backbone_kwargs"}, _NOT_BUILT, section)
    hidden_dim = integer(kwargs, "hidden_dim", section)
    with_batches = flag(kwargs, "batch_encoder", False, section)
    with_token = flag(kwargs, "use_batch_token", False, section)
    for name, needs_batches in (("batch_encoder", with_batches), ("use_batch_token", with_token)):
        if needs_batches and n_batches is None:
            raise ConfigError(f"{section}.{name} is true, but the data has no technical batches")
    try:
        return StateTransitionSettings(
            input_dim=input_dim,
            output_dim=output_dim,
            pert_dim=pert_dim,
            hidden_dim=hidden_dim,
            cell_set_len=integer(kwargs, "cell_set_len", section),
            n_encoder_layers=integer(kwargs, "n_encoder_layers", section),
            n_decoder_layers=integer(kwargs, "n_decoder_layers", section),
            use_basal_projection=flag(kwargs, "use_basal_projection", True, section),
            output_space=output_space,
            expression_output=expression_output,
            backbone=backbone_settings(
                str(required(kwargs, "transformer_backbone_key", section)),
                required(kwargs, "transformer_backbone_kwargs", section),
                hidden_dim=hidden_dim,
                causal=causal,
            ),
            predict_residual=flag(kwargs, "predict_residual", True, section),
            n_batches=n_batches if with_batches else None,
            mask_attn=flag(kwargs, "mask_attn", False, section),
            dropout=number(kwargs, "dropout", 0.1, section),
            gene_decoder=None if n_genes is None else _gene_decoder(kwargs, n_genes),
            batch_token_classes=n_batches if with_token else None,
            confidence_token=either(kwargs, "confidence_token", "confidence_head"),
        )
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{section}: {error}") from error


def either(kwargs: Mapping[str, Any], name: str, alias: str) -> bool:
    """Read a flag of ``model.kwargs`` that has two names: true in either is true.

    Raises
    ------
    ConfigError
        For a value that is neither true nor false.
    """
    first, other = (flag(kwargs, each, False, _SECTION) for each in (name, alias))
    return first or other


def _gene_decoder(kwargs: Mapping[str, Any], n_genes: int) -> GeneDecoderSettings | None:
    if not flag(kwargs, "gene_decoder_bool", True, _SECTION):
        return None
    return GeneDecoderSettings(
        n_genes=n_genes,
        hidden_dims=tuple(kwargs.get("decoder_hidden_dims", GeneDecoderSettings(1).hidden_dims)),
        residual=flag(kwargs, "residual_decoder", False, _SECTION),
    )


def backbone_settings(
    key: str, kwargs: Mapping[str, Any], *, hidden_dim: int, causal: bool | None = None
) -> BackboneSettings:
    """Turn ``transformer_backbone_key`` and ``transformer_backbone_kwargs`` into settings.

    Read for llama: hidden_size, intermediate_size, num_hidden_layers, num_attention_heads,
    num_key_value_heads, head_dim, attention_dropout. For GPT2: n_embd (or hidden_size), n_layer,
    n_head, n_inner, attn_pdrop, resid_pdrop, embd_pdrop. For both: bidirectional_attention.
    Keys that the schema calls inert may stand there and are read by nothing.

    Raises
    ------
    ConfigError
        For an unknown backbone, and for a key that is unknown, missing, of another type, or asks
        for what is not built.
    """
    section = BACKBONE
    if key not in BACKBONES:
        raise ConfigError(
            f"model.kwargs.transformer_backbone_key is {key!r}; known are {BACKBONES}"
        )
    known = READ_BY[key]
    check_keys(kwargs, known | _BACKBONE_INERT, _BACKBONE_NOT_BUILT, section)
    for name in sorted({"hidden_size", "n_embd"} & known & kwargs.keys()):
        if kwargs[name] != hidden_dim:
            raise ConfigError(
                f"{section}.{name} is {kwargs[name]!r}, but model.kwargs.hidden_dim is {hidden_dim}"
            )
    if causal is None:
        causal = not flag(kwargs, "bidirectional_attention", True, section)
    if key == "GPT2":
        n_heads = integer(kwargs, "n_head", section)
        return BackboneSettings(
            key="GPT2",
            hidden_dim=hidden_dim,
            n_layers=integer(kwargs, "n_layer", section),
            n_heads=n_heads,
            n_key_value_heads=n_heads,
            head_dim=hidden_dim // n_heads,
            intermediate_dim=integer(kwargs, "n_inner", section, 4 * hidden_dim),
            norm_eps=GPT2_NORM_EPS,
            attention_dropout=number(kwargs, "attn_pdrop", GPT2_DROPOUT, section),
            residual_dropout=number(kwargs, "resid_pdrop", GPT2_DROPOUT, section),
            embedding_dropout=number(kwargs, "embd_pdrop", GPT2_DROPOUT, section),
            causal=causal,
        )
    n_heads = integer(kwargs, "num_attention_heads", section)
    return BackboneSettings(
        key="llama",
        hidden_dim=hidden_dim,
        n_layers=integer(kwargs, "num_hidden_layers", section),
        n_heads=n_heads,
        n_key_value_heads=integer(kwargs, "num_key_value_heads", section, n_heads),
        head_dim=integer(kwargs, "head_dim", section, hidden_dim // n_heads),
        intermediate_dim=integer(kwargs, "intermediate_size", section),
        norm_eps=LLAMA_NORM_EPS,
        attention_dropout=number(kwargs, "attention_dropout", 0.0, section),
        causal=causal,
    )


def set_loss(kwargs: Mapping[str, Any]) -> SetLoss:
    """Choose the loss that ``model.kwargs`` names; keys of the model are passed over here.

    Raises
    ------
    ConfigError
        For an unknown loss or a value out of range.
    """
    given = {name: kwargs[name] for name in sorted(LOSS_KEYS & kwargs.keys())}
    try:
        return SetLoss(**given)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"model.kwargs: {error}") from error
