"""Checkpoints as the reference writes them, made of weights of our own: they import whole or not.

Only the names of weights and hyper-parameters are the reference's; no file of it is needed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.models.reference_files import (
    CASES,
    GPT2_SETTINGS,
    Settings,
    checkpoint_of,
    imported,
    same,
)
from workflow_scripts.errors import ConfigError, DataError
from workflow_scripts.models import (
    StateTransition,
    load_model,
    read_description,
    set_loss,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("case", CASES)
def test_an_imported_model_predicts_what_the_weights_predicted(
    small_settings: Settings, tmp_path: Path, case: str
) -> None:
    chosen, said = CASES[case]
    model = StateTransition(small_settings(**chosen))
    loaded = imported(checkpoint_of(model, **said), tmp_path)
    assert loaded.settings == model.settings
    assert same(loaded, model)
    embedding = read_description(tmp_path / "model").embedding
    assert embedding == (None if model.settings.expression_output else "X_state")


# --- attention ----------------------------------------------------------------------------------


def without_flag(model: StateTransition) -> dict[str, Any]:
    content = checkpoint_of(model)
    del content["hyper_parameters"]["transformer_backbone_kwargs"]["bidirectional_attention"]
    return content


@pytest.mark.parametrize("causal", [False, True])
def test_a_stored_flag_decides_between_full_and_causal_with_rotary(
    small_settings: Settings, tmp_path: Path, causal: bool
) -> None:
    settings = small_settings()
    model = StateTransition(replace(settings, causal=causal))
    loaded = imported(checkpoint_of(model), tmp_path)
    assert loaded.settings.causal is causal
    assert same(loaded, model)
    asked = "full" if causal else "causal"
    with pytest.raises(DataError, match=f"--attention {asked}, but .* leave the option out"):
        imported(checkpoint_of(model), tmp_path, "--attention", asked)


def test_a_llama_without_the_flag_is_ambiguous_and_asks(
    small_settings: Settings, tmp_path: Path
) -> None:
    model = StateTransition(small_settings())
    with pytest.raises(DataError, match="--attention full or --attention causal"):
        imported(without_flag(model), tmp_path)
    assert not (tmp_path / "model").exists()
    full = imported(without_flag(model), tmp_path, "--attention", "full")
    assert same(full, model)
    causal = imported(without_flag(model), tmp_path, "--attention", "causal")
    assert causal.settings.causal
    assert not same(causal, model)


def test_gpt2_is_causal_whatever_its_flag_says(small_settings: Settings, tmp_path: Path) -> None:
    model = StateTransition(small_settings(**GPT2_SETTINGS))
    content = checkpoint_of(model, transformer_backbone_key="GPT2")
    content["hyper_parameters"]["transformer_backbone_kwargs"]["bidirectional_attention"] = True
    assert imported(content, tmp_path).settings.causal


# --- what a file may lack, and what it may have -------------------------------------------------


def test_parts_are_told_by_their_weights_where_an_old_file_has_no_flag(
    small_settings: Settings, tmp_path: Path
) -> None:
    model = StateTransition(small_settings(confidence_token=True, n_batches=3))
    content = checkpoint_of(model)
    for name in ("n_encoder_layers", "n_decoder_layers", "use_basal_projection"):
        del content["hyper_parameters"][name]
    assert imported(content, tmp_path).settings == model.settings


def test_tensors_that_no_cell_passes_through_are_left_out(
    small_settings: Settings, tmp_path: Path
) -> None:
    model = StateTransition(small_settings())
    content = checkpoint_of(model)
    content["state_dict"]["transformer_backbone.rotary_emb.inv_freq"] = torch.rand(4)
    loaded = imported(content, tmp_path)
    assert loaded.state_dict().keys() == model.state_dict().keys()


def test_positions_that_are_not_zero_are_refused(small_settings: Settings, tmp_path: Path) -> None:
    model = StateTransition(small_settings(**GPT2_SETTINGS))
    content = checkpoint_of(model, transformer_backbone_key="GPT2")
    content["state_dict"]["transformer_backbone.wpe.weight"][1, 2] = 0.5
    with pytest.raises(DataError, match=r"wpe\.weight is not zero"):
        imported(content, tmp_path)


def test_missing_unknown_and_misshapen_weights_are_listed_by_name(
    small_settings: Settings, tmp_path: Path
) -> None:
    content = checkpoint_of(StateTransition(small_settings()))
    weights = content["state_dict"]
    del weights["project_out.0.bias"], weights["pert_encoder.3.bias"]
    weights["gate.weight"] = torch.zeros(2)
    weights["basal_encoder.weight"] = torch.zeros(16, 23)
    with pytest.raises(DataError) as caught:
        imported(content, tmp_path)
    for said in (
        "reference.ckpt",
        "missing weights: pert_encoder.3.bias, project_out.0.bias",
        "unknown weights: gate.weight",
        "basal_encoder.weight is (16, 23) where the hyper-parameters say (16, 24)",
    ):
        assert said in str(caught.value)


def test_a_token_that_the_flags_promise_and_the_weights_lack_is_missing_by_name(
    small_settings: Settings, tmp_path: Path
) -> None:
    content = checkpoint_of(StateTransition(small_settings()), confidence_token=True)
    with pytest.raises(DataError, match=r"missing weights: confidence_token\.confidence_proj"):
        imported(content, tmp_path)


def test_unknown_hyper_parameters_are_refused_unless_they_ask_for_nothing_or_are_ignored(
    small_settings: Settings, tmp_path: Path
) -> None:
    model = StateTransition(small_settings())
    content = checkpoint_of(model, new_gate=True, off=False, nothing=None)
    with pytest.raises(DataError, match=r"nothing here knows: new_gate; .*--ignore"):
        imported(content, tmp_path)
    assert same(imported(content, tmp_path, "--ignore", "new_gate"), model)
    assert read_description(tmp_path / "model").provenance["ignored"] == ["new_gate"]


def test_parts_that_are_not_built_are_refused_by_name(
    small_settings: Settings, tmp_path: Path
) -> None:
    content = checkpoint_of(StateTransition(small_settings()), nb_decoder=True)
    with pytest.raises(DataError, match=r"reference\.ckpt: .*nb_decoder is True"):
        imported(content, tmp_path)


def test_a_hyper_parameter_that_is_missing_is_given_by_name(
    small_settings: Settings, tmp_path: Path
) -> None:
    # The weights don't tell: those of the residual are stored with and without it.
    model = StateTransition(small_settings())
    content = checkpoint_of(model)
    del content["hyper_parameters"]["predict_residual"]
    with pytest.raises(DataError, match="--set predict_residual="):
        imported(content, tmp_path)
    assert same(imported(content, tmp_path, "--set", "predict_residual=true"), model)
    with pytest.raises(DataError, match="says hidden_dim itself"):
        imported(content, tmp_path, "--set", "hidden_dim=32")
    with pytest.raises(ConfigError, match="is not JSON"):
        imported(content, tmp_path, "--set", "predict_residual=yes")
    with pytest.raises(ConfigError, match="--set predict_residual: write KEY=VALUE"):
        imported(content, tmp_path, "--set", "predict_residual")


def test_the_loss_it_was_trained_with_is_kept(small_settings: Settings, tmp_path: Path) -> None:
    said = {"loss": "se", "blur": 0.1, "mmd_num_chunks": 3, "regularization": 0.2}
    imported(checkpoint_of(StateTransition(small_settings()), **said), tmp_path)
    kept = read_description(tmp_path / "model").provenance["hyper_parameters"]
    loss = set_loss(kept)
    assert (loss.loss, loss.blur, loss.mmd_num_chunks, loss.regularization) == ("se", 0.1, 3, 0.2)


def test_names_come_from_the_file_or_from_lists_beside_it(
    small_settings: Settings, tmp_path: Path
) -> None:
    stored = [f"GENE{i}" for i in range(24)]
    content = checkpoint_of(StateTransition(small_settings(n_batches=3)), batch_encoder=True)
    content["hyper_parameters"]["gene_names"] = stored
    imported(content, tmp_path)
    assert read_description(tmp_path / "model").gene_names == tuple(stored)

    content["hyper_parameters"]["gene_names"] = None
    (tmp_path / "genes.txt").write_text("\n".join(f"g{i}" for i in range(24)) + "\n")
    (tmp_path / "batches.txt").write_text("a\nb\nc\n")
    options = ["--genes", str(tmp_path / "genes.txt"), "--batches", str(tmp_path / "batches.txt")]
    imported(content, tmp_path, *options)
    found = read_description(tmp_path / "model")
    assert (found.gene_names[23], found.batches) == ("g23", ("a", "b", "c"))
    with pytest.raises(DataError, match="3 names, and the model has 24 genes"):
        imported(content, tmp_path, "--genes", str(tmp_path / "batches.txt"))


class Payload:
    """Would write a file, were it unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_a_file_with_code_in_it_is_refused_and_runs_none(
    small_settings: Settings, tmp_path: Path
) -> None:
    content = checkpoint_of(StateTransition(small_settings()))
    content["hyper_parameters"]["gene_names"] = Payload(tmp_path / "ran")
    with pytest.raises(DataError, match="one that holds code"):
        imported(content, tmp_path)
    assert not (tmp_path / "ran").exists()


def test_loading_a_reference_checkpoint_as_ours_names_the_import(
    small_settings: Settings, tmp_path: Path
) -> None:
    torch.save(checkpoint_of(StateTransition(small_settings())), tmp_path / "reference.ckpt")
    with pytest.raises(DataError, match=r"workflow_scripts\.import_checkpoint makes a model"):
        load_model(tmp_path / "reference.ckpt")
