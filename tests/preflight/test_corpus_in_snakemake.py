"""The corpus through real Snakemake: `check` fails for every broken input, and for no other.

All runs are asked for in one start with --keep-going. A few of them by default; all of them, which
takes minutes, with STATELINE_FAULTS=all (`make faults`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.preflight import broken_config
from tests.preflight.good_run import write_good
from tests.preflight.test_corpus import CORPUS
from tests.snakemake_runs import snakemake

ALL = os.environ.get("STATELINE_FAULTS") == "all"
# Overrides are of all runs of a start: cases that need some are looked at by the other test.
WITHOUT_OVERRIDES = [name for name in CORPUS if not CORPUS[name].overrides]
A_FEW = (
    "leak: held-out cells among another perturbation's",
    "genes: others in the second file",
)


def folder_of(name: str) -> str:
    return re.sub(r"\W+", "-", name)


def check(folder: Path, names: Sequence[str]) -> None:
    """Ask for all of these at once, and a good one, and see which pass."""
    runs = [write_good(folder / "good")]
    for name in names:
        runs.append(write_good(folder / folder_of(name)))
        CORPUS[name].spoil(runs[-1])
    asked = ",".join(str(inputs.run_file) for inputs in runs)
    outcome = snakemake(folder, "check", "--keep-going", "--config", f"runs={asked}", expect=1)
    assert not {"pack_cells", "train"} & set(outcome.jobs)
    assert {path.parent.name for path in folder.glob("out/*/preflight.json")} == {"good"}
    for name in names:
        record = folder / "out" / folder_of(name) / "preflight" / "findings.json"
        found = json.loads(record.read_text())["findings"]
        errors = [e for entries in found.values() for e in entries if e["severity"] == "error"]
        said = [entry["message"] for entry in errors if entry["code"] == CORPUS[name].code]
        assert said, name
        assert said[0] in outcome.text
        assert record.with_suffix(".html").is_file()


@pytest.mark.long
def test_broken_inputs_fail_and_the_good_one_passes(tmp_path):
    check(tmp_path, WITHOUT_OVERRIDES if ALL else A_FEW)


def test_all_problems_are_said_at_once_and_nothing_trains(tmp_path):
    inputs = write_good(tmp_path / "run")
    inputs.toml('"g3"', '"g33"')
    inputs.features(g2=None, g5=None)
    outcome = snakemake(tmp_path, "--config", f"runs={inputs.run_file}", expect=1)
    assert "no vector for 2 of the data's 7 perturbations: g2, g5" in outcome.text
    assert "has no perturbation 'g33'; did you mean 'g3'?" in outcome.text
    assert "2 problem(s) to fix before training starts" in outcome.text
    assert not {"train", "predict_baselines"} & set(outcome.jobs)
    left = {path.name for path in (tmp_path / "out/run").iterdir()}
    assert not left & {"preflight.json", "checkpoints", "predictions.h5ad", "report.html"}


@pytest.mark.skipif(not ALL, reason="a start of Snakemake each; set STATELINE_FAULTS=all")
@pytest.mark.parametrize("name", [name for name in CORPUS if CORPUS[name].overrides])
def test_faults_of_an_override_fail_check(tmp_path, name):
    inputs = write_good(tmp_path / "run")
    CORPUS[name].spoil(inputs)
    overrides = json.dumps(CORPUS[name].overrides)
    config = (f"runs={inputs.run_file}", f"overrides={overrides}")
    outcome = snakemake(tmp_path, "check", "--config", *config, expect=1)
    assert "to fix before training starts" in outcome.text


@pytest.mark.parametrize("name", broken_config.CASES if ALL else list(broken_config.CASES)[:1])
def test_broken_config_runs_no_job(tmp_path, name):
    inputs = write_good(tmp_path / "run")
    overrides, words = broken_config.CASES[name]
    config = (f"runs={inputs.run_file}", f"overrides={json.dumps(overrides)}")
    outcome = snakemake(tmp_path, "check", "--config", *config, expect=1)
    assert outcome.jobs == []
    for text in words:
        assert text in outcome.text


@pytest.mark.long
def test_warnings_of_a_run_that_passes_stand_at_the_end(tmp_path):
    inputs = write_good(tmp_path / "run")
    inputs.features(g2=None)
    config = (f"runs={inputs.run_file}", "overrides=features.missing=zero")
    outcome = snakemake(tmp_path, "check", "--config", *config)
    end = outcome.text[outcome.text.index("preflight/findings.html") :]
    assert "warning: run/features.pt: no vector for 1 of the data's 7 perturbations" in end
