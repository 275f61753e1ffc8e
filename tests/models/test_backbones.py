from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close
from transformers import GPT2Config, GPT2Model, LlamaConfig, LlamaModel

from workflow_scripts.models.backbone_settings import BackboneSettings
from workflow_scripts.models.backbones import build_backbone

LLAMA = BackboneSettings(
    key="llama",
    hidden_dim=24,
    n_layers=2,
    n_heads=4,
    n_key_value_heads=2,
    head_dim=6,
    intermediate_dim=20,
    norm_eps=1e-6,
)
GPT2 = BackboneSettings(
    key="GPT2",
    hidden_dim=24,
    n_layers=2,
    n_heads=4,
    n_key_value_heads=4,
    head_dim=6,
    intermediate_dim=96,
    norm_eps=1e-5,
)


def test_causal_llama_is_transformers_llama_with_rotary_positions() -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2, hidden_size=24, intermediate_size=20, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=6,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
    )  # fmt: skip
    theirs = LlamaModel(config).eval()
    ours = build_backbone(replace(LLAMA, causal=True)).eval()
    weights = {k: v for k, v in theirs.state_dict().items() if k != "embed_tokens.weight"}
    ours.load_state_dict(weights)
    states = torch.randn(3, 9, 24)
    assert_close(ours(states), theirs(inputs_embeds=states, use_cache=False).last_hidden_state)


@pytest.mark.parametrize("masked", [False, True])
def test_full_llama_is_transformers_layers_rotated_by_nothing(masked: bool) -> None:
    torch.manual_seed(0)
    ours = build_backbone(replace(LLAMA, attention_dropout=0.2))
    states = torch.randn(3, 9, 24)
    mask = torch.eye(9, dtype=torch.bool)[None, None] if masked else None
    torch.manual_seed(1)
    given = ours(states, mask)
    torch.manual_seed(1)
    expected = states
    for layer in ours.layers:
        nothing = (torch.ones(1, 1, 1), torch.zeros(1, 1, 1))
        expected = layer(expected, attention_mask=mask, position_embeddings=nothing)
    assert torch.equal(given, ours.norm(expected))


def test_causal_gpt2_is_transformers_gpt2_without_positions() -> None:
    torch.manual_seed(0)
    theirs = GPT2Model(GPT2Config(vocab_size=2, n_positions=9, n_embd=24, n_layer=2, n_head=4))
    torch.nn.init.zeros_(theirs.wpe.weight)
    ours = build_backbone(replace(GPT2, causal=True)).eval()
    embeddings = {"wte.weight", "wpe.weight"}
    ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if k not in embeddings})
    states = torch.randn(3, 9, 24)
    theirs = theirs.eval()
    assert_close(ours(states), theirs(inputs_embeds=states, use_cache=False).last_hidden_state)


@pytest.mark.parametrize("settings", [LLAMA, GPT2], ids=["llama", "GPT2"])
def test_attention_goes_through_torchs_fused_kernel(
    settings: BackboneSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[bool] = []
    fused = torch.nn.functional.scaled_dot_product_attention

    def counted(*args: object, is_causal: bool = False, **kwargs: object) -> torch.Tensor:
        calls.append(is_causal)
        return fused(*args, is_causal=is_causal, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counted)
    build_backbone(settings)(torch.randn(1, 3, 24))
    assert calls == [False] * settings.n_layers


@pytest.mark.parametrize("settings", [LLAMA, GPT2], ids=["llama", "GPT2"])
def test_initial_weights_are_those_of_transformers(settings: BackboneSettings) -> None:
    torch.manual_seed(0)
    wide = replace(settings, hidden_dim=256, head_dim=64, intermediate_dim=256)
    state = build_backbone(wide).state_dict()
    deep = 0.02 / 4**0.5  # GPT2: by the square root of twice its two layers
    for name, weight in state.items():
        if weight.ndim == 2:
            expected = deep if name.endswith("c_proj.weight") else 0.02
            assert weight.std().item() == pytest.approx(expected, rel=0.03)
        else:
            assert torch.equal(weight, torch.full_like(weight, float("bias" not in name)))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"key": "mamba"}, "'mamba'"),
        ({"n_layers": 0}, "n_layers is 0"),
        ({"n_key_value_heads": 3}, "does not divide"),
        ({"residual_dropout": 0.1}, "residual_dropout"),
        ({"key": "GPT2"}, "as many key-value heads"),
    ],
)
def test_backbones_that_do_not_fit_are_refused(override: dict[str, object], message: str) -> None:
    values = {name: getattr(LLAMA, name) for name in LLAMA.__dataclass_fields__}
    with pytest.raises(ValueError, match=message):
        BackboneSettings(**(values | override))


def test_baselines_import_no_transformers() -> None:
    program = (
        "import sys, workflow_scripts.models, workflow_scripts.prediction.baselines; "
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    command, root = [sys.executable, "-c", program], Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout == "True False\n"
