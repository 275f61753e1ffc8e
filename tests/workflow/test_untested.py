"""A run that holds nothing out trains on everything, is not scored, and says so."""

from __future__ import annotations

import json

import pytest

from tests.snakemake_runs import snakemake
from tests.tiny_run import write_tiny_run

pytestmark = pytest.mark.long


def test_everything_trains_and_nothing_is_scored(tmp_path):
    run_file = write_tiny_run(tmp_path)
    config = ("--config", f"runs={run_file}", "overrides=splits.test=none")
    outcome = snakemake(tmp_path, *config)
    assert {"train", "report"} <= set(outcome.jobs)
    assert not {"predict", "predict_baselines", "evaluate"} & set(outcome.jobs)
    audit = json.loads((tmp_path / "out/tiny/splits_audit.json").read_text())
    assert audit["splits"]["test"]["n_cells"] == 0
    assert audit["splits"]["train"]["n_perturbations"] == 6
    page = (tmp_path / "out/tiny/report.html").read_text()
    assert "Nothing was held out for test, so nothing was scored." in page
    assert "Nothing to be done" in snakemake(tmp_path, *config).text


def test_run_without_an_evaluation_predicts_and_is_not_scored(tmp_path):
    run_file = write_tiny_run(tmp_path)
    run_file.write_text(f"{run_file.read_text()}evaluation: null\n")
    outcome = snakemake(tmp_path, "--config", f"runs={run_file}")
    assert {"train", "predict", "report"} <= set(outcome.jobs)
    scoring = {"predict_baselines", "predict_negative_controls", "anchors", "evaluate"}
    assert not scoring & set(outcome.jobs)
    page = (tmp_path / "out/tiny/report.html").read_text()
    assert "Nothing was scored: the run has no evaluation." in page
    assert "Nothing to be done" in snakemake(tmp_path, "--config", f"runs={run_file}").text


def test_a_split_that_was_drawn_serves_as_a_split_file(tmp_path):
    run_file = write_tiny_run(tmp_path)
    overrides = [
        "splits.make.contexts=[screen.rpe1]",
        "splits.make.test=0.5",
        "splits.make.validation=0.2",
        "data.kwargs.toml_config_path=null",
        "cells.datasets={screen: screen.h5ad}",
        "name=drawn",
    ]
    config = (f"runs={run_file}", f"overrides={json.dumps(overrides)}")
    snakemake(tmp_path, "check", "--config", *config)
    first = json.loads((tmp_path / "out/drawn/splits_audit.json").read_text())
    assert first["splits"]["test"]["n_perturbations"] == 3
    again = f"overrides=data.kwargs.toml_config_path={tmp_path}/out/drawn/splits.toml"
    snakemake(tmp_path, "check", "--config", f"runs={run_file}", again)
    second = json.loads((tmp_path / "out/tiny/splits_audit.json").read_text())
    assert second["held_out"] == first["held_out"]
