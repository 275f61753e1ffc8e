"""Tokens beside the cells: what they say, what trains them, and that cells stay a set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from workflow_scripts.models import (
    GeneDecoderSettings,
    SetLoss,
    StateTransition,
    StateTransitionSettings,
    energy_distance,
    objective,
)

Settings = Callable[..., StateTransitionSettings]
TOKENS: dict[str, dict[str, Any]] = {
    "batch": {"batch_token_classes": 3},
    "confidence": {"confidence_token": True},
    "both": {"batch_token_classes": 3, "confidence_token": True},
}


def model_of(settings: StateTransitionSettings) -> StateTransition:
    torch.manual_seed(0)
    return StateTransition(settings).eval()


def sets_of(settings: StateTransitionSettings, sets: int = 2, cells: int = 7) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "control": torch.rand(sets, cells, settings.input_dim, generator=generator),
        "features": torch.randn(sets, settings.pert_dim, generator=generator),
        "batch": torch.tensor([[2], [0]])[:sets].expand(sets, cells),
    }


def observed_of(settings: StateTransitionSettings, sets: int = 2, cells: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(sets, cells, settings.output_dim, generator=generator)


@pytest.mark.parametrize("tokens", TOKENS)
def test_cells_attend_to_the_tokens_and_stay_a_set(small_settings: Settings, tokens: str) -> None:
    settings = small_settings(**TOKENS[tokens], expression_output=False)
    model, given = model_of(settings), sets_of(settings)
    before = model.outputs(**given)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    shuffled = model.outputs(given["control"][:, order], given["features"])
    assert before.prediction.shape == (2, 7, 24)
    assert_close(shuffled.prediction, before.prediction[:, order], rtol=0, atol=1e-6)
    for token in (model.batch_token, model.confidence_token):
        if token is not None:
            with torch.no_grad():
                token.token += 1.0
            assert not torch.allclose(model(**given), before.prediction, atol=1e-4)


@pytest.mark.parametrize("tokens", TOKENS)
def test_the_return_of_a_call_is_the_prediction_alone(
    small_settings: Settings, tokens: str
) -> None:
    settings = small_settings(**TOKENS[tokens])
    model, given = model_of(settings), sets_of(settings)
    assert torch.equal(model(**given), model.outputs(**given).prediction)


def test_what_a_token_says_depends_on_its_set_alone(small_settings: Settings) -> None:
    settings = small_settings(**TOKENS["both"])
    model, given = model_of(settings), sets_of(settings)
    both = model.outputs(**given)
    first = model.outputs(given["control"][:1], given["features"][:1])
    assert both.batch_logits is not None
    assert first.batch_logits is not None
    assert both.confidence is not None
    assert first.confidence is not None
    assert both.batch_logits.shape == (2, 3)
    assert_close(both.batch_logits[:1], first.batch_logits)
    assert_close(both.confidence[:1], first.confidence)
    assert not torch.allclose(both.batch_logits[0], both.batch_logits[1])


def test_confidence_is_read_through_two_narrowing_layers_and_a_relu(
    small_settings: Settings,
) -> None:
    model = model_of(small_settings(confidence_token=True))
    assert model.confidence_token is not None
    kinds = [type(module) for module in model.confidence_token.head]
    layer = [nn.Linear, nn.LayerNorm, nn.GELU, nn.Dropout]
    assert kinds == [*layer, *layer, nn.Linear, nn.ReLU]
    linear = [part for part in model.confidence_token.head if isinstance(part, nn.Linear)]
    assert [(part.in_features, part.out_features) for part in linear] == [(16, 8), (8, 4), (4, 1)]


def test_causal_attention_shows_the_batch_token_to_all_cells_and_all_cells_to_confidence(
    small_settings: Settings,
) -> None:
    full = small_settings(**TOKENS["both"], expression_output=False)
    settings = replace(full, causal=True)
    model, given = model_of(settings), sets_of(settings)
    control = given["control"].clone()
    control[:, -1] += 1.0
    before, after = model.outputs(**given), model.outputs(control, given["features"])
    assert before.batch_logits is not None
    assert after.batch_logits is not None
    assert_close(after.batch_logits, before.batch_logits)
    assert before.confidence is not None
    assert after.confidence is not None
    assert not torch.allclose(after.confidence, before.confidence)
    assert_close(after.prediction[:, :-1], before.prediction[:, :-1])


# --- what trains them ---------------------------------------------------------------------------


def test_the_total_is_the_set_loss_plus_a_tenth_of_the_cross_entropy(
    small_settings: Settings,
) -> None:
    settings = small_settings(batch_token_classes=3)
    model, given = model_of(settings), sets_of(settings)
    losses = objective(model, SetLoss(), **given, observed=observed_of(settings))
    logits = model.outputs(**given).batch_logits
    assert logits is not None
    entropy = nn.functional.cross_entropy(logits, torch.tensor([2, 0]))
    assert_close(losses.total, losses.per_set.mean() + 0.1 * entropy)


def test_controls_of_several_batches_each_count_for_their_part(small_settings: Settings) -> None:
    settings = small_settings(batch_token_classes=3)
    model, given = model_of(settings), sets_of(settings, sets=1)
    observed = observed_of(settings, sets=1)
    mixed = torch.tensor([[0, 0, 0, 0, 1, 1, 2]])
    losses = objective(model, SetLoss(), **given | {"batch": mixed}, observed=observed)
    logits = model.outputs(**given).batch_logits
    assert logits is not None
    shares = torch.tensor([[4 / 7, 2 / 7, 1 / 7]])
    entropy = nn.functional.cross_entropy(logits, shares)
    assert_close(losses.total, losses.per_set.mean() + 0.1 * entropy)


def test_confidence_learns_ten_times_the_loss_and_passes_it_no_gradient(
    small_settings: Settings,
) -> None:
    settings = small_settings(confidence_token=True)
    model, given = model_of(settings), sets_of(settings)
    observed = observed_of(settings)
    losses = objective(model, SetLoss(), **given, observed=observed)
    confidence = model.outputs(**given).confidence
    assert confidence is not None
    error = (confidence - 10 * losses.per_set.detach()).square().mean()
    assert_close(losses.total, losses.per_set.mean() + 0.01 * error)

    weight = model.project_out[-1].weight
    (with_token,) = torch.autograd.grad(losses.total, weight, retain_graph=True)
    (alone,) = torch.autograd.grad(losses.per_set.mean(), weight)
    assert_close(with_token, alone)


def test_a_set_without_a_value_teaches_confidence_nothing(small_settings: Settings) -> None:
    settings = small_settings(confidence_token=True)
    model, given = model_of(settings), sets_of(settings)
    observed = observed_of(settings)
    observed[0, 0, 0] = torch.nan
    losses = objective(model, SetLoss(), **given, observed=observed)
    confidence = model.outputs(**given).confidence
    assert confidence is not None
    error = (confidence[1] - 10 * losses.per_set[1].detach()).square()
    assert_close(losses.total, losses.per_set[1] + 0.01 * error)
    losses.total.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("residual", [False, True])
def test_the_gene_decoder_learns_by_the_same_loss_on_expression(
    small_settings: Settings, residual: bool
) -> None:
    decoder = GeneDecoderSettings(n_genes=11, hidden_dims=(9, 9, 7), residual=residual)
    settings = small_settings(
        output_space="embedding", expression_output=False, gene_decoder=decoder
    )
    model, given = model_of(settings), sets_of(settings)
    observed, expression = observed_of(settings), torch.rand(2, 7, 11)
    losses = objective(model, SetLoss(), **given, observed=observed, expression=expression)
    prediction = model(**given)
    assert_close(losses.per_set, energy_distance(prediction, observed))
    decoded = energy_distance(model.decode(prediction), expression)
    assert_close(losses.total, losses.per_set.mean() + decoded.mean())
    with pytest.raises(ValueError, match="needs `expression`"):
        objective(model, SetLoss(), **given, observed=observed)


def test_every_odd_layer_of_a_residual_decoder_adds_the_output_of_the_one_before(
    small_settings: Settings,
) -> None:
    decoder = GeneDecoderSettings(n_genes=11, hidden_dims=(8, 8, 6, 6), residual=True)
    settings = small_settings(
        output_space="embedding", expression_output=False, gene_decoder=decoder
    )
    model = model_of(settings)
    assert model.gene_decoder is not None
    blocks, last = model.gene_decoder.blocks, model.gene_decoder.final_layer
    embedding = torch.randn(2, 7, 24)
    first = blocks[0](embedding)
    second = blocks[1](first) + first
    third = blocks[2](second)
    assert_close(model.decode(embedding), last(blocks[3](third) + third))
    with pytest.raises(ValueError, match=r"as wide as the one before.*\(8, 6\)"):
        GeneDecoderSettings(n_genes=11, hidden_dims=(8, 6), residual=True)


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"batch_token_classes": 0}, "batch_token_classes is 0"),
        ({"batch_token_classes": 3, "n_batches": 3}, "choose one of them"),
        ({"relu_on_embeddings": True}, "the output is expression"),
    ],
)
def test_tokens_that_do_not_fit_are_refused(
    small_settings: Settings, override: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        small_settings(**override)


def test_relu_on_embeddings_zeroes_their_negative_half(small_settings: Settings) -> None:
    """The reference's defect without a decoder; imported checkpoints alone have the flag."""
    whole = small_settings(output_space="embedding", expression_output=False)
    cut = replace(whole, relu_on_embeddings=True)
    given = sets_of(whole)
    embedding = model_of(whole)(**given)
    assert (embedding < 0).any()
    assert_close(model_of(cut)(**given), embedding.relu())
