"""Dropout knows its sets: what it drops is the same whichever sets are computed together."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.testing import assert_close

from workflow_scripts.models import BackboneSettings, GeneDecoderSettings, StateTransitionSettings
from workflow_scripts.models.backbones import build_backbone
from workflow_scripts.models.dropout import SetDropout, _mix, kept_elements, key_sets, use_keys
from workflow_scripts.models.state_transition import StateTransition

Settings = Callable[..., StateTransitionSettings]
KEYS = key_sets(7, torch.arange(6))


def dropped(rate: float, keys: torch.Tensor = KEYS, layer: int = 0) -> SetDropout:
    dropout = SetDropout(rate)
    dropout.keys, dropout.layer = keys, layer
    return dropout


def test_random_bits_are_those_of_splitmix64():
    # The published generator with seed 1234567, as many languages' libraries test theirs.
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    step = torch.tensor(0x9E3779B97F4A7C15 - (1 << 64))
    state = torch.tensor(1234567) + torch.arange(1, 5) * step
    assert [value % (1 << 64) for value in _mix(state).tolist()] == known


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_that_is_asked_for_is_dropped_and_the_rest_scaled(rate):
    values = dropped(rate)(torch.ones(6, 100, 401))
    # Six standard deviations of a share of so many independent draws.
    tolerance = 6 * (rate * (1 - rate) / values.numel()) ** 0.5
    assert float((values == 0).float().mean()) == pytest.approx(rate, abs=tolerance)
    assert_close(values.unique(), torch.tensor([0.0, 1 / (1 - rate)]), rtol=1e-4, atol=0)


def test_neighbours_in_a_set_and_sets_and_layers_are_independent():
    first, other = (kept_elements(KEYS, layer, 40_000, 1 << 15).float() for layer in (0, 1))
    rows = torch.cat([first, other, first.roll(1, dims=1)])
    correlation = torch.corrcoef(rows) - torch.eye(len(rows))
    assert float(correlation.abs().max()) < 6 / 40_000**0.5


def test_nothing_and_everything_can_be_dropped():
    values = torch.rand(6, 5)
    assert torch.equal(dropped(0.0)(values), values)
    assert not dropped(1.0)(values).any()
    assert torch.equal(dropped(0.5).eval()(values), values)


def test_without_keys_torch_draws():
    dropout, values = SetDropout(0.5), torch.ones(6, 50)
    torch.manual_seed(1)
    first = dropout(values)
    torch.manual_seed(1)
    assert torch.equal(first, torch.nn.functional.dropout(values, 0.5))


def test_gradient_passes_where_a_value_was_kept():
    values = torch.ones(6, 50, requires_grad=True)
    after = dropped(0.25)(values)
    after.sum().backward()
    assert values.grad is not None
    assert_close(values.grad, after.detach())


def test_seeds_and_sets_have_keys_of_their_own():
    keys = torch.cat([key_sets(seed, torch.arange(1000)) for seed in range(50)])
    assert len(keys.unique()) == len(keys)


@pytest.mark.parametrize(
    "changes",
    [
        {"dropout": 0.3},
        {"dropout": 0.3, "confidence_token": True},
        {"dropout": 0.3, "gene_decoder": GeneDecoderSettings(9, (8, 8)), "output_space": "gene"},
    ],
    ids=["encoders", "tokens", "decoder"],
)
def test_sets_computed_apart_are_those_computed_together(small_settings: Settings, changes):
    torch.manual_seed(0)
    settings = small_settings(**changes)
    model = StateTransition(settings).train()
    control = torch.rand(6, 4, settings.input_dim)
    features = torch.rand(6, settings.pert_dim)

    def said(part: slice) -> torch.Tensor:
        use_keys(model, KEYS[part])
        prediction = model(control[part], features[part])
        return prediction if model.gene_decoder is None else model.decode(prediction)

    together = said(slice(0, 6))
    apart = torch.cat([said(slice(0, 2)), said(slice(2, 3)), said(slice(3, 6))])
    assert_close(apart, together)
    use_keys(model, KEYS.flip(0))
    assert not torch.allclose(model(control, features), model.eval()(control, features))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("key", ["llama", "GPT2"])
def test_dropped_attention_is_the_same_in_sets_computed_apart(key, causal):
    torch.manual_seed(0)
    rates = {"attention_dropout": 0.4}
    if key == "GPT2":
        rates |= {"residual_dropout": 0.2, "embedding_dropout": 0.2}
    kv_heads = 2 if key == "llama" else 4
    backbone = build_backbone(
        BackboneSettings(key, 16, 2, 4, kv_heads, 4, 32, 1e-6, causal=causal, **rates)
    ).train()
    states = torch.rand(6, 5, 16)

    def said(part: slice) -> torch.Tensor:
        use_keys(backbone, KEYS[part])
        return backbone(states[part])

    together = said(slice(0, 6))
    assert_close(torch.cat([said(slice(0, 4)), said(slice(4, 6))]), together)
    assert not torch.allclose(together, backbone.eval()(states))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_whose_dropout_drops_nothing_is_the_fused_one(masked, causal):
    torch.manual_seed(0)
    settings = BackboneSettings("llama", 16, 1, 4, 2, 4, 32, 1e-6, 0.3, causal=causal)
    backbone = build_backbone(settings).train()
    layer = backbone.layers[0].self_attn
    mask = torch.eye(5, dtype=torch.bool)[None, None] if masked else None
    states = torch.rand(6, 5, 16)
    layer.set_dropout.p = 0.0  # the layer asks for dropout, and none is done
    assert_close(backbone(states, mask), backbone.eval()(states, mask))
