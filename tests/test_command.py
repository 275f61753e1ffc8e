"""How a command ends where what its command line names or holds is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from workflow_scripts import pack_cells, train
from workflow_scripts.command import run_command


@pytest.mark.parametrize("form", [["--audit", "gone.json"], ["--audit=gone.json"]])
def test_missing_file_is_said_with_the_option_that_names_it(form, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    Path("files.json").write_text("{}")
    arguments = ["--cell-files", "files.json", *form, "--manifest", "manifest.json", "--store", "."]
    monkeypatch.setattr(sys, "argv", ["pack_cells", *arguments])
    with pytest.raises(SystemExit) as ended:
        run_command(pack_cells.pack_cells)
    assert ended.value.code == 1
    said = f"error: gone.json: no such file; --audit names it, relative to {tmp_path}\n"
    assert capsys.readouterr().err == said


def test_missing_file_that_nobody_named_is_a_defect(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["command", "--out", "a.h5ad"])
    with pytest.raises(FileNotFoundError):
        run_command(lambda _: print(Path(tmp_path, "inner.json").read_text()))


def test_missing_stage_file_is_said_to_be_the_workflows(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    needed = ("config", "cells", "splits", "features", "final", "best", "metrics", "starts")
    needed = (*needed, "work-dir")
    rest = [word for name in needed for word in (f"--{name}", name)]
    monkeypatch.setattr(sys, "argv", ["train", "--settings", "train.json", *rest])
    with pytest.raises(SystemExit) as ended:
        run_command(train.train)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: train.json: no such file; the workflow writes it\n"
