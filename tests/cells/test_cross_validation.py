"""A context that is left out whole, and a run for each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import pytest

from tests.cells.test_splits import FROM_TOML, FROM_TRAIN, GOOD, errors, groups, of, split
from tests.screens import write_screen
from tests.tiny_run import write_tiny_run
from workflow_scripts.cells.cross_validation import contexts_to_leave_out
from workflow_scripts.cells.split_file import SplitFile
from workflow_scripts.cells.splits import split_groups
from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.runs import resolve_run, resolve_runs

CONFIG = Path(__file__).parents[2] / "config"


def left_out(name: str) -> Any:
    return replace(FROM_TOML, leave_out=name)


def test_all_of_the_context_is_tested_and_what_the_file_tests_elsewhere_trains(tmp_path):
    splits = split(tmp_path, GOOD, left_out("d.hepg2.v2"))
    assert errors(splits) == ""
    assert [of(splits, "hepg2.v2", p) for p in "ABCDE"] == ["test"] * 5
    assert [of(splits, "k562", p) for p in "ABCDE"] == ["val", *["train"] * 4]
    assert [of(splits, "rpe1", p) for p in "ABCDE"] == ["train"] * 5
    (note,) = [one.message for one in splits.findings if one.code == "left-out"]
    assert "d.hepg2.v2; what" in note
    assert note.endswith("tests of d.k562, d.rpe1 trains")


def test_its_own_lists_give_way(tmp_path):
    toml = GOOD + '[fewshot."d.hepg2.v2"]\nval = ["E"]\n'
    splits = split(tmp_path, toml, left_out("d.k562"))
    assert errors(splits) == ""
    assert [of(splits, "k562", p) for p in "ABCDE"] == ["test"] * 5
    assert of(splits, "hepg2.v2", "E") == "val"


def test_no_split_file_is_needed():
    plan = SplitFile("no split file", {}, ("d",), {}, {})
    splits = split_groups(groups(), plan, replace(FROM_TRAIN, leave_out="d.rpe1"))
    assert errors(splits) == ""
    assert {of(splits, "rpe1", p) for p in "ABCDE"} == {"test"}
    assert {of(splits, "k562", p) for p in "ABCDE"} == {"train", "val"}


def test_context_that_is_not_there_is_named_with_the_nearest(tmp_path):
    found = errors(split(tmp_path, GOOD, left_out("d.rpe")))
    assert "splits.leave_out: the data has no context 'd.rpe'" in found
    assert "did you mean `d.rpe1`?" in found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_tiny_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(overrides: str) -> list[str]:
    return list(resolve_runs(CONFIG, "run.yaml", overrides, contexts_to_leave_out))


def test_each_context_gives_a_run(folder):
    assert names("splits.leave_out=each_context") == [
        "out/tiny_leave_out-k562",
        "out/tiny_leave_out-rpe1",
    ]
    runs = resolve_runs(CONFIG, "run.yaml", "splits.leave_out=each_context", contexts_to_leave_out)
    assert [run.config["splits"]["leave_out"] for run in runs.values()] == [
        "screen.k562",
        "screen.rpe1",
    ]


def test_each_context_of_each_run_of_a_grid(folder):
    assert names("splits.leave_out=each_context training.train_seed=1,2") == [
        f"out/tiny_train_seed-{seed}_leave_out-{context}"
        for seed in (1, 2)
        for context in ("k562", "rpe1")
    ]


def test_named_contexts_are_a_sweep_like_any_other(folder):
    (folder / "screen.h5ad").unlink()
    assert names("splits.leave_out=screen.k562,screen.rpe1") == [
        "out/tiny_leave_out-screen.k562",
        "out/tiny_leave_out-screen.rpe1",
    ]


def test_contexts_of_one_name_in_two_datasets_are_told_apart(folder):
    write_screen(folder / "other.h5ad", contexts=("k562", "jurkat"))
    given = "cells.datasets={screen:screen.h5ad,other:other.h5ad} data.kwargs.toml_config_path=null"
    assert names(f"splits.leave_out=each_context {given}") == [
        f"out/tiny_leave_out-{name}"
        for name in ("other.jurkat", "other.k562", "screen.k562", "screen.rpe1")
    ]


@pytest.mark.parametrize("plain", [False, True], ids=["categories", "strings"])
def test_contexts_that_only_have_controls_are_not_left_out(folder, plain):
    adata = anndata.read_h5ad(folder / "screen.h5ad")
    obs = adata.obs.astype(str)
    obs.loc[obs.index[:20], ["gene", "cell_type"]] = ["control", "a549"]
    obs.loc[obs.index[0], "cell_type"] = "never"
    adata.obs = obs if plain else obs.astype("category")
    if not plain:
        adata = adata[1:].copy()
        adata.obs["cell_type"] = adata.obs["cell_type"].cat.add_categories(["unused"])
    adata.write_h5ad(folder / "screen.h5ad", convert_strings_to_categoricals=not plain)
    run = resolve_run(CONFIG, "run.yaml", [])
    assert contexts_to_leave_out(run) == ["screen.k562", "screen.rpe1"]


def test_file_that_comes_later_is_said(folder):
    (folder / "screen.h5ad").unlink()
    with pytest.raises(ConfigError, match="reads the contexts from the data") as caught:
        names("splits.leave_out=each_context")
    assert "screen.h5ad" in str(caught.value)
    assert "Name them where the files come later" in str(caught.value)


def test_column_that_is_not_there_is_said(folder):
    with pytest.raises(ConfigError, match="obs has no column 'cell_line'"):
        names("splits.leave_out=each_context data.kwargs.cell_type_key=cell_line")


def test_one_context_is_not_enough(folder):
    write_screen(folder / "screen.h5ad", contexts=("k562",))
    with pytest.raises(ConfigError, match=r"needs two contexts.*; there is screen\.k562"):
        names("splits.leave_out=each_context")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["splits.test=none"], "splits.test also defines what is tested"),
        (["splits.make.contexts=[screen.k562]"], "splits.make.contexts also defines what"),
        (["splits.leave_out=k562"], "it takes dataset.context, or each_context"),
    ],
)
def test_other_keys_do_not_contradict_it(folder, overrides, message):
    with pytest.raises(ConfigError, match=message):
        resolve_run(CONFIG, "run.yaml", ["splits.leave_out=screen.rpe1", *overrides])
