"""Configs that the reference wrote are run files here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.runs import resolve_run

ROOT = Path(__file__).parents[2]
KEYS = ROOT.parent / "shared" / "reference_keys.json"
PRESETS: dict[str, dict[str, Any]] = json.loads(KEYS.read_text()) if KEYS.exists() else {}
pytestmark = pytest.mark.skipif(not PRESETS, reason="the reference's keys are not on this machine")


def nested(values: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, value in values.items():
        inside = tree
        *sections, name = path.split(".")
        for section in sections:
            inside = inside.setdefault(section, {})
        inside[name] = value
    return tree


@pytest.mark.parametrize("preset", PRESETS)
def test_a_config_that_the_reference_composed_is_a_run_file(preset: str, tmp_path: Path) -> None:
    values = PRESETS[preset]
    run_file = tmp_path / "their_config.yaml"
    run_file.write_text(yaml.safe_dump(nested(values)))
    run = resolve_run(ROOT / "config", str(run_file), ["name=theirs"])
    assert run.config["model"]["kwargs"].keys() == nested(values)["model"]["kwargs"].keys()
    assert run.config["training"]["lr"] == values["training.lr"]
    # It logs to Weights & Biases through another key.
    assert [text.split()[1] for text in run.warnings] == ["training.wandb_track"]


@pytest.mark.parametrize(
    ("path", "value", "way_out"),
    [
        ("model.kwargs.lora.enable", True, "merge the adapter there and import the model"),
        ("model.kwargs.randomize_mmd_chunks", True, "does not support it"),
        ("model.kwargs.llm_name", "some/model", "does not support it"),
        ("data.kwargs.downsample", 0.5, "engine.downsample_cells"),
        ("data.kwargs.downsample_cells", 100, "engine.downsample_cells"),
    ],
)
def test_what_is_not_supported_is_refused_with_a_way_out(
    path: str, value: Any, way_out: str, tmp_path: Path
) -> None:
    run_file = tmp_path / "their_config.yaml"
    run_file.write_text(yaml.safe_dump(nested({**PRESETS["state"], path: value})))
    with pytest.raises(ConfigError) as caught:
        resolve_run(ROOT / "config", str(run_file), ["name=theirs"])
    assert path in str(caught.value)
    assert way_out in str(caught.value)
