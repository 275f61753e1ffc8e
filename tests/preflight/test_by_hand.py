"""Both audits answer a person who names a file: no stage, no run, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.preflight.good_run import PERTURBATIONS, Inputs, good_vectors, write_good
from workflow_scripts import audit_splits, validate_features
from workflow_scripts.errors import DataError

CONTROL = "data.kwargs.control_pert=control"
CELLS = ("data.kwargs.toml_config_path=run/starter.toml", CONTROL)


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inputs:
    monkeypatch.chdir(tmp_path)
    return write_good(tmp_path / "run")


def test_split_file_by_hand(inputs, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    audit_splits.audit_splits(["run/starter.toml", CONTROL])
    said = capsys.readouterr().out
    assert "screen_k562.h5ad" in said
    assert "test: 36 cells, 3 perturbations in 1 contexts" in said
    assert "Of 3 test pairs of a perturbation and a context" in said
    assert "error" not in said
    assert sorted(tmp_path.rglob("*")) == before


def test_broken_split_file_by_hand(inputs, capsys):
    inputs.toml('"g3"', '"g33"')
    with pytest.raises(DataError, match=r"starter\.toml: a run would be stopped"):
        audit_splits.audit_splits(["run/starter.toml", CONTROL])
    assert "no perturbation 'g33'; did you mean 'g3'" in capsys.readouterr().out


def test_feature_file_by_hand_without_any_cells(inputs, capsys):
    validate_features.validate_features(["run/features.pt"])
    said = capsys.readouterr().out
    assert f"run/features.pt: {len(PERTURBATIONS)} vectors of 5 values" in said
    assert "SHA-256" in said
    assert "norms: least" in said
    torch.save({**good_vectors(), "g2": torch.zeros(5)}, "odd.pt")
    with pytest.raises(DataError, match=r"odd\.pt: a run would be stopped"):
        validate_features.validate_features(["odd.pt"])
    assert "vectors of zeros" in capsys.readouterr().out


def test_feature_file_by_hand_for_the_cells_of_a_split_file(inputs, capsys):
    inputs.features(g2=None)
    with pytest.raises(DataError):
        validate_features.validate_features(["run/features.pt", *CELLS])
    said = capsys.readouterr().out
    assert "k562: 5 of 6 perturbations have a vector of their own" in said
    assert "no vector for 1 of the data's 7 perturbations: g2" in said


@pytest.mark.parametrize("script", [audit_splits.audit_splits, validate_features.validate_features])
def test_help_says_how_it_works_by_hand(script, capsys):
    with pytest.raises(SystemExit) as done:
        script(["--help"])
    assert done.value.code == 0
    assert "By hand, on any" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        script([])
    assert "are required: --settings" in capsys.readouterr().err
