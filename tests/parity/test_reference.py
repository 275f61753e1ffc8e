"""Weights and outputs of the reference implementation: predictions and losses agree.

The cases are small (3 sets of 16 cells) and were written by the reference in evaluation mode. They
are not part of the repository; they lie beside it, in ../shared/parity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from workflow_scripts.models import (
    SetLoss,
    StateTransition,
    StateTransitionSettings,
    set_loss,
    state_transition_settings,
)

PARITY = Path(__file__).parents[2].parent / "shared" / "parity"
CASES = ["batch_encoder", "embedding_decoder", "pertsets_hvg", "state_sm_all", "state_sm_hvg"]
N_SETS = 3

# What a checkpoint stores beside `model.kwargs`: widths, training, data.
BESIDE_KWARGS = {
    "input_dim", "output_dim", "pert_dim", "batch_dim", "gene_dim", "hvg_dim", "gene_names",
    "lr", "loss_fn", "batch_size", "control_pert", "embed_key", "output_space", "decoder_cfg",
    "basal_mapping_strategy",
}  # fmt: skip
# The reference keeps embeddings of words and positions, of zeros, that no cell passes through.
UNUSED_WEIGHTS = {f"transformer_backbone.{name}.weight" for name in ("embed_tokens", "wte", "wpe")}

pytestmark = pytest.mark.skipif(
    not PARITY.is_dir(), reason="../shared/parity, the reference's weights and outputs, is absent"
)


@dataclass(frozen=True)
class Case:
    model: StateTransition
    loss: SetLoss
    arrays: Mapping[str, Tensor]

    def sets(self, name: str) -> Tensor:
        flat = self.arrays[name]
        return flat.reshape(N_SETS, -1, *flat.shape[1:])

    def predict(self) -> Tensor:
        with torch.no_grad():
            prediction: Tensor = self.model(
                self.sets("in_ctrl_cell_emb"), self.sets("in_pert_emb"), self.sets("in_batch")
            )
        return prediction


def settings_of(stored: Mapping[str, Any]) -> StateTransitionSettings:
    kwargs = {k: v for k, v in stored.items() if k not in BESIDE_KWARGS}
    decoder = stored["decoder_cfg"]
    if decoder is not None:
        assert decoder["latent_dim"] == stored["output_dim"]
        kwargs["decoder_hidden_dims"] = decoder["hidden_dims"]
        kwargs["residual_decoder"] = decoder["residual_decoder"]
    # The reference's GPT2 keeps its causal mask; its llama says itself which attention it has.
    causal = True if stored["transformer_backbone_key"] == "GPT2" else None
    return state_transition_settings(
        kwargs,
        input_dim=stored["input_dim"],
        output_dim=stored["output_dim"],
        pert_dim=stored["pert_dim"],
        output_space=stored["output_space"],
        expression_output=stored["embed_key"] in (None, "X_hvg"),
        n_batches=stored["batch_dim"],
        n_genes=None if decoder is None else decoder["gene_dim"],
        causal=causal,
    )


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    stored = torch.load(PARITY / f"{request.param}.ckpt", map_location="cpu", weights_only=True)
    model = StateTransition(settings_of(stored["hyper_parameters"]))
    weights = {k: v for k, v in stored["state_dict"].items() if k not in UNUSED_WEIGHTS}
    model.load_state_dict(weights)
    with np.load(PARITY / f"{request.param}.npz", allow_pickle=False) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    return Case(model.eval(), set_loss(stored["hyper_parameters"]), arrays)


def test_predictions_equal_the_references(case: Case) -> None:
    assert_close(case.predict(), case.sets("out_prediction"), rtol=0, atol=1e-5)


def test_per_set_losses_equal_the_references(case: Case) -> None:
    losses = case.loss.per_set(case.predict(), case.sets("in_pert_cell_emb"))
    assert_close(losses, case.arrays["out_per_set_loss"], rtol=1e-4, atol=0)


def test_total_loss_equals_the_references(case: Case) -> None:
    prediction = case.predict()
    total = case.loss(prediction, case.sets("in_pert_cell_emb"))
    if case.model.gene_decoder is not None:
        decoded = case.model.decode(prediction)
        total = total + case.loss(decoded, case.sets("in_pert_cell_counts"))
    assert_close(total, case.arrays["out_total_loss"], rtol=1e-4, atol=0)


def test_decoded_expression_equals_the_references(case: Case) -> None:
    if "out_decoded" not in case.arrays:
        assert case.model.gene_decoder is None
        return
    assert_close(case.model.decode(case.predict()), case.sets("out_decoded"), rtol=0, atol=1e-5)


def test_causal_gpt2_of_the_reference_differs_from_full_attention() -> None:
    # Guards the flag above: were it not read, the parity of pertsets_hvg would be luck.
    stored = torch.load(PARITY / "pertsets_hvg.ckpt", map_location="cpu", weights_only=True)
    settings = settings_of(stored["hyper_parameters"])
    assert settings.backbone.causal
    full = replace(settings, backbone=replace(settings.backbone, causal=False))
    weights = {k: v for k, v in stored["state_dict"].items() if k not in UNUSED_WEIGHTS}
    control, features = torch.randn(1, 16, 48), torch.randn(1, 20)
    predictions = []
    for choice in (settings, full):
        model = StateTransition(choice).eval()
        model.load_state_dict(weights)
        predictions.append(model(control, features))
    assert not torch.allclose(*predictions, atol=1e-3)
