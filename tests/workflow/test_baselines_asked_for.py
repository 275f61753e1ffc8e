"""Which baselines are asked for says what their stage reads, and what makes it run again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from tests.snakemake_runs import snakemake
from tests.tiny_run import PERTURBATIONS, write_tiny_run

pytestmark = pytest.mark.long

BLIND = "prediction.baselines=[control,additive] evaluation.extra_metrics=[]"
SEEING = (
    "prediction.baselines=[control,ridge,nearest_neighbour_shuffled] evaluation.extra_metrics=[]"
)


def start(folder: Path, overrides: str, *arguments: str):
    config = ("--config", f"runs={folder / 'run.yaml'}", f"overrides={overrides}")
    return snakemake(folder, "--resources", "gpu=1", *config, *arguments)


def write_features(folder: Path, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    vectors = {name: torch.randn(4, generator=generator) for name in PERTURBATIONS}
    torch.save(vectors, folder / "features.pt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tiny_run(tmp_path)
    write_features(tmp_path, 0)
    return tmp_path


def test_other_features_predict_the_baselines_that_read_them_again(folder: Path) -> None:
    target = ("--", "out/tiny/baselines")
    start(folder, BLIND, *target)
    names = {path.name for path in (folder / "out/tiny/baselines").iterdir()}
    assert {"control.h5ad", "additive.h5ad"} <= names
    write_features(folder, 1)
    planned = start(folder, BLIND, "--dry-run", *target).text
    assert re.search(r"^validate_features +1$", planned, re.MULTILINE)
    assert "predict_baselines" not in planned
    assert "predict_baselines" in start(folder, SEEING, *target).jobs
    before = set(folder.glob("cache/baselines/*/baselines/ridge.h5ad"))
    write_features(folder, 2)
    assert "predict_baselines" in start(folder, SEEING, *target).jobs
    after = set(folder.glob("cache/baselines/*/baselines/ridge.h5ad"))
    assert len(before) == 1
    assert before < after
    log = (folder / "out/tiny/logs/predict_baselines.log").read_text()
    assert re.search(r"^ridge: \d+ cells$", log, re.MULTILINE)
