"""Every broken input is stopped by preflight, named and explained; the good one passes in silence.

Each is taken through the commands of the target `check`, in one process. `make faults` takes all of
them through Snakemake (test_corpus_in_snakemake).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.preflight import (
    broken_cells,
    broken_config,
    broken_features,
    broken_genes,
    broken_splits,
)
from tests.preflight.broken import Broken
from tests.preflight.good_run import Inputs, write_good
from tests.stages import ROOT, Stages
from workflow_scripts.errors import ConfigError, DataError
from workflow_scripts.settings.runs import resolve_run

CORPUS: dict[str, Broken] = {
    **broken_features.CASES,
    **broken_splits.CASES,
    **broken_cells.CASES,
    **broken_genes.CASES,
}


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inputs:
    monkeypatch.chdir(tmp_path)
    return write_good(tmp_path / "run")


def findings(folder: Path) -> list[dict[str, str]]:
    found = json.loads((folder / "preflight/findings.json").read_text())["findings"]
    return [entry for entries in found.values() for entry in entries]


def test_the_corpus_is_large_enough():
    assert len(CORPUS) + len(broken_config.CASES) >= 60


def test_the_good_inputs_pass_without_a_warning(inputs, tmp_path):
    stages = Stages(inputs.run_file)
    stages.check()
    assert {entry["severity"] for entry in findings(tmp_path)} <= {"note"}
    assert json.loads(Path("passed.json").read_text())["estimate"]["steps"] == 4


@pytest.mark.parametrize("name", CORPUS)
def test_broken_input_is_stopped_named_and_explained(inputs, tmp_path, capsys, name):
    case = CORPUS[name]
    case.spoil(inputs)
    stages = Stages(inputs.run_file, case.overrides)
    with pytest.raises(DataError, match="to fix before training starts"):
        stages.check()
    assert stages.stage == "preflight"
    assert not Path("passed.json").exists()
    errors = [entry for entry in findings(tmp_path) if entry["severity"] == "error"]
    said = [entry["message"] for entry in errors if entry["code"] == case.code]
    assert said, [(entry["code"], entry["message"]) for entry in errors]
    for words in case.words:
        assert any(words in message for message in said), said
    printed = capsys.readouterr().out
    assert f"error: {said[0]}" in printed
    assert "this code ran" not in printed
    assert "findings.html" in [path.name for path in (tmp_path / "preflight").iterdir()]


@pytest.mark.parametrize("name", broken_config.CASES)
def test_broken_config_is_stopped_before_any_job(inputs, name):
    overrides, words = broken_config.CASES[name]
    with pytest.raises(ConfigError) as error:
        resolve_run(ROOT / "config", str(inputs.run_file), overrides)
    for text in words:
        assert text in str(error.value)
