"""Checkpoints as the reference writes them, made of weights of our own: they import whole or not.

Only the names of weights and hyper-parameters are the reference's; no file of it is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from workflow_scripts import export_checkpoint, import_checkpoint
from workflow_scripts.models import (
    BackboneSettings,
    GeneDecoderSettings,
    ModelDescription,
    StateTransition,
    StateTransitionSettings,
    load_model,
    read_description,
    save_model,
    set_loss,
)
from workflow_scripts.settings.errors import ConfigError, DataError

Settings = Callable[..., StateTransitionSettings]

LLAMA = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "hidden_dropout": 0.0,
    "layer_norm_eps": 1e-6,
    "rotary_dim": 0,
    "use_rotary_embeddings": False,
}
GPT2 = {"n_positions": 6, "n_embd": 16, "n_layer": 2, "n_head": 2, "attn_pdrop": 0.0}
GPT2_BACKBONE = BackboneSettings("GPT2", 16, 2, 2, 2, 8, 64, 1e-5, 0.0, 0.1, 0.1, causal=True)
DECODER = GeneDecoderSettings(n_genes=11, hidden_dims=(12, 12, 8))
EMBEDDING: dict[str, Any] = {"output_space": "embedding", "expression_output": False}
GENE: dict[str, Any] = {"output_space": "gene"}

# Our settings, and the hyper-parameters that say the same.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mlp_basal": ({"use_basal_projection": True}, {"use_basal_projection": True}),
    "one_layer": (
        {"use_basal_projection": True, "n_encoder_layers": 1, "n_decoder_layers": 1},
        {"use_basal_projection": True, "n_encoder_layers": 1, "n_decoder_layers": 1},
    ),
    "no_residual": ({"predict_residual": False}, {"predict_residual": False}),
    "gene": (GENE, {"output_space": "gene", "embed_key": "X_hvg"}),
    "gpt2": ({"backbone": GPT2_BACKBONE}, {"transformer_backbone_key": "GPT2"}),
    "confidence": ({"confidence_token": True}, {"confidence_token": True}),
    "confidence_head": ({"confidence_token": True}, {"confidence_head": True}),
    "batch_token": (
        {"batch_token_classes": 3},
        {"use_batch_token": True, "basal_mapping_strategy": "batch"},
    ),
    "batch_encoder": ({"n_batches": 3}, {"batch_encoder": True}),
    "mask_attn": ({"mask_attn": True}, {"mask_attn": True}),
    "decoder": (
        {**EMBEDDING, "gene_decoder": DECODER},
        {"output_space": "embedding", "embed_key": "X_state", "decoder_cfg": {"dropout": 0.1}},
    ),
    "residual_decoder": (
        {**EMBEDDING, "gene_decoder": replace(DECODER, residual=True)},
        {"output_space": "embedding", "embed_key": "X_state", "residual_decoder": True},
    ),
    "cut_embedding": (
        {**EMBEDDING, "relu_on_embeddings": True},
        {"output_space": "embedding", "embed_key": "X_state", "gene_decoder_bool": False},
    ),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def their_name(name: str) -> str:
    """Return a name as the reference has it, of those that differ."""
    for ours, theirs in (
        ("confidence_token.token", "confidence_token.confidence_token"),
        ("confidence_token.head", "confidence_token.confidence_projection"),
        ("batch_token.token", "batch_token"),
        ("batch_token.classifier", "batch_classifier"),
    ):
        if name.startswith(ours):
            return name.replace(ours, theirs)
    return name


def checkpoint_of(model: StateTransition, **parameters: Any) -> dict[str, Any]:
    """Return what the reference would have stored of such a model."""
    settings = model.settings
    weights = {their_name(name): tensor.clone() for name, tensor in model.state_dict().items()}
    for token in ("confidence_token.confidence_token", "batch_token"):
        if token in weights:
            weights[token] = weights[token].reshape(1, 1, -1)
    backbone: dict[str, Any] = {**LLAMA, "bidirectional_attention": not settings.backbone.causal}
    if settings.backbone.key == "GPT2":
        backbone = dict(GPT2)
        weights["transformer_backbone.wte.weight"] = torch.zeros(50, 16)
        weights["transformer_backbone.wpe.weight"] = torch.zeros(6, 16)
    else:
        weights["transformer_backbone.embed_tokens.weight"] = torch.zeros(50, 16)
    stored = {
        "input_dim": 24, "hidden_dim": 16, "output_dim": 24, "pert_dim": 6, "batch_dim": 3,
        "gene_dim": 24, "hvg_dim": 24, "gene_names": None, "decoder_cfg": None,
        "lr": 1e-4, "loss_fn": "mse", "batch_size": 3, "control_pert": "non-targeting",
        "weight_decay": 5e-4, "dropout": 0.1, "embed_key": None, "output_space": "all",
        "basal_mapping_strategy": "random", "cell_set_len": 5, "blur": 0.05, "loss": "energy",
        "n_encoder_layers": 2, "n_decoder_layers": 2, "use_basal_projection": False,
        "predict_residual": True, "distributional_loss": "energy",
        "transformer_backbone_key": "llama", "transformer_backbone_kwargs": backbone,
    }  # fmt: skip
    return {
        "state_dict": weights,
        "hyper_parameters": stored | parameters,
        "global_step": 7,
        "pytorch-lightning_version": "2.0.0",
    }


def imported(content: dict[str, Any], folder: Path, *options: str) -> StateTransition:
    torch.save(content, folder / "reference.ckpt")
    import_checkpoint.main(
        [str(folder / "reference.ckpt"), "--out", str(folder / "model"), *options]
    )
    return load_model(folder / "model")


def predictions(model: StateTransition) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    control = torch.rand(3, 5, 24, generator=generator)
    features = torch.randn(3, 6, generator=generator)
    batch = torch.tensor([[0], [1], [2]]).expand(3, 5)
    said = model.eval().outputs(control, features, batch)
    parts = [said.prediction, said.confidence, said.batch_logits]
    decoded = [] if model.gene_decoder is None else [model.decode(said.prediction)]
    return [part for part in (*parts, *decoded) if part is not None]


def same(model: StateTransition, other: StateTransition) -> bool:
    pairs = zip(predictions(model), predictions(other), strict=True)
    return all(torch.equal(one, another) for one, another in pairs)


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


@pytest.mark.parametrize("case", CASES)
def test_a_model_that_was_exported_and_imported_is_the_same(
    small_settings: Settings, tmp_path: Path, case: str
) -> None:
    model = StateTransition(small_settings(**CASES[case][0]))
    n_genes = 11 if model.gene_decoder is not None else 24
    description = ModelDescription(
        tuple(f"GENE{i}" for i in range(n_genes)), ("STAT1",), ("rep_1",), ("a", "b", "c"),
        {"run": "demo", "step": 20}, None if model.settings.expression_output else "X_emb",
    )  # fmt: skip
    save_model(tmp_path / "first", model, description)
    export_checkpoint.main([str(tmp_path / "first"), "--out", str(tmp_path / "out.ckpt")])
    import_checkpoint.main([str(tmp_path / "out.ckpt"), "--out", str(tmp_path / "again")])
    for name in ("model.safetensors", "model.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()


@pytest.mark.parametrize("case", sorted(CASES.keys() - {"confidence_head"}))
def test_the_references_own_entries_of_an_export_say_the_whole_model(
    small_settings: Settings, tmp_path: Path, case: str
) -> None:
    model = StateTransition(small_settings(**CASES[case][0]))
    save_model(tmp_path / "first", model, ModelDescription(()))
    export_checkpoint.main([str(tmp_path / "first"), "--out", str(tmp_path / "out.ckpt")])
    content = torch.load(tmp_path / "out.ckpt", weights_only=True)
    del content["stateline_export"]
    loaded = imported(content, tmp_path)
    assert loaded.settings == model.settings
    assert same(loaded, model)


def test_an_export_has_the_embeddings_that_the_reference_looks_for_at_the_cost_of_one_number(
    small_settings: Settings, tmp_path: Path
) -> None:
    save_model(tmp_path / "model", StateTransition(small_settings()), ModelDescription(()))
    export_checkpoint.main([str(tmp_path / "model"), "--out", str(tmp_path / "out.ckpt")])
    content = torch.load(tmp_path / "out.ckpt", weights_only=True)
    words = content["state_dict"]["transformer_backbone.embed_tokens.weight"]
    assert words.shape == (32_000, 16)
    assert not words.any()
    assert (tmp_path / "out.ckpt").stat().st_size < 200_000


def test_what_the_reference_would_do_otherwise_is_said(
    small_settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = replace(GPT2_BACKBONE, causal=False)
    settings = small_settings(**EMBEDDING, backbone=full)
    save_model(tmp_path / "model", StateTransition(settings), ModelDescription(()))
    export_checkpoint.main([str(tmp_path / "model"), "--out", str(tmp_path / "out.ckpt")])
    said = capsys.readouterr().out
    assert "the reference's GPT2 is causal" in said
    assert "the reference cuts them at zero" in said
    import_checkpoint.main([str(tmp_path / "out.ckpt"), "--out", str(tmp_path / "again")])
    assert load_model(tmp_path / "again").settings == settings


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
    model = StateTransition(replace(settings, backbone=replace(settings.backbone, causal=causal)))
    loaded = imported(checkpoint_of(model), tmp_path)
    assert loaded.settings.backbone.causal is causal
    assert same(loaded, model)
    asked = "full" if causal else "causal"
    with pytest.raises(DataError, match=f"--attention {asked}, but this checkpoint's attention is"):
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
    assert causal.settings.backbone.causal
    assert not same(causal, model)


def test_gpt2_is_causal_whatever_its_flag_says(small_settings: Settings, tmp_path: Path) -> None:
    model = StateTransition(small_settings(backbone=GPT2_BACKBONE))
    content = checkpoint_of(model, transformer_backbone_key="GPT2")
    content["hyper_parameters"]["transformer_backbone_kwargs"]["bidirectional_attention"] = True
    assert imported(content, tmp_path).settings.backbone.causal


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
    model = StateTransition(small_settings(backbone=GPT2_BACKBONE))
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
    model = StateTransition(small_settings(**GENE))
    content = checkpoint_of(model, output_space="gene")
    del content["hyper_parameters"]["predict_residual"]
    with pytest.raises(DataError, match="--set predict_residual="):
        imported(content, tmp_path)
    assert same(imported(content, tmp_path, "--set", "predict_residual=true"), model)
    with pytest.raises(DataError, match="says hidden_dim itself"):
        imported(content, tmp_path, "--set", "hidden_dim=32")
    with pytest.raises(ConfigError, match="is not JSON"):
        imported(content, tmp_path, "--set", "predict_residual=yes")


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
