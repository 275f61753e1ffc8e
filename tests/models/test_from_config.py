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
    assert (settings.backbone_key, settings.causal) == ("GPT2", False)
    assert (settings.hidden_dim, settings.cell_set_len) == (328, 512)
    dropped = dict.fromkeys(("attn_pdrop", "resid_pdrop", "embd_pdrop"), 0.0)
    assert settings.backbone == {"n_layer": 8, "n_head": 8, "n_inner": 4 * 328, **dropped}
    assert not settings.use_basal_projection
    assert settings.predict_residual


def test_state_sm_is_a_full_attention_llama_as_the_seed_sizes_it(preset_settings: Settings) -> None:
    settings = preset_settings("state_sm")
    assert (settings.backbone_key, settings.causal) == ("llama", False)
    assert (settings.hidden_dim, settings.cell_set_len) == (672, 128)
    assert settings.backbone == {
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "head_dim": 84,
        "intermediate_size": 2688,
        "attention_dropout": 0.0,
    }
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


def test_bidirectional_attention_false_asks_for_causal_attention(
    preset_kwargs: Kwargs, preset_settings: Settings
) -> None:
    backbone = preset_kwargs("state_sm")["transformer_backbone_kwargs"]
    causal = backbone | {"bidirectional_attention": False}
    assert preset_settings("state_sm", transformer_backbone_kwargs=causal).causal


@pytest.mark.parametrize("key", ["batch_encoder", "use_batch_token"])
def test_parts_that_need_technical_batches_are_refused_without(
    preset_kwargs: Kwargs, key: str
) -> None:
    with pytest.raises(ConfigError, match=rf"{key} is true"):
        state_transition_settings(
            preset_kwargs("state_sm") | {key: True}, input_dim=9, output_dim=9,
            pert_dim=4, output_space="all", expression_output=True,
        )  # fmt: skip
