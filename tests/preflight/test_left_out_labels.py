"""Cells whose label names no perturbation are left out, and the user is told."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import safetensors

from tests.preflight.good_run import Inputs
from tests.preflight.test_corpus import findings
from tests.preflight.test_spellings import inputs, relabel  # noqa: F401
from tests.stages import Stages

ONE_HOT = "data.kwargs.perturbation_features_file=null"


def check(inputs: Inputs, *overrides: str) -> Stages:  # noqa: F811
    stages = Stages(inputs.run_file, overrides)
    stages.check()
    return stages


def left_out(folder: Path) -> list[str]:
    return [f["message"] for f in findings(folder) if f["code"] == "no-perturbation"]


@pytest.mark.parametrize("label", ["None", "NA", "unassigned", "Multiplet", "doublets", "negative"])
def test_cells_of_which_nothing_is_known_are_left_out(inputs, tmp_path, label):  # noqa: F811
    relabel(inputs, g5=label)
    check(inputs, ONE_HOT)
    assert label not in set(pd.read_parquet("splits.parquet")["perturbation"])
    with safetensors.safe_open("features.safetensors", "numpy") as file:
        assert label not in json.dumps(file.metadata())
    for name, said in zip(("screen_k562", "screen_rpe1"), left_out(tmp_path), strict=True):
        assert f"{name}.h5ad: 12 cells are left out" in said
        assert f"{label} (12)" in said
        assert "rename" in said


@pytest.mark.parametrize("label", ["non-targeting", "NTC", "ctrl+ctrl", "NegCtrl_0012", "DMSO"])
def test_a_second_control_is_no_perturbation(inputs, tmp_path, label):  # noqa: F811
    relabel(inputs, g5=label)
    check(inputs, ONE_HOT)
    assert label not in set(pd.read_parquet("splits.parquet")["perturbation"])
    said = left_out(tmp_path)[0]
    assert f"{label} (12)" in said
    assert "'control' (data.kwargs.control_pert)" in said


def test_what_is_left_out_needs_no_vector_and_does_not_train(inputs):  # noqa: F811
    relabel(inputs, g5="unassigned", g6="g1+multiplet")
    stages = check(inputs)
    stages.pack()
    stages.train()
    steps = pd.read_csv("training.csv")
    assert steps["step"].max() == 4
    counts = json.loads(Path("splits_audit.json").read_text())["splits"]
    assert counts["train"]["n_perturbations"] == 4


@pytest.mark.parametrize("label", ["NT5E", "NEGR1", "NAA10", "NT-3", "Nonensin", "NTCP"])
def test_labels_that_only_begin_like_one_are_perturbations(inputs, tmp_path, label):  # noqa: F811
    relabel(inputs, g5=label)
    check(inputs, ONE_HOT)
    assert label in set(pd.read_parquet("splits.parquet")["perturbation"])
    assert left_out(tmp_path) == []


def test_the_control_may_have_any_of_these_names(inputs, tmp_path):  # noqa: F811
    relabel(inputs, control="None")
    inputs.data(control_pert="None")
    check(inputs, ONE_HOT)
    assert left_out(tmp_path) == []
