"""What would run again, and why; the rows of docs/invalidation.md have tests of their own."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import anndata
import pytest

from tests.finished_run import OPTIONS, copy_finished_run, screen_of
from tests.snakemake_runs import Outcome, snakemake
from workflow_scripts.config import main as explain

ROOT = Path(__file__).parents[2]
FOUND = {
    **{"train": "finished", "predict": "finished", "predict_negative_controls": "finished"},
    **{"anchors": "finished", "evaluate": "finished"},
}
"""What stages say that find their finished work."""


@pytest.fixture(scope="module")
def folder(shared_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a finished run."""
    return copy_finished_run(shared_run, tmp_path_factory.mktemp("rerun") / "run")


def again(folder: Path, overrides: str = "", dry: bool = False) -> Outcome:
    plan = ["--dry-run"] if dry else []
    return snakemake(folder, *plan, *OPTIONS, f"overrides={overrides}")


def log(folder: Path, rule: str) -> str:
    return (folder / "out" / "tiny" / "logs" / f"{rule}.log").read_text()


def test_snakemakes_own_report_has_the_pages_and_tables_of_a_run(folder):
    page = folder / "snakemake.html"
    snakemake(folder, "--report", str(page), *OPTIONS)
    html = page.read_text()
    for file in ("report.html", "metrics.tsv", "training.csv", "config.yaml", "config.trace.tsv"):
        assert f"out/tiny/{file}" in html
    for name in ("report", "scores", "training"):
        caption = (ROOT / "rules" / "captions" / f"{name}.rst").read_text()
        assert caption.split("{{")[0].strip() in html


def test_costs_that_are_gone_are_no_reason_to_run(folder):
    shutil.rmtree(folder / "out" / "tiny" / "benchmarks")
    assert again(folder, dry=True).planned == set()


def test_what_changed_is_said_and_nothing_runs(folder):
    change = "training.lr=2e-3 report.title=Screen wandb.tags=[x]"
    config = (*OPTIONS, f"overrides={change}")
    said = snakemake(folder, "why", *config)
    assert said.jobs == ["why"]
    for line in (
        "train: training.lr: 0.001 → 0.002 (override 'training.lr=2e-3')",
        "report: report.title: null → Screen (override 'report.title=Screen')",
        "the record alone: wandb.tags: [] → [x] (override 'wandb.tags=[x]')",
        "out/tiny: train, predict, predict_negative_controls, anchors, evaluate, report\n",
        "predict, predict_negative_controls, anchors, evaluate: made from what runs before",
    ):
        assert line in said.text, said.text
    nothing = snakemake(folder, "why", *OPTIONS)
    assert "Nothing would run" in nothing.text
    assert "how far it is" not in nothing.text
    assert again(folder).jobs == []


@pytest.mark.long
def test_files_that_changed_or_are_gone_are_named(folder):
    toml = folder / "starter.toml"
    toml.write_text(toml.read_text() + "# a remark\n")
    (folder / "out/tiny/report.html").unlink()
    said = snakemake(folder, "why", *OPTIONS).text
    assert "splits: starter.toml is another file now" in said
    assert "report: out/tiny/report.html is missing" in said
    new = snakemake(folder, "why", *OPTIONS, "overrides=name=new")
    assert "out/new: everything, as nothing of it is there yet" in new.text
    again(folder)


@pytest.mark.long
def test_other_file_with_the_same_cells_trains_nothing_anew(folder):
    adata = anndata.read_h5ad(screen_of(folder))
    adata.uns["note"] = "the same cells, other bytes"
    adata.write_h5ad(folder / "screen.h5ad")
    toml = (folder / "starter.toml").read_text()
    (folder / "starter.toml").write_text(toml.replace(str(screen_of(folder)), "screen.h5ad"))
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
def test_what_config_key_says_of_a_key_is_what_snakemake_would_run(folder, change, capsys):
    key = change.partition("=")[0]
    explain(["key", key, "--run", str(folder / "run.yaml"), "--format", "json"])
    facts = {row["what"]: row["is"] for row in json.loads(capsys.readouterr().out)}
    said = re.findall(r"\w+", facts["A change re-runs"].partition("(")[0])
    expected = {rule for stage in said for rule in RULES_OF_STAGE.get(stage, [stage])}
    # Besides the record and the stages' settings.
    beside = {"freeze_cells", "freeze_config", "freeze_stage"}
    assert again(folder, change, dry=True).planned - beside == expected - {"nothing"}


def test_what_an_early_end_left_is_not_passed_over(folder):
    # As a start that wrote down what training reads, and ended before it trained.
    change = "training.lr=9e-3"
    stage = folder / "out" / "tiny" / "stages" / "train.json"
    config = (*OPTIONS, f"overrides={change}")
    snakemake(folder, str(stage.relative_to(folder)), *config)
    # Now the record has to be written too, and training stands behind it.
    planned = again(folder, f"{change} wandb.tags=[y]", dry=True)
    assert {"freeze_config", "train", "predict", "evaluate", "report"} <= planned.planned
