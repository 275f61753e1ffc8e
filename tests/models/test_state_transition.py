from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from workflow_scripts.models import (
    GeneDecoderSettings,
    StateTransition,
    StateTransitionSettings,
    energy_distance,
)

Settings = Callable[..., StateTransitionSettings]
PRESETS = ["pertsets", "state_sm", "small_pertsets", "small_state_sm"]


def inputs(settings: StateTransitionSettings, sets: int = 2, cells: int = 7) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    control = torch.rand(sets, cells, settings.input_dim, generator=generator)
    return control, torch.randn(sets, settings.pert_dim, generator=generator)


def model_of(settings: StateTransitionSettings) -> StateTransition:
    torch.manual_seed(0)
    return StateTransition(settings).eval()


# --- the seed's two adjustments -----------------------------------------------------------------


def test_use_basal_projection_false_encodes_control_cells_by_one_linear(
    small_settings: Settings,
) -> None:
    """The seed's adjustment 1: `model.kwargs.use_basal_projection: false`."""
    simple = model_of(small_settings(use_basal_projection=False, n_encoder_layers=4))
    assert isinstance(simple.basal_encoder, nn.Linear)
    a, b = torch.rand(1, 3, 24), torch.rand(1, 3, 24)
    bias = simple.basal_encoder(torch.zeros(1, 3, 24))
    together = simple.basal_encoder(a + b)
    assert_close(together, simple.basal_encoder(a) + simple.basal_encoder(b) - bias)

    deep = model_of(small_settings(use_basal_projection=True, n_encoder_layers=4))
    assert sum(isinstance(module, nn.Linear) for module in deep.basal_encoder.modules()) == 4


def test_predict_residual_adds_the_control_cell_in_expression_space(
    small_settings: Settings,
) -> None:
    """The seed's adjustment 2: `model.kwargs.predict_residual: true`, for `output_space: all`."""
    model = model_of(small_settings(predict_residual=True, output_space="all"))
    silence(model.project_out)
    control, features = inputs(model.settings)
    assert model.final_down_then_up is not None
    assert_close(model(control, features), model.final_down_then_up(control).relu())


# --- the other output spaces --------------------------------------------------------------------


@pytest.mark.parametrize("output_space", ["gene", "embedding"])
def test_residual_of_other_output_spaces_lives_in_the_hidden_state(
    small_settings: Settings, output_space: str
) -> None:
    model = model_of(small_settings(output_space=output_space, expression_output=False))
    silence(model.transformer_backbone)
    control, features = inputs(model.settings)
    assert model.final_down_then_up is None
    assert_close(model(control, features), model.project_out(model.basal_encoder(control)))


@pytest.mark.parametrize("output_space", ["gene", "all", "embedding"])
def test_without_residual_the_output_is_the_decoded_state_alone(
    small_settings: Settings, output_space: str
) -> None:
    model = model_of(
        small_settings(output_space=output_space, predict_residual=False, expression_output=False)
    )
    silence(model.transformer_backbone)
    control, features = inputs(model.settings)
    assert_close(model(control, features), model.project_out(torch.zeros(2, 7, 16)))


def test_expression_is_never_negative_and_embeddings_may_be(small_settings: Settings) -> None:
    control, features = inputs(small_settings())
    expression = model_of(small_settings(output_space="gene"))(control, features)
    embedding = model_of(small_settings(output_space="gene", expression_output=False))(
        control, features
    )
    assert (embedding < 0).any()
    assert_close(expression, embedding.relu())


def test_gene_decoder_decodes_embeddings_into_expression(small_settings: Settings) -> None:
    decoder = GeneDecoderSettings(n_genes=11, hidden_dims=(9, 7))
    settings = small_settings(
        output_space="embedding", expression_output=False, gene_decoder=decoder
    )
    model = model_of(settings)
    decoded = model.decode(model(*inputs(settings)))
    assert decoded.shape == (2, 7, 11)
    assert (decoded >= 0).all()
    assert (decoded > 0).any()


def test_decoding_without_a_gene_decoder_is_refused(small_settings: Settings) -> None:
    with pytest.raises(ValueError, match="no gene decoder"):
        model_of(small_settings()).decode(torch.zeros(1, 2, 24))


