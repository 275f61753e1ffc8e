"""Only what a change touches runs again. One finished run, then one change after another."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import anndata
import pytest

from tests.snakemake_runs import Outcome, snakemake
from tests.tiny_run import write_tiny_run
from workflow_scripts.explain_config import main as explain

ALL = {
    *("freeze_config", "freeze_stage", "audit_cells", "audit_splits", "pack_cells"),
    *("validate_features", "preflight", "train", "predict", "predict_baselines"),
    *("predict_unmasking", "reference_ends", "evaluate", "report"),
}
FROM_TRAINING = [
    *("evaluate", "freeze_config", "freeze_stage", "predict", "predict_unmasking"),
    *("reference_ends", "report", "train"),
]

FOUND = {
    **{"train": "trained", "predict": "predicted", "predict_unmasking": "predicted"},
    **{"reference_ends": "computed", "evaluate": "scored"},
}
"""What stages say that find their finished work."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a finished run."""
    folder = tmp_path_factory.mktemp("rerun")
    run_file = write_tiny_run(folder)
    # Scores without differential expression, whose tests take seconds to compile in each job.
    run_file.write_text(f"{run_file.read_text()}evaluation: {{profile: pds}}\n")
    first = again(folder)
    assert set(first.jobs) == ALL
    return folder


def again(folder: Path, overrides: str = "", runs: str = "", dry: bool = False) -> Outcome:
    config = [f"runs={runs or folder / 'run.yaml'}"]
    if overrides:
        config.append(f"overrides={overrides}")
    plan = ["--dry-run"] if dry else []
    return snakemake(folder, *plan, "--resources", "gpu=1", "--config", *config)


def log(folder: Path, rule: str) -> str:
    return (folder / "out" / "tiny" / "logs" / f"{rule}.log").read_text()


def test_nothing_changed_nothing_runs(folder):
    outcome = again(folder)
    assert "Nothing to be done" in outcome.text
    assert outcome.jobs == []


def test_operational_keys_rewrite_the_record_alone(folder):
    change = "wandb.tags=[x] data.kwargs.num_workers=1 training.devices=1 engine.keep_checkpoints=3"
    assert again(folder, change).jobs == ["freeze_config"]
    assert "tags:\n  - x" in (folder / "out/tiny/config.yaml").read_text()
    assert again(folder).jobs == ["freeze_config"]


def test_report_settings_rewrite_the_report_alone(folder):
    outcome = again(folder, "report.title=Screen")
    assert outcome.jobs == ["freeze_config", "freeze_stage", "report"]
    assert "Screen" in (folder / "out/tiny/report.html").read_text()


def test_learning_rate_trains_afresh_and_touches_no_data(folder):
    outcome = again(folder, "training.lr=2e-3")
    assert outcome.jobs == FROM_TRAINING
    assert "from step 0" in log(folder, "train")
    assert "computed before" in log(folder, "reference_ends")  # the test cells are the same


def test_going_back_finds_the_finished_work(folder):
    outcome = again(folder)
    assert outcome.jobs == FROM_TRAINING
    for rule, words in FOUND.items():
        assert f"{words} before" in log(folder, rule)
    assert "Nothing to be done" in again(folder).text


def test_touched_data_runs_nothing(folder):
    os.utime(folder / "screen.h5ad")
    assert again(folder).jobs == []


def test_other_file_with_the_same_cells_trains_nothing_anew(folder):
    adata = anndata.read_h5ad(folder / "screen.h5ad")
    adata.uns["note"] = "the same cells, other bytes"
    adata.write_h5ad(folder / "screen.h5ad")
    outcome = again(folder)
    assert {"audit_cells", "pack_cells", "train"} <= set(outcome.jobs)
    for rule, words in FOUND.items():
        assert f"{words} before" in log(folder, rule)
    assert "Nothing to be done" in again(folder).text


RULES_OF_STAGE = {"cells": ["audit_cells", "pack_cells"], "splits": ["audit_splits"]}
RULES_OF_STAGE |= {"features": ["validate_features"], "genes": ["select_genes"]}


@pytest.mark.parametrize(
    "change",
    [
        "cells.target_sum=5000",
        "features.control=zeros",
        "splits.overlap=test_wins",
        "genes.select=hvg",
        "genes.n_top=10",
        "training.max_steps=6",
        "training.lr=2e-3",
        "model.kwargs.cell_set_len=3",
        "prediction.clip=false",
        "prediction.sets_per_pass=3",
        "evaluation.extra_metrics=[]",
        "model.kwargs.softplus=false",
    ],
)
def test_what_explain_config_says_of_a_key_is_what_snakemake_would_run(folder, change, capsys):
    key = change.partition("=")[0]
    explain(["key", key, "--run", str(folder / "run.yaml"), "--format", "json"])
    facts = {row["what"]: row["is"] for row in json.loads(capsys.readouterr().out)}
    said = re.findall(r"\w+", facts["A change re-runs"].partition("(")[0])
    expected = {rule for stage in said for rule in RULES_OF_STAGE.get(stage, [stage])}
    # Besides the record and the stages' settings.
    beside = {"freeze_config", "freeze_stage"}
    assert again(folder, change, dry=True).planned - beside == expected - {"nothing"}


def test_second_run_on_the_same_cells_packs_nothing(folder):
    change = "name=second training.train_seed=1"
    assert again(folder, change, dry=True).planned == ALL - {"audit_cells", "pack_cells"}
