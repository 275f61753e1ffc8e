"""Labels that name one perturbation are one, wherever they are written."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.preflight.good_run import Inputs, good_vectors, write_good
from tests.preflight.test_corpus import findings
from tests.stages import Stages
from workflow_scripts.errors import DataError


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inputs:
    monkeypatch.chdir(tmp_path)
    return write_good(tmp_path / "run")


def relabel(inputs: Inputs, **labels: str) -> None:
    """Replace labels in both files."""
    for path in (inputs.first, inputs.second):
        inputs.edit(
            lambda a: setattr(a, "obs", a.obs.assign(gene=a.obs["gene"].replace(labels))), path
        )


def split_of(perturbation: str, context: str = "rpe1") -> str:
    table = pd.read_parquet("splits.parquet")
    here = (table["perturbation"] == perturbation) & (table["context"] == context)
    (only,) = table.loc[here, "split"]
    return str(only)


def test_two_orders_and_the_control_among_the_parts_are_one_perturbation(inputs, tmp_path):
    relabel(inputs, g2="g1+g2", g3="g2+g1", g5="control+g4")
    inputs.toml('["g2", "g3", "g4"]', '["g2 + g1", "g4+control"]')
    inputs.toml('["g1"]', '["g6"]')
    inputs.features(**{"g2+g1": torch.ones(5)})
    Stages(inputs.run_file).check()
    table = pd.read_parquet("splits.parquet")
    assert set(table["perturbation"]) == {"control", "g1", "g1+g2", "g4", "g6"}
    assert split_of("g1+g2") == split_of("g4") == "test"
    assert split_of("g1+g2", "k562") == "train"
    sizes = table.set_index(["context", "perturbation"])["n_cells"]
    assert sizes["rpe1", "g1+g2"] == sizes["rpe1", "g4"] == 24
    (said,) = [f for f in findings(tmp_path) if f["code"] == "spellings"]
    assert said["severity"] == "warning"
    assert "g1+g2, g2+g1 (read as g1+g2)" in said["message"]
    assert "control+g4, g4 (read as g4)" in said["message"]


def test_a_perturbation_under_another_order_is_no_unseen_one(inputs):
    relabel(inputs, g2="g1+g5", g3="g5+g1")
    inputs.toml('["g2", "g3", "g4"]', '["g1+g5"]')
    inputs.toml('["g1"]', '["g6"]')
    inputs.features(**{"g5+g1": torch.ones(5)})
    Stages(inputs.run_file).check()
    claims = json.loads(Path("splits_audit.json").read_text())["claims"]
    assert claims["kind"] == "known perturbations in known contexts"


def test_labels_that_are_only_renamed_are_a_note(inputs, tmp_path):
    relabel(inputs, g2="g2+control")
    Stages(inputs.run_file).check()
    (said,) = [f for f in findings(tmp_path) if f["code"] == "spellings"]
    assert (said["severity"], split_of("g2")) == ("note", "test")
    assert "g2+control (read as g2)" in said["message"]


def test_a_blank_on_one_side_of_the_plus_is_an_error(inputs, tmp_path):
    relabel(inputs, g5="g5 +g1", g6="g5+g1")
    with pytest.raises(DataError):
        Stages(inputs.run_file).check()
    (said,) = [f for f in findings(tmp_path) if f["code"] == "labels-alike"]
    assert "differ only by blanks: 'g1+g5', 'g5 +g1'" in said["message"]


@pytest.mark.parametrize("name", ["(+)-JQ1", "Ca2+", "Na+ salt", "drug+", "+A", "A++B"])
def test_a_plus_in_a_name_makes_no_combination(inputs, tmp_path, name):
    relabel(inputs, g2=name)
    inputs.toml('"g2"', f'"{name}"')
    torch.save({**good_vectors(), name: torch.ones(5)}, inputs.folder / "features.pt")
    Stages(inputs.run_file).check()
    assert split_of(name) == "test"
    (unmeasured,) = [f for f in findings(tmp_path) if f["code"] == "targets-not-measured"]
    assert f"1 of 6 targets are no measured gene: {name}" in unmeasured["message"]


def test_packed_cells_and_a_list_of_targets_use_the_same_names(inputs):
    relabel(inputs, g2="g5+g1", g3="g1+g5", g4="g4+control")
    inputs.toml('["g2", "g3", "g4"]', '["g1+g5"]')
    inputs.toml('["g1"]', '["g6"]')
    inputs.features(**{"g1+g5": torch.ones(5)})
    Path("want.csv").write_text(
        "perturbation,context,n_cells\ng5+g1,rpe1,3\ncontrol+g4,rpe1,3\ng2,k562,4\n"
    )
    stages = Stages(inputs.run_file, ["prediction.targets=want.csv"])
    stages.check()
    stages.pack()
    (packed,) = Path("cache/cells/tiny").glob("*/cells.parquet")
    cells = pd.read_parquet(packed)
    assert set(cells["perturbation"]) == {"control", "g1", "g1+g5", "g4", "g5", "g6"}
    asked = pd.read_parquet("targets.parquet")
    assert list(asked["perturbation"]) == ["g1+g5", "g4", "g2"]
    (said,) = [
        f["message"]
        for f in json.loads(Path("targets_audit.json").read_text())["findings"]
        if f["code"] == "spellings"
    ]
    assert "want.csv" in said
    assert "g5+g1 (read as g1+g5)" in said
