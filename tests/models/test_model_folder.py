from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from workflow_scripts.errors import DataError
from workflow_scripts.models import (
    ModelDescription,
    StateTransition,
    StateTransitionSettings,
    load_model,
    read_description,
    save_model,
)

DESCRIPTION = ModelDescription(
    gene_names=tuple(f"GENE{i}" for i in range(24)),
    perturbations=("STAT1", "IRF1"),
    contexts=("rep_1",),
    provenance={"run": "demo", "step": 20},
)


@pytest.fixture(params=["small_pertsets", "small_state_sm"])
def model(
    preset_settings: Callable[..., StateTransitionSettings], request: pytest.FixtureRequest
) -> StateTransition:
    return StateTransition(preset_settings(request.param, batch_encoder=True))


@pytest.fixture
def folder(model: StateTransition, tmp_path: Path) -> Path:
    save_model(tmp_path / "made" / "model", model, DESCRIPTION)
    return tmp_path / "made" / "model"


def test_a_loaded_model_predicts_bit_for_bit_what_the_saved_one_did(
    model: StateTransition, folder: Path
) -> None:
    loaded = load_model(folder)
    control, features = torch.rand(2, 5, 24), torch.randn(2, 6)
    batch = torch.randint(3, (2, 5))
    assert not loaded.training
    assert loaded.settings == model.settings
    assert torch.equal(loaded(control, features, batch), model.eval()(control, features, batch))


def test_a_loaded_model_can_be_trained_further(folder: Path) -> None:
    loaded = load_model(folder).train()
    batch = torch.zeros(1, 5, dtype=torch.long)
    loaded(torch.rand(1, 5, 24), torch.randn(1, 6), batch).sum().backward()
    assert all(parameter.grad is not None for parameter in loaded.parameters())


def test_loading_leaves_the_random_state_alone(folder: Path) -> None:
    before = torch.get_rng_state()
    load_model(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_description_comes_back_as_written(folder: Path) -> None:
    assert read_description(folder) == DESCRIPTION


def test_saving_again_replaces_the_model_and_leaves_nothing_else(
    model: StateTransition, folder: Path
) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    save_model(folder, model, DESCRIPTION)
    assert not any(parameter.any() for parameter in load_model(folder).parameters())
    assert sorted(file.name for file in folder.iterdir()) == ["model.json", "model.safetensors"]


def test_weights_of_another_model_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match=r"model\.safetensors is not the file"):
        load_model(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not JSON"), ("[]", "does not say format"), ('{"format": "other"}', "does not say")],
)
def test_a_description_that_is_none_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "model.json").write_text(text)
    with pytest.raises(DataError, match=message):
        load_model(folder)


@pytest.mark.parametrize("key", ["settings", "gene_names", "weights_sha256"])
def test_a_description_that_lacks_a_key_is_refused_by_its_name(folder: Path, key: str) -> None:
    file = folder / "model.json"
    contents = json.loads(file.read_text())
    del contents[key]
    file.write_text(json.dumps(contents))
    with pytest.raises(DataError, match=f"lacks {key}"):
        load_model(folder)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("settings", r"model\.json: settings is None, must be a mapping"),
        ("gene_names", "gene_names is None, must be a list of names"),
    ],
)
def test_a_description_with_a_value_of_another_kind_is_refused(
    folder: Path, key: str, message: str
) -> None:
    file = folder / "model.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: None}))
    for read in (load_model, read_description):
        with pytest.raises(DataError, match=message):
            read(folder)


@pytest.mark.parametrize(
    "content", [[1], {"stateline": 3, "state_dict": {}}, {"stateline": {}, "state_dict": []}]
)
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(DataError, match=r"other\.ckpt: not a checkpoint of this project"):
        load_model(tmp_path / "other.ckpt")


def test_settings_that_do_not_fit_the_weights_are_refused(folder: Path) -> None:
    file = folder / "model.json"
    contents = json.loads(file.read_text())
    contents["settings"]["pert_dim"] = 7
    file.write_text(json.dumps(contents))
    with pytest.raises(DataError, match=r"pert_encoder\.0\.weight"):
        load_model(folder)


def test_missing_folders_and_files_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no model folder: it has no model\.json"):
        load_model(tmp_path / "absent")
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"no model\.safetensors"):
        load_model(folder)
