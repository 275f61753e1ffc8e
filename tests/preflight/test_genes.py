"""What is said of a choice of genes, and how many will be read, before anything is packed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.preflight.good_run import GENES, Inputs, write_good
from tests.stages import Stages
from workflow_scripts.cells.gene_choice import GeneChoice

TARGETS = {"g1", "g2", "g3", "unmeasured"}


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inputs:
    monkeypatch.chdir(tmp_path)
    return write_good(tmp_path / "run")


def choice(**changes: object) -> GeneChoice:
    return GeneChoice(
        **{"select": "hvg", "n_top": 20, "keep_targets": True, "file": None} | changes
    )


def codes(asked: GeneChoice, *, chosen_before: bool = False) -> list[tuple[str, str]]:
    found = asked.audit(GENES, TARGETS, chosen_before=chosen_before)
    return [(finding.severity, finding.code) for finding in found]


def test_a_good_choice_passes_in_silence():
    assert codes(choice()) == codes(choice(select="all", n_top=2000)) == []


def test_more_genes_than_there_are_is_a_warning():
    assert codes(choice(n_top=80)) == [("warning", "n-top")]
    assert codes(choice(n_top=79)) == []


def test_choosing_among_chosen_genes_is_a_note():
    assert codes(choice(), chosen_before=True) == [("note", "genes-chosen-before")]


def test_a_list_without_measured_targets_is_a_note(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("g1\ng7\n")
    asked = choice(select="list", file=str(file))
    (found,) = asked.audit(GENES, TARGETS, chosen_before=False)
    assert (found.severity, found.names) == ("note", ("g2", "g3"))


@pytest.mark.parametrize(
    ("changes", "most"),
    [
        ({"select": "all"}, 80),
        ({}, 23),
        ({"keep_targets": False}, 20),
        ({"n_top": 79}, 80),
        ({"select": "list"}, 2),
    ],
)
def test_the_genes_that_will_be_read_are_counted(tmp_path, changes, most):
    (tmp_path / "mine.txt").write_text("g1\ng7\n")
    asked = choice(**changes, file=str(tmp_path / "mine.txt"))
    assert asked.most_genes(GENES, TARGETS) == most


def test_fewer_genes_need_a_smaller_model_and_as_much_disk(inputs):
    needs = {}
    for name, overrides in (("all", ()), ("hvg", ("genes.select=hvg", "genes.n_top=20"))):
        Stages(inputs.run_file, overrides).check()
        needs[name] = json.loads(Path("passed.json").read_text())["estimate"]
    assert needs["hvg"]["packed_bytes"] == needs["all"]["packed_bytes"]
    assert needs["hvg"]["model"]["n_parameters"] < needs["all"]["model"]["n_parameters"]
    assert needs["hvg"]["host_bytes"] < needs["all"]["host_bytes"]


def test_all_names_lie_beside_the_packed_cells(inputs):
    Stages(inputs.run_file).check()
    assert Path("genes.txt").read_text().split() == list(GENES)
