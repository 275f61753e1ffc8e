from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from workflow_scripts.errors import ConfigError
from workflow_scripts.models import (
    GeneDecoderSettings,
    SetLoss,
    StateTransitionSettings,
    set_loss,
    state_transition_settings,
)

Kwargs = Callable[[str], dict[str, Any]]
Settings = Callable[..., StateTransitionSettings]


def test_pertsets_is_a_full_attention_gpt2_as_the_seed_sizes_it(preset_settings: Settings) -> None:
    settings = preset_settings("pertsets")
    backbone = settings.backbone
    assert (backbone.key, backbone.causal) == ("GPT2", False)
    assert (settings.hidden_dim, settings.cell_set_len) == (328, 512)
    assert (backbone.n_layers, backbone.n_heads, backbone.head_dim) == (8, 8, 41)
    assert backbone.intermediate_dim == 4 * 328
    assert backbone.residual_dropout == backbone.embedding_dropout == 0.0
    assert not settings.use_basal_projection
    assert settings.predict_residual


def test_state_sm_is_a_full_attention_llama_as_the_seed_sizes_it(preset_settings: Settings) -> None:
    settings = preset_settings("state_sm")
    backbone = settings.backbone
    assert (backbone.key, backbone.causal) == ("llama", False)
    assert (settings.hidden_dim, settings.cell_set_len) == (672, 128)
    assert (backbone.n_layers, backbone.n_heads, backbone.head_dim) == (4, 8, 84)
    assert (backbone.intermediate_dim, backbone.norm_eps) == (2688, 1e-6)
    assert not settings.use_basal_projection
    assert settings.predict_residual


@pytest.mark.parametrize("preset", ["pertsets", "state_sm"])
def test_presets_train_with_the_energy_distance(preset_kwargs: Kwargs, preset: str) -> None:
    assert set_loss(preset_kwargs(preset)) == SetLoss(loss="energy", blur=0.05)


def test_a_decoder_is_built_for_embeddings_unless_gene_decoder_bool_says_no(
    preset_kwargs: Kwargs,
) -> None:
    def decoder_of(preset: str, **kwargs: Any) -> GeneDecoderSettings | None:
        return state_transition_settings(
            preset_kwargs(preset) | kwargs, input_dim=9, output_dim=9, pert_dim=4,
            output_space="embedding", expression_output=False, n_genes=30,
        ).gene_decoder  # fmt: skip

    decoder = decoder_of("pertsets", decoder_hidden_dims=[8, 6])
    assert decoder is not None
    assert (decoder.n_genes, decoder.hidden_dims, decoder.residual) == (30, (8, 6), False)
    residual = decoder_of("pertsets", residual_decoder=True)
    assert residual is not None
    assert (residual.hidden_dims, residual.residual) == ((1024, 1024, 512), True)
    assert decoder_of("state_sm") is None


@pytest.mark.parametrize("key", ["nb_decoder", "finetune_vci_decoder"])
def test_what_is_not_built_is_refused_by_its_key(preset_settings: Settings, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"model\.kwargs\.{key} is True"):
        preset_settings("state_sm", **{key: True})


@pytest.mark.parametrize("key", ["confidence_token", "confidence_head"])
def test_either_name_of_the_confidence_token_asks_for_it(
    preset_settings: Settings, key: str
) -> None:
    assert preset_settings("state_sm", **{key: True}).confidence_token
    assert not preset_settings("state_sm").confidence_token


def test_use_batch_token_names_the_batches_of_the_data(preset_settings: Settings) -> None:
    assert preset_settings("state_sm", use_batch_token=True).batch_token_classes == 3
    with pytest.raises(ConfigError, match="choose one of them"):
        preset_settings("state_sm", use_batch_token=True, batch_encoder=True)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"hiden_dim": 3}, "no model reads: hiden_dim"),
        ({"hidden_dim": None}, "hidden_dim is missing"),
        ({"cell_set_len": "128"}, "cell_set_len is '128'"),
        ({"predict_residual": "yes"}, "predict_residual is 'yes'"),
        ({"transformer_backbone_key": "mamba"}, "'mamba'"),
        ({"hidden_dim": 64}, "hidden_size is 672, but model.kwargs.hidden_dim is 64"),
        ({"dropout": 2.0}, "dropout is 2.0"),
    ],
)
def test_config_errors_name_the_key_and_what_was_found(
    preset_settings: Settings, override: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        preset_settings("state_sm", **override)


@pytest.mark.parametrize(
    ("preset", "name", "value", "message"),
    [
        ("state_sm", "use_rotary_embeddings", True, "use_rotary_embeddings is True"),
        ("state_sm", "hidden_dropout", 0.1, "hidden_dropout is 0.1"),
        ("state_sm", "n_layer", 4, "no model reads: n_layer"),
        ("pertsets", "num_hidden_layers", 4, "no model reads: num_hidden_layers"),
        ("pertsets", "n_embd", 64, "n_embd is 64, but model.kwargs.hidden_dim is 328"),
        ("pertsets", "n_head", 7, "hidden_dim = n_heads × head_dim"),
    ],
)
def test_backbone_kwargs_are_read_or_refused_by_name(
    preset_kwargs: Kwargs, preset_settings: Settings, preset: str, name: str, value: object,
    message: str,
) -> None:  # fmt: skip
    backbone = preset_kwargs(preset)["transformer_backbone_kwargs"] | {name: value}
    with pytest.raises(ConfigError, match=message):
        preset_settings(preset, transformer_backbone_kwargs=backbone)


def test_bidirectional_attention_false_asks_for_causal_attention(
    preset_kwargs: Kwargs, preset_settings: Settings
) -> None:
    backbone = preset_kwargs("state_sm")["transformer_backbone_kwargs"]
    causal = backbone | {"bidirectional_attention": False}
    assert preset_settings("state_sm", transformer_backbone_kwargs=causal).backbone.causal


@pytest.mark.parametrize("key", ["batch_encoder", "use_batch_token"])
def test_parts_that_need_technical_batches_are_refused_without(
    preset_kwargs: Kwargs, key: str
) -> None:
    with pytest.raises(ConfigError, match=rf"{key} is true"):
        state_transition_settings(
            preset_kwargs("state_sm") | {key: True}, input_dim=9, output_dim=9,
            pert_dim=4, output_space="all", expression_output=True,
        )  # fmt: skip


def test_an_unknown_loss_is_a_config_error(preset_kwargs: Kwargs) -> None:
    with pytest.raises(ConfigError, match="'emd'"):
        set_loss(preset_kwargs("state_sm") | {"loss": "emd"})
