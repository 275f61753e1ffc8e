"""Chosen genes reach everything that follows, and nothing that comes before them."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import h5py
import pytest

from tests.snakemake_runs import ROOT, Outcome, snakemake
from tests.tiny_run import write_tiny_run
from workflow_scripts.settings.runs import resolve_run

pytestmark = pytest.mark.long

QUICK = "prediction.baselines=[control] evaluation.profile=pds evaluation.extra_metrics=[]"
HVG = "genes.select=hvg genes.n_top=12"
FROM_GENES = {
    *("select_genes", "train", "predict", "predict_baselines", "evaluate", "report"),
    *("predict_negative_controls", "anchors", "freeze_config", "freeze_stage", "preflight"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a finished run on highly variable genes."""
    folder = tmp_path_factory.mktemp("genes")
    write_tiny_run(folder)
    first = start(folder, HVG)
    audits = {"freeze_cells", "audit_cells", "audit_splits", "validate_features", "pack_cells"}
    assert set(first.jobs) == FROM_GENES | audits
    return folder


def start(folder: Path, overrides: str, *arguments: str) -> Outcome:
    config = ("--config", f"runs={folder / 'run.yaml'}", f"overrides={QUICK} {overrides}")
    return snakemake(folder, "--resources", "gpu=1", *config, *arguments)


def planned(folder: Path, overrides: str) -> set[str]:
    return start(folder, overrides, "--dry-run").planned


def chosen(folder: Path) -> dict:
    return json.loads((folder / "out/tiny/genes.json").read_text())


def genes_of(folder: Path, name: str) -> list[str]:
    return list(anndata.read_h5ad(folder / "out/tiny" / name, backed="r").var_names)


def test_all_genes_leave_the_settings_of_training_as_they_are(folder, monkeypatch):
    monkeypatch.chdir(folder)
    every, some = (
        resolve_run(ROOT / "config", "run.yaml", overrides) for overrides in ((), HVG.split())
    )
    for stage in ("train", "predict", "predict_baselines"):
        before, after = json.loads(every.stage_json(stage)), json.loads(some.stage_json(stage))
        assert after.pop("genes") == "chosen"
        assert before.pop("seal") != after.pop("seal")
        assert before == after  # so that the genes are an input, and of a run on all, none


def test_every_output_holds_the_chosen_genes_and_says_so(folder):
    record = chosen(folder)
    assert {f"g{number}" for number in range(1, 7)} <= set(record["genes"])  # all targets
    assert 12 <= len(record["genes"]) <= 18
    for name in ("predictions.h5ad", "observed.h5ad", "baselines/control.h5ad"):
        assert genes_of(folder, name) == record["genes"]
        with h5py.File(folder / "out/tiny" / name) as file:
            assert file["uns/stateline/genes"].asstr()[()] == record["sentence"]
    assert record["sentence"] in (folder / "out/tiny/report.html").read_text()
    needs = json.loads((folder / "out/tiny/preflight.json").read_text())["estimate"]
    assert needs["model"]["n_parameters"] > 0


def test_then_there_is_nothing_to_do(folder):
    assert "Nothing to be done" in start(folder, HVG).text


def test_another_number_of_genes_runs_what_follows_them_alone(folder):
    assert planned(folder, "genes.select=hvg genes.n_top=10") == FROM_GENES


def test_all_genes_need_no_choice(folder):
    assert planned(folder, "") == FROM_GENES - {"select_genes"}


def test_what_a_list_holds_is_an_input(folder):
    genes = [f"g{number}" for number in range(10)]
    (folder / "mine.txt").write_text("\n".join(["# by hand", *reversed(genes)]))
    overrides = "genes.select=list genes.file=mine.txt"
    start(folder, overrides, "--", "out/tiny/genes.json", "out/tiny/preflight.json")
    assert chosen(folder)["genes"] == genes
    assert not {"select_genes", "preflight"} & planned(folder, overrides)
    (folder / "mine.txt").write_text("\n".join(genes[1:]))
    assert {"select_genes", "preflight", "train"} <= planned(folder, overrides)
