from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close
from transformers import GPT2Config, GPT2Model, LlamaConfig, LlamaModel

from workflow_scripts.models import StateTransition, StateTransitionSettings

Settings = Callable[..., StateTransitionSettings]
GPT2: dict[str, Any] = {
    "backbone_key": "GPT2",
    "backbone": {
        **{"n_layer": 2, "n_head": 4, "n_inner": 96},
        **{"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0},
    },
}
LLAMA: dict[str, Any] = {
    "backbone_key": "llama",
    "backbone": {
        **{"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2},
        **{"head_dim": 6, "intermediate_size": 20, "attention_dropout": 0.0},
    },
}
BACKBONES = pytest.mark.parametrize("kind", [LLAMA, GPT2], ids=["llama", "GPT2"])


def states_after(model: StateTransition, states: torch.Tensor) -> torch.Tensor:
    mask = model._mask(states)
    return model.transformer_backbone(inputs_embeds=states, attention_mask=mask).last_hidden_state


def test_causal_llama_is_transformers_llama_with_rotary_positions(small_settings: Settings) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2, hidden_size=24, intermediate_size=20, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=6,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
    )  # fmt: skip
    theirs = LlamaModel(config).eval()
    ours = StateTransition(small_settings(hidden_dim=24, causal=True, **LLAMA)).eval()
    weights = {k: v for k, v in theirs.state_dict().items() if k != "embed_tokens.weight"}
    ours.transformer_backbone.load_state_dict(weights)
    states = torch.randn(3, 9, 24)
    expected = theirs(inputs_embeds=states, use_cache=False).last_hidden_state
    assert_close(states_after(ours, states), expected)


def test_causal_gpt2_is_transformers_gpt2_without_positions(small_settings: Settings) -> None:
    torch.manual_seed(0)
    theirs = GPT2Model(GPT2Config(vocab_size=2, n_positions=9, n_embd=24, n_layer=2, n_head=4))
    torch.nn.init.zeros_(theirs.wpe.weight)
    ours = StateTransition(small_settings(hidden_dim=24, causal=True, **GPT2)).eval()
    embeddings = {"wte.weight", "wpe.weight"}
    weights = {k: v for k, v in theirs.state_dict().items() if k not in embeddings}
    ours.transformer_backbone.load_state_dict(weights)
    states = torch.randn(3, 9, 24)
    expected = theirs.eval()(inputs_embeds=states, use_cache=False).last_hidden_state
    assert_close(states_after(ours, states), expected)


@BACKBONES
def test_attention_goes_through_torchs_fused_kernel(
    small_settings: Settings, kind: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[bool] = []
    fused = torch.nn.functional.scaled_dot_product_attention

    def counted(*args: object, is_causal: bool = False, **kwargs: object) -> torch.Tensor:
        calls.append(is_causal)
        return fused(*args, is_causal=is_causal, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counted)
    states_after(StateTransition(small_settings(hidden_dim=24, **kind)), torch.randn(1, 3, 24))
    assert calls == [False, False]


@BACKBONES
def test_initial_weights_are_those_of_transformers(
    small_settings: Settings, kind: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    model = StateTransition(small_settings(hidden_dim=512, **kind))
    deep = 0.02 / 4**0.5  # GPT2: by the square root of twice its two layers
    for name, weight in model.transformer_backbone.state_dict().items():
        if weight.ndim == 2:
            expected = deep if name.endswith("c_proj.weight") else 0.02
            assert weight.std().item() == pytest.approx(expected, rel=0.05)
        else:
            assert torch.equal(weight, torch.full_like(weight, float("bias" not in name)))


def test_baselines_import_no_transformers() -> None:
    program = (
        "import sys, workflow_scripts.models, workflow_scripts.prediction.baselines; "
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    command, root = [sys.executable, "-c", program], Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout == "True False\n"
