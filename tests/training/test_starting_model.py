"""Trainings that start from another model, and parts of it that stay as they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from tests.stages import Stages
from tests.tiny_run import write_tiny_run
from tests.training.test_step_memory import LLAMA, module_and_batch, plan
from workflow_scripts.errors import DataError
from workflow_scripts.models import load_model, read_description, save_model
from workflow_scripts.training.step import clip_gradients, make_optimizer, step_objective

FROZEN = ("transformer_backbone.", "pert_encoder.")


@pytest.mark.parametrize("key", ["freeze_pert_backbone", "freeze_pert"])
def test_frozen_tensors_do_not_move_and_all_others_do(key: str) -> None:
    asked = plan({**LLAMA, key: True}, weight_decay=0.5)
    torch.manual_seed(0)
    module, batch = module_and_batch(asked)
    before = {name: tensor.clone() for name, tensor in module.model.state_dict().items()}
    optimizer = make_optimizer(module.model, asked)
    for _ in range(2):
        optimizer.zero_grad()
        step_objective(module.model, module._loss, batch, decoder_weight=1.0).total.backward()
        clip_gradients(module.model, asked)
        optimizer.step()
    still = {name for name, tensor in module.model.state_dict().items()
             if torch.equal(tensor, before[name])}  # fmt: skip
    assert still == {name for name in before if name.startswith(FROZEN)}


# --- whole trainings ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny training, to its end."""
    folder = tmp_path_factory.mktemp("first")
    write_tiny_run(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        stages = Stages(folder / "run.yaml")
        stages.check()
        stages.pack()
        stages.train()
    return folder


@pytest.fixture
def second(first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to be trained again: the working directory."""
    folder = tmp_path / "second"
    shutil.copytree(first, folder)
    shutil.copytree(first / "checkpoints", folder / "earlier")
    monkeypatch.chdir(folder)
    return folder


def train(*overrides: str) -> None:
    stages = Stages(Path("run.yaml"), overrides)
    stages.check()
    stages.train()


def weights(path: str) -> Mapping[str, Tensor]:
    return load_model(path).state_dict()


def test_a_training_starts_from_the_weights_of_a_checkpoint_and_lists_them(
    second: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train("model.kwargs.init_from=earlier/final.ckpt", "model.kwargs.freeze_pert=true")
    said = capsys.readouterr().out
    old, new = weights("earlier/final.ckpt"), weights("checkpoints/final.ckpt")
    for name, tensor in new.items():
        assert torch.equal(tensor, old[name]) is name.startswith(FROZEN), name
    assert f"starting from earlier/final.ckpt:\n{len(old)} tensors taken, 0 in part" in said
    provenance = read_description("checkpoints/final.ckpt").provenance
    assert provenance["start"]["source"] == "final.ckpt"
    assert sorted(provenance["start"]["taken"]) == sorted(old)
    assert len(provenance["model.kwargs.init_from"]) == 64


def test_genes_that_the_other_model_lacks_are_listed_and_kept_in_the_checkpoint(
    second: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, description = load_model("earlier/final.ckpt"), read_description("earlier/final.ckpt")
    renamed = (*description.gene_names[:-1], "ELSEWHERE")
    save_model(
        second / "model",
        model,
        type(description)(renamed, description.perturbations, provenance={"run": "x"}),
    )
    capsys.readouterr()
    train("model.kwargs.init_from=model", "training.max_steps=2")
    said = capsys.readouterr().out
    n_genes = len(renamed)
    how = f"{n_genes - 1} of {n_genes} genes by name"
    assert f"  in part: basal_encoder.weight: {how}" in said
    kept = read_description("checkpoints/final.ckpt").provenance["start"]
    assert kept["partly"]["project_out.3.bias"] == how


def findings_of(model: str) -> set[str]:
    """Return the codes of what preflight finds where the run starts from a model."""
    Stages(Path("run.yaml"), (f"model.kwargs.init_from={model}",)).check()
    found = json.loads(Path("preflight/findings.json").read_text())["findings"]["Together"]
    return {finding["code"] for finding in found if finding["message"].startswith("model.kwargs.")}


def test_start_from_a_model_of_other_splits_is_warned_of(second: Path) -> None:
    path = Path("earlier/final.ckpt")
    model, description = load_model(path), read_description(path)
    assert description.provenance["splits"]
    save_model(second / "of_these", model, description)
    save_model(second / "of_none", model, replace(description, provenance={"run": "x"}))
    other = {**description.provenance, "splits": "0" * 64}
    save_model(second / "of_others", model, replace(description, provenance=other))
    assert findings_of("earlier/final.ckpt") == findings_of("of_these") == set()
    assert findings_of("of_none") == findings_of("of_others") == {"other-splits"}


def identities() -> set[str]:
    return {path.parent.name for path in Path("checkpoints").glob("*/finished.json")}


def test_the_content_of_the_model_is_part_of_what_is_trained_and_its_place_is_not(
    second: Path,
) -> None:
    before = identities()
    train("model.kwargs.init_from=earlier/final.ckpt")
    (one,) = identities() - before
    shutil.move("earlier/final.ckpt", "moved.ckpt")
    train("model.kwargs.init_from=moved.ckpt")
    assert identities() == {*before, one}
    shutil.copy("earlier/best.ckpt", "moved.ckpt")
    content = torch.load("moved.ckpt", weights_only=True)
    content["stateline"]["provenance"]["note"] = "another"
    torch.save(content, "moved.ckpt")
    train("model.kwargs.init_from=moved.ckpt")
    assert len(identities() - before) == 2


def findings() -> dict[str, Any]:
    found = json.loads(Path("preflight/findings.json").read_text())["findings"]["Together"]
    return {entry["code"]: entry for entry in found}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("absent.ckpt", "absent.ckpt: no such checkpoint"),
        ("absent", "absent is no model folder"),
        ("torn.ckpt", "not a whole checkpoint"),
    ],
)
def test_preflight_names_a_model_that_cannot_be_loaded(second: Path, path: str, said: str) -> None:
    Path("torn.ckpt").write_bytes(Path("earlier/final.ckpt").read_bytes()[:5000])
    with pytest.raises(DataError, match="1 problem"):
        train(f"model.kwargs.init_from={path}")
    found = findings()["init-from"]
    assert found["severity"] == "error"
    assert said in found["message"]


def test_preflight_names_another_backbone(second: Path) -> None:
    run = yaml.safe_load(Path("run.yaml").read_text())
    run["model"]["kwargs"]["transformer_backbone_kwargs"]["num_hidden_layers"] = 2
    Path("run.yaml").write_text(yaml.safe_dump(run))
    with pytest.raises(DataError, match="1 problem"):
        train("model.kwargs.init_from=earlier/final.ckpt")
    assert "n_layers is 1 there and 2 here" in findings()["init-from"]["message"]


def test_preflight_refuses_to_freeze_an_encoder_that_would_start_afresh(second: Path) -> None:
    with pytest.raises(DataError, match="1 problem"):
        train(
            "model.kwargs.init_from=earlier/final.ckpt", "model.kwargs.freeze_pert=true",
            "data.kwargs.perturbation_features_file=null",
        )  # fmt: skip
    assert "of 5 numbers, and those here have 7" in findings()["init-from"]["message"]


def test_preflight_warns_of_a_backbone_that_is_frozen_at_random(second: Path) -> None:
    Stages(Path("run.yaml"), ("model.kwargs.freeze_pert=true",)).check()
    assert findings()["frozen-at-random"]["severity"] == "warning"


def test_tokens_train_from_a_config(second: Path) -> None:
    train(
        "+model.kwargs.confidence_token=true", "+model.kwargs.use_batch_token=true",
        "data.kwargs.basal_mapping_strategy=batch",
    )  # fmt: skip
    model = load_model("checkpoints/final.ckpt")
    assert model.confidence_token is not None
    assert model.batch_token is not None
    assert model.settings.batch_token_classes == len(
        read_description("checkpoints/final.ckpt").batches
    )