# --- sets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_predicts_the_same_cells_whatever_their_order(
    preset_settings: Settings, preset: str
) -> None:
    model = model_of(preset_settings(preset))
    control, features = inputs(model.settings, cells=16)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert_close(
            model(control[:, order], features), model(control, features)[:, order],
            rtol=0, atol=1e-6,
        )  # fmt: skip


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_lets_every_cell_see_every_other(preset_settings: Settings, preset: str) -> None:
    # Expression would hide changes behind its ReLU.
    settings = replace(preset_settings(preset), expression_output=False)
    model = model_of(settings)
    control, features = inputs(settings, sets=1, cells=4)
    control.requires_grad_()
    for cell in range(4):
        prediction = model(control, features)
        (gradient,) = torch.autograd.grad(prediction[0, cell].square().sum(), control)
        assert (gradient[0].abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize("preset", ["small_pertsets", "small_state_sm"])
def test_causal_flag_lets_a_cell_see_only_those_before_it(
    preset_settings: Settings, preset: str
) -> None:
    full = replace(preset_settings(preset), expression_output=False)
    model = model_of(replace(full, causal=True))
    control, features = inputs(full)
    changed = control.clone()
    changed[:, 4:] += 1
    before, after = model(control, features), model(changed, features)
    assert_close(after[:, :4], before[:, :4])
    assert not torch.allclose(after[:, 4:], before[:, 4:])


@pytest.mark.parametrize("preset", ["small_pertsets", "small_state_sm"])
def test_mask_attn_lets_each_cell_see_itself_alone(preset_settings: Settings, preset: str) -> None:
    model = model_of(preset_settings(preset, mask_attn=True))
    control, features = inputs(model.settings)
    alone = torch.cat([model(control[:, [i]], features) for i in range(7)], dim=1)
    assert_close(model(control, features), alone)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_parameter_of_a_preset_gets_a_gradient(
    preset_settings: Settings, preset: str
) -> None:
    model = model_of(preset_settings(preset)).train()
    control, features = inputs(model.settings)
    energy_distance(model(control, features), control.flip(0)).mean().backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert without == []


# --- inputs -------------------------------------------------------------------------------------


def test_features_of_a_set_equal_the_same_features_at_each_cell(small_settings: Settings) -> None:
    model = model_of(small_settings())
    control, features = inputs(model.settings)
    repeated = features[:, None].expand(-1, 7, -1)
    assert_close(model(control, features), model(control, repeated))


def test_batch_encoder_adds_the_embedding_of_each_cells_technical_batch(
    small_settings: Settings,
) -> None:
    settings = small_settings(n_batches=3, expression_output=False)
    model = model_of(settings)
    control, features = inputs(settings)
    seen: list[Tensor] = []
    model.transformer_backbone.register_forward_pre_hook(
        lambda _, args, given: seen.append(given["inputs_embeds"]), with_kwargs=True
    )
    batch = torch.tensor([[0, 1, 2, 0, 1, 2, 0], [2, 2, 2, 2, 2, 2, 2]])
    model(control, features, batch)
    model(control, features, torch.zeros_like(batch))
    assert model.batch_encoder is not None
    embedding = model.batch_encoder.weight
    assert_close(seen[0] - seen[1], embedding[batch] - embedding[0])


def test_batch_encoder_without_batches_is_refused(small_settings: Settings) -> None:
    settings = small_settings(n_batches=3)
    with pytest.raises(ValueError, match="technical batches"):
        model_of(settings)(*inputs(settings))


def test_widths_that_differ_from_the_settings_are_named(small_settings: Settings) -> None:
    model = model_of(small_settings())
    control, features = inputs(model.settings)
    with pytest.raises(ValueError, match=r"23 wide.*24 \(input_dim\)"):
        model(control[..., :23], features)
    with pytest.raises(ValueError, match=r"5 wide.*6 \(pert_dim\)"):
        model(control, features[..., :5])


@pytest.mark.parametrize(
    ("control", "features", "batch", "message"),
    [
        ((2, 7, 24), (1, 6), (2, 7), r"found \(2, 7, 24\) and \(1, 6\)"),
        ((1, 7, 24), (2, 6), (1, 7), r"found \(1, 7, 24\) and \(2, 6\)"),
        ((2, 7, 24), (2, 1, 6), (2, 7), "of the same sets"),
        ((7, 24), (7, 6), (7,), "of the same sets"),
        ((2, 7, 24), (2, 6), (2,), r"\[sets, cells\].* found \(2,\) for"),
        ((2, 7, 24), (2, 6), (1, 7), r"\[sets, cells\].* found \(1, 7\) for"),
    ],
)
def test_shapes_that_torch_would_stretch_are_refused(
    small_settings: Settings,
    control: tuple[int, ...],
    features: tuple[int, ...],
    batch: tuple[int, ...],
    message: str,
) -> None:
    model = model_of(small_settings(n_batches=3))
    given = torch.rand(control), torch.rand(features), torch.zeros(batch, dtype=torch.long)
    with pytest.raises(ValueError, match=message):
        # Called as it is, the annotations, which are checked while tests run, would refuse first.
        model._check_inputs(*given)


def test_predictions_repeat_bit_for_bit(preset_settings: Settings) -> None:
    model = model_of(preset_settings("state_sm"))
    control, features = inputs(model.settings)
    assert torch.equal(model(control, features), model(control, features))


# --- settings -----------------------------------------------------------------------------------


def test_settings_survive_json(small_settings: Settings) -> None:
    settings = small_settings(gene_decoder=GeneDecoderSettings(n_genes=5, hidden_dims=(3, 2)))
    for written in (settings.to_dict(), asdict(settings)):
        assert StateTransitionSettings.from_dict(json.loads(json.dumps(written))) == settings


def test_unknown_and_missing_settings_are_named(small_settings: Settings) -> None:
    values = small_settings().to_dict()
    with pytest.raises(ValueError, match="n_heads_typo"):
        StateTransitionSettings.from_dict(values | {"n_heads_typo": 3})
    for name in ("backbone", "hidden_dim"):
        fewer = {key: value for key, value in values.items() if key != name}
        with pytest.raises(ValueError, match=name):
            StateTransitionSettings.from_dict(fewer)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"output_dim": 30}, "input_dim=24 and output_dim=30"),
        ({"input_dim": 7, "output_dim": 7}, "output_dim ≥ 8"),
        ({"n_encoder_layers": 0}, "n_encoder_layers is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"n_batches": 0}, "n_batches is 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    small_settings: Settings, override: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        small_settings(**override)


def silence(module: nn.Module) -> None:
    """Make a part's output zero: the last weights it applies."""
    last = list(module.parameters())[-2:] if isinstance(module, nn.Sequential) else []
    for parameter in last or [module.norm.weight]:
        nn.init.zeros_(parameter)
