"""Every run file of config/runs passes `check` on data of the layout that it is for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata
import pytest

from tests.recipes import HELD_OUT_LINES, RUNS, STAND_INS
from tests.snakemake_runs import snakemake
from tests.stages import Stages
from workflow_scripts.errors import DataError
from workflow_scripts.settings.runs import resolve_run

pytestmark = pytest.mark.long

SCALED = ("engine.gpu_memory=80", "genes.n_top=20")
"""A GPU, so that the machine that tests doesn't decide whether a model of the real size fits, and a
number of genes that leaves some of the stand-in's out."""

TESTED = {
    "demo": {"sim_gamma"},
    "first_run": {"hepg2"},
    "vcc2025": set(),
    "vcc2026": set(),
    "replogle_fewshot": {"hepg2"},
    "replogle_zeroshot": {"hepg2"},
    "tahoe": set(HELD_OUT_LINES),
}
"""Contexts that a run tests; it tests none where a list is predicted."""

TRAINS_THERE = {"demo", "replogle_fewshot"}
"""Runs that train on other perturbations of the contexts that they test."""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def asks(name: str) -> bool:
    """Return whether a run predicts something else than its test split."""
    return "list_targets" in resolve_run(RUNS.parent, name, []).stages


NAMES = sorted(path.stem for path in RUNS.glob("*.yaml"))
ASKING = [name for name in NAMES if asks(name)]


def hold_to_the_plan(name: str, folder: Path) -> None:
    """Hold what is tested, and what trains beside it, to what the run file is for."""
    contexts: dict[str, Any] = json.loads((folder / "splits_audit.json").read_text())["contexts"]
    tested = {context for context, sizes in contexts.items() if sizes["test"]}
    assert tested == TESTED[name]
    assert {contexts[context]["train"] > 0 for context in tested} <= {name in TRAINS_THERE}
    assert any(sizes["val"] for sizes in contexts.values())


def warnings(folder: Path) -> set[str]:
    """Return what kinds of warnings a person sees."""
    found = json.loads((folder / "preflight" / "findings.json").read_text())["findings"]
    return {it["code"] for each in found.values() for it in each if it["severity"] != "note"}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ASKING])
def test_recipe_passes_the_check(name: str, own_folder: Path) -> None:
    STAND_INS[name]()
    Stages(Path(name), SCALED).check()
    assert json.loads(Path("passed.json").read_text())["estimate"]["device_bytes"] > 0
    hold_to_the_plan(name, own_folder)
    assert warnings(own_folder) == set()


def test_recipes_of_competitions_pass_the_check(own_folder: Path) -> None:
    """Through Snakemake: their targets, and the cells they predict from, are inputs of rules."""
    for name in ASKING:
        STAND_INS[name]()
    overrides = " ".join(SCALED)
    snakemake(own_folder, "check", "--config", f"runs={','.join(ASKING)}", f"overrides={overrides}")
    for name, n_contexts in {"vcc2025": 1, "vcc2026": 3}.items():
        (run,) = (own_folder / "competition" / name / "targets").iterdir()
        hold_to_the_plan(name, run)
        asked = json.loads((run / "targets_audit.json").read_text())
        assert (asked["perturbations"], asked["contexts"]) == (4, n_contexts)
        assert warnings(run) == {"submitted-genes"}  # there are fewer than are scored
        assert (run / "preflight.json").exists()


def test_an_entry_of_2025_can_be_scored_on_its_own_draw(own_folder: Path) -> None:
    """By the overrides that the run file's comment names."""
    STAND_INS["vcc2025"]()
    comment = (RUNS / "vcc2025.yaml").read_text().partition("\ndefaults:")[0].replace("\n#", "")
    named = comment.partition("To score instead of handing in: ")[2].partition(", which")[0]
    assert len(named.split()) == 3
    Stages(Path("vcc2025"), (*SCALED, *named.split())).check()
    contexts = json.loads(Path("splits_audit.json").read_text())["contexts"]
    assert {name for name, sizes in contexts.items() if sizes["test"]} == {"ARC_H1"}
    assert contexts["ARC_H1"]["train"] > contexts["ARC_H1"]["test"] > 0


def test_a_column_that_is_missing_stops_it(own_folder: Path) -> None:
    STAND_INS["replogle_zeroshot"]()
    path = own_folder / "replogle" / "replogle_concat.h5ad"
    cells = anndata.read_h5ad(path)
    cells.obs = cells.obs.rename(columns={"cell_line": "cell_type"})
    cells.write_h5ad(path)
    with pytest.raises(DataError):
        Stages(Path("replogle_zeroshot"), SCALED).check()
    findings = Path("preflight/findings.json").read_text()
    assert "obs has no column 'cell_line'" in findings
    assert not Path("passed.json").exists()
