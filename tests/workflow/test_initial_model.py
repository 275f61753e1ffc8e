"""A run that starts from another model, through Snakemake: its content triggers what it changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.snakemake_runs import ROOT, snakemake
from tests.tiny_run import write_tiny_run
from workflow_scripts.models import (
    ModelDescription,
    StateTransition,
    read_description,
    save_model,
    state_transition_settings,
)
from workflow_scripts.settings.runs import resolve_run

pytestmark = pytest.mark.long

FINAL = "out/tiny/checkpoints/final.ckpt"


def write_model(folder: Path, seed: int) -> None:
    """Write a model that the tiny run can start from: of its sizes, its genes without names."""
    run = resolve_run(ROOT / "config", str(folder / "run.yaml"), [])
    settings = state_transition_settings(
        run.config["model"]["kwargs"], input_dim=30, output_dim=30, pert_dim=5,
        output_space="all", expression_output=True,
    )  # fmt: skip
    torch.manual_seed(seed)
    save_model(folder / "start", StateTransition(settings), ModelDescription(()))


def test_another_content_of_the_model_trains_anew_and_the_same_does_nothing(
    tmp_path: Path,
) -> None:
    write_tiny_run(tmp_path)
    options = ("--config", "runs=run.yaml", "cache_dir=cache")
    overrides = "overrides=model.kwargs.init_from=start"

    # Missing: preflight says so in words, and nothing trains.
    stopped = snakemake(tmp_path, FINAL, *options, overrides, expect=1)
    assert "start is no model folder: it has no model.json" in stopped.text
    assert "train" not in stopped.jobs

    write_model(tmp_path, seed=1)
    first = snakemake(tmp_path, FINAL, *options, overrides)
    assert {"preflight", "train"} <= set(first.jobs)
    before = read_description(tmp_path / FINAL).provenance
    assert before["start"]["fresh"] == {}

    assert snakemake(tmp_path, FINAL, *options, overrides).jobs == []

    write_model(tmp_path, seed=2)
    second = snakemake(tmp_path, FINAL, *options, overrides)
    assert second.jobs == ["freeze_stage", "preflight", "train"]
    after = read_description(tmp_path / FINAL).provenance
    assert after["model.kwargs.init_from"] != before["model.kwargs.init_from"]
