"""Every option of the group ``model`` of this repository: its size, its sets, its parameters."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from workflow_scripts.models import (
    SetLoss,
    StateTransition,
    StateTransitionSettings,
    objective,
    state_transition_settings,
)
from workflow_scripts.settings.compose import compose
from workflow_scripts.settings.config_files import options_of

CONFIG = Path(__file__).parents[2] / "config"
PRESETS = options_of(CONFIG, "model")
N_GENES, PERT_DIM, N_BATCHES = 24, 6, 3

# Of the reference: cells a set, width, layers, heads, width of a head, of the MLP, encoder layers.
SIZES = {
    "pertsets": (512, 328, 8, 8, 41, 4 * 328, 4),
    "state": (512, 768, 8, 12, 64, 3072, 1),
    "state_lg": (512, 1488, 6, 12, 124, 5952, 4),
    "state_sm": (128, 672, 4, 8, 84, 2688, 4),
    "state_tahoe": (256, 1440, 4, 12, 120, 4416, 4),
}


def kwargs_of(preset: str) -> dict[str, Any]:
    kwargs: dict[str, Any] = compose(CONFIG, "config", [], [f"model={preset}"])["model"]["kwargs"]
    return kwargs


def settings_of(kwargs: dict[str, Any], output_space: str = "all") -> StateTransitionSettings:
    return state_transition_settings(
        kwargs,
        input_dim=N_GENES,
        output_dim=N_GENES,
        pert_dim=PERT_DIM,
        output_space=output_space,
        expression_output=output_space != "embedding",
        n_batches=N_BATCHES,
        n_genes=11 if output_space == "embedding" else None,
    )


def small_kwargs(preset: str) -> dict[str, Any]:
    """Return the preset with its depth in the encoders, 32 wide and 2 layers of 4 heads."""
    kwargs = kwargs_of(preset)
    backbone = dict(kwargs["transformer_backbone_kwargs"])
    widths = {"hidden_size": 32, "n_embd": 32, "intermediate_size": 64, "head_dim": 8}
    depths = {"num_hidden_layers": 2, "n_layer": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4, "n_head": 4}
    backbone |= {k: v for k, v in (widths | depths | heads).items() if k in backbone}
    return kwargs | {"hidden_dim": 32, "transformer_backbone_kwargs": backbone}


def inputs(sets: int, cells: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    control = torch.rand(sets, cells, N_GENES, generator=generator)
    return control, torch.randn(sets, PERT_DIM, generator=generator)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_have_the_sizes_of_the_reference(preset: str) -> None:
    settings = settings_of(kwargs_of(preset))
    backbone = settings.backbone
    if settings.backbone_key == "GPT2":
        sizes = [backbone[name] for name in ("n_layer", "n_head", "n_inner")]
        sizes.insert(2, settings.hidden_dim // backbone["n_head"])
    else:
        names = ("num_hidden_layers", "num_attention_heads", "head_dim", "intermediate_size")
        sizes = [backbone[name] for name in names]
    found = (settings.cell_set_len, settings.hidden_dim, *sizes, settings.n_encoder_layers)
    assert found == SIZES[preset]
    assert not settings.causal


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_permutation_equivariant_at_their_full_size(preset: str) -> None:
    torch.manual_seed(0)
    # Expression would hide what is negative behind its ReLU.
    settings = replace(settings_of(kwargs_of(preset)), expression_output=False)
    model = StateTransition(settings).eval()
    control, features = inputs(2, 16)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before, after = model(control, features), model(control[:, order], features)
    assert_close(after, before[:, order], rtol=0, atol=1e-5)


@pytest.mark.parametrize("preset", PRESETS)
def test_no_preset_has_a_weight_as_long_as_a_vocabulary(preset: str) -> None:
    with torch.device("meta"):
        model = StateTransition(settings_of(kwargs_of(preset)))
    settings = model.settings
    inner = settings.backbone.get("intermediate_size") or settings.backbone["n_inner"]
    widest = max(max(weight.shape) for weight in model.state_dict().values())
    # GPT2 keeps queries, keys and values in one matrix.
    assert widest <= max(3 * settings.hidden_dim, inner)


STRUCTURES = {
    repr(settings_of(small_kwargs(preset) | {"cell_set_len": 1})): preset for preset in PRESETS
}
"""One preset of each structure: at this size, the others differ from it by nothing but a name."""

PARTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "batch_encoder": {"batch_encoder": True},
    "batch_token": {"use_batch_token": True},
    "confidence_token": {"confidence_token": True},
    "both_tokens": {"use_batch_token": True, "confidence_token": True},
    "residual_decoder": {"gene_decoder_bool": True, "residual_decoder": True},
    "no_decoder": {"gene_decoder_bool": False},
    "mask_attn": {"mask_attn": True},
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("preset", STRUCTURES.values())
def test_every_parameter_gets_a_gradient_whatever_is_chosen(preset: str, part: str) -> None:
    for output_space, residual, projection in itertools.product(
        ("gene", "all", "embedding"), (False, True), (False, True)
    ):
        chosen = {
            "gene_decoder_bool": True,
            "predict_residual": residual,
            "use_basal_projection": projection,
            "decoder_hidden_dims": [12, 12, 8],
        }
        torch.manual_seed(0)
        kwargs = small_kwargs(preset) | chosen | PARTS[part]
        model = StateTransition(settings_of(kwargs, output_space))
        if model.confidence_token is not None:  # so narrow a head may start below its ReLU
            torch.nn.init.constant_(model.confidence_token.head[-2].bias, 5.0)
        control, features = inputs(3, 7)
        expression = None if model.gene_decoder is None else torch.rand(3, 7, 11)
        batch = torch.tensor([[0], [1], [2]]).expand(3, 7)
        objective(
            model, SetLoss(), control=control, features=features, batch=batch,
            observed=control.flip(0) + 0.1, expression=expression,
        ).total.backward()  # fmt: skip
        without = [
            name
            for name, parameter in model.named_parameters()
            if parameter.grad is None or not parameter.grad.any()
        ]
        if part == "mask_attn":
            # A cell that sees itself alone weighs itself by 1, whatever its query and key are.
            without = [
                name for name in without if not name.endswith(("q_proj.weight", "k_proj.weight"))
            ]
        assert without == [], (output_space, chosen)
