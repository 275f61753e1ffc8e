"""A model that starts from another takes what stands for the same, and says what it didn't."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from workflow_scripts.errors import DataError
from workflow_scripts.models import (
    GeneDecoderSettings,
    ModelDescription,
    StateTransition,
    StateTransitionSettings,
)
from workflow_scripts.models.initial_weights import Transfer, take_weights

Settings = Callable[..., StateTransitionSettings]
GENES = [f"GENE{i}" for i in range(24)]


def described(
    genes: Sequence[str] = GENES, perturbations: Sequence[str] = (), batches: Sequence[str] = ()
) -> ModelDescription:
    return ModelDescription(tuple(genes), tuple(perturbations), batches=tuple(batches))


def start(
    here: StateTransitionSettings,
    there: StateTransitionSettings,
    description: ModelDescription | None = None,
    source_description: ModelDescription | None = None,
    *,
    one_hot: bool = False,
) -> tuple[StateTransition, StateTransition, dict[str, Tensor], Transfer]:
    """Return the model, the one it started from, its weights before, and what was taken."""
    torch.manual_seed(0)
    source, model = StateTransition(there), StateTransition(here)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    transfer = take_weights(
        model, description or described(), source, source_description or described(),
        one_hot=one_hot,
    )  # fmt: skip
    names = [*transfer.taken, *transfer.partly, *transfer.fresh]
    assert sorted(names) == sorted(before)
    for name in transfer.fresh:
        assert torch.equal(model.state_dict()[name], before[name])
    for name in transfer.taken:
        assert not torch.equal(model.state_dict()[name], before[name]) or not before[name].std()
    return model, source, before, transfer


def test_a_model_of_the_same_data_is_taken_whole(small_settings: Settings) -> None:
    settings = small_settings(n_batches=2)
    known = described(batches=("a", "b"))
    model, source, _, transfer = start(settings, settings, known, known)
    assert not transfer.partly
    assert not transfer.fresh
    weights = source.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert next(transfer.lines()) == f"{len(weights)} tensors taken, 0 in part, 0 fresh"


def test_genes_are_matched_by_name_and_new_ones_start_fresh(small_settings: Settings) -> None:
    here = [*GENES[20:], *(f"NEW{i}" for i in range(6)), *GENES[:14]]
    settings = small_settings()
    model, source, before, transfer = start(settings, settings, described(here), described())
    old, new = source.state_dict(), model.state_dict()
    for at, gene in enumerate(here):
        kept = gene in GENES
        rows, columns = "project_out.3.weight", "basal_encoder.weight"
        if kept:
            place = GENES.index(gene)
            assert torch.equal(new[rows][at], old[rows][place])
            assert torch.equal(new[columns][:, at], old[columns][:, place])
            assert torch.equal(new["final_down_then_up.2.bias"][at],
                               old["final_down_then_up.2.bias"][place])  # fmt: skip
        else:
            assert torch.equal(new[rows][at], before[rows][at])
            assert torch.equal(new[columns][:, at], before[columns][:, at])
    assert transfer.partly["basal_encoder.weight"] == "18 of 24 genes by name"
    assert sorted(transfer.partly) == [
        "basal_encoder.weight", "final_down_then_up.0.weight", "final_down_then_up.2.bias",
        "final_down_then_up.2.weight", "project_out.3.bias", "project_out.3.weight",
    ]  # fmt: skip
    assert not transfer.fresh


def test_the_same_genes_in_another_order_give_the_same_predictions(
    small_settings: Settings,
) -> None:
    settings = small_settings()
    here = GENES[::-1]
    model, source, _, transfer = start(settings, settings, described(here), described())
    assert not transfer.partly
    control, features = torch.rand(2, 5, 24), torch.randn(2, 6)
    expected = source.eval()(control.flip(2), features).flip(2)
    assert_close(model.eval()(control, features), expected)


def test_another_number_of_genes_squeezes_otherwise_and_keeps_what_it_can(
    small_settings: Settings,
) -> None:
    here = [*GENES, *(f"NEW{i}" for i in range(16))]
    wide = small_settings(input_dim=40, output_dim=40)
    model, source, before, transfer = start(wide, small_settings(), described(here), described())
    old, new = source.state_dict(), model.state_dict()
    name = "final_down_then_up.0.weight"
    assert torch.equal(new[name][:3, :24], old[name])
    assert torch.equal(new[name][3:], before[name][3:])
    assert torch.equal(new[name][:3, 24:], before[name][:3, 24:])
    assert transfer.partly[name] == "3 of 5 squeezed numbers; 24 of 40 genes by name"


def test_genes_without_names_are_taken_in_order_or_refused(small_settings: Settings) -> None:
    settings = small_settings()
    _, _, _, transfer = start(settings, settings, described(), described([]))
    assert not transfer.partly
    assert any("have no names" in note for note in transfer.notes)
    wide = small_settings(input_dim=40, output_dim=40)
    with pytest.raises(DataError, match=r"has 24 of them where this one has 40.*--genes"):
        start(wide, settings, described([f"g{i}" for i in range(40)]), described([]))


def test_no_gene_in_common_is_refused(small_settings: Settings) -> None:
    ids = [f"ENSG{i}" for i in range(24)]
    with pytest.raises(DataError, match="'ENSG0' there and 'GENE0' here"):
        start(small_settings(), small_settings(), described(), described(ids))


def test_another_width_of_features_starts_the_encoders_input_layer_afresh(
    small_settings: Settings,
) -> None:
    _, _, _, transfer = start(small_settings(pert_dim=9), small_settings())
    assert sorted(transfer.fresh) == ["pert_encoder.0.bias", "pert_encoder.0.weight"]
    assert "6 wide there and 9 here" in transfer.fresh["pert_encoder.0.weight"]
    assert "pert_encoder.3.weight" in transfer.taken


def test_one_hot_perturbations_are_taken_only_if_they_are_the_same(
    small_settings: Settings,
) -> None:
    settings = small_settings()
    ours, others = described(perturbations=list("abcdef")), described(perturbations=list("bcdefg"))
    for source, is_fresh in ((ours, False), (others, True), (described(), True)):
        _, _, _, transfer = start(settings, settings, ours, source, one_hot=True)
        assert ("pert_encoder.0.weight" in transfer.fresh) is is_fresh
    _, _, _, transfer = start(settings, settings, ours, others, one_hot=False)
    assert not transfer.fresh


def test_batches_are_matched_by_name(small_settings: Settings) -> None:
    here, there = described(batches=("b", "new", "a")), described(batches=("a", "b"))
    model, source, before, transfer = start(
        small_settings(n_batches=3), small_settings(n_batches=2), here, there
    )
    name = "batch_encoder.weight"
    old, new = source.state_dict()[name], model.state_dict()[name]
    assert torch.equal(new, torch.stack([old[1], before[name][1], old[0]]))
    assert transfer.partly == {name: "2 of 3 technical batches by name"}
    _, _, _, transfer = start(
        small_settings(n_batches=2), small_settings(n_batches=2), described(batches=("x", "y")),
        there,
    )  # fmt: skip
    assert transfer.fresh == {name: "no technical batch of a name is common"}


def test_parts_that_the_other_model_lacks_start_fresh(small_settings: Settings) -> None:
    _, _, _, transfer = start(small_settings(confidence_token=True), small_settings())
    assert {name.split(".")[0] for name in transfer.fresh} == {"confidence_token"}
    assert set(transfer.fresh.values()) == {"the other model has no such tensor"}


@pytest.mark.parametrize(
    ("override", "part", "why"),
    [
        ({"n_encoder_layers": 3}, "pert_encoder", "n_encoder_layers is 3 there and 2 here"),
        ({"n_decoder_layers": 3}, "project_out", "n_decoder_layers is 3 there and 2 here"),
    ],
)
def test_a_part_of_another_depth_starts_fresh_even_where_a_shape_is_the_same(
    small_settings: Settings, override: dict[str, Any], part: str, why: str
) -> None:
    model, _, _, transfer = start(small_settings(), small_settings(**override))
    names = {name for name in model.state_dict() if name.startswith(part)}
    assert transfer.fresh == dict.fromkeys(sorted(names), why) or (
        transfer.fresh.keys() == names and set(transfer.fresh.values()) == {why}
    )


def test_decoded_genes_are_matched_by_name(small_settings: Settings) -> None:
    def of(n_genes: int) -> StateTransitionSettings:
        return small_settings(
            output_space="embedding", expression_output=False,
            gene_decoder=GeneDecoderSettings(n_genes=n_genes, hidden_dims=(9, 7)),
        )  # fmt: skip

    model, source, _, transfer = start(of(3), of(4), described("cbx"), described("abcd"))
    name = "gene_decoder.decoder.8.weight"
    old, new = source.state_dict()[name], model.state_dict()[name]
    assert torch.equal(new[:2], old[[2, 1]])
    assert set(transfer.partly) == {name, "gene_decoder.decoder.8.bias"}
    assert not transfer.fresh


def test_another_backbone_is_refused_with_what_differs(small_settings: Settings) -> None:
    settings = small_settings()
    deeper = settings.backbone | {"num_hidden_layers": 2}
    causal = replace(settings, causal=True, backbone=deeper)
    differs = "causal is True there and False here; num_hidden_layers is 2 there and 1 here"
    with pytest.raises(DataError, match=differs):
        start(settings, causal)
    dropping = replace(settings, backbone=settings.backbone | {"attention_dropout": 0.2})
    _, _, _, transfer = start(settings, dropping)
    assert not transfer.fresh
