"""Models as files of the reference: they are imported again whole, and it finds what it seeks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.models.reference_files import (
    CASES,
    EMBEDDING,
    GPT2_SETTINGS,
    Settings,
    imported,
    same,
)
from workflow_scripts import export_checkpoint, import_checkpoint
from workflow_scripts.models import (
    ModelDescription,
    StateTransition,
    load_model,
    save_model,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


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


def test_an_export_has_what_the_reference_stores_without_a_residual_too(
    small_settings: Settings, tmp_path: Path
) -> None:
    model = StateTransition(small_settings(predict_residual=False, batch_token_classes=3))
    save_model(tmp_path / "model", model, ModelDescription(()))
    export_checkpoint.main([str(tmp_path / "model"), "--out", str(tmp_path / "out.ckpt")])
    weights = torch.load(tmp_path / "out.ckpt", weights_only=True)["state_dict"]
    # As benchmarks/reference_losses.py lists them; of 24 genes, squeezed to three.
    shapes = {"0.weight": (3, 24), "0.bias": (3,), "2.weight": (24, 3), "2.bias": (24,)}
    for layer, shape in shapes.items():
        assert weights[f"final_down_then_up.{layer}"].shape == shape
    assert {"batch_token", "batch_classifier.0.weight", "batch_classifier.0.bias"} <= weights.keys()


def test_what_the_reference_would_do_otherwise_is_said(
    small_settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = GPT2_SETTINGS | {"causal": False}
    settings = small_settings(**EMBEDDING, **full)
    save_model(tmp_path / "model", StateTransition(settings), ModelDescription(()))
    export_checkpoint.main([str(tmp_path / "model"), "--out", str(tmp_path / "out.ckpt")])
    said = capsys.readouterr().out
    assert "the reference's GPT2 is causal" in said
    assert "the reference cuts them at zero" in said
    import_checkpoint.main([str(tmp_path / "out.ckpt"), "--out", str(tmp_path / "again")])
    assert load_model(tmp_path / "again").settings == settings
