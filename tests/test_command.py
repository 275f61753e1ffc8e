"""How a command ends where a file that was named isn't there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from workflow_scripts import fetch_cells, train
from workflow_scripts.command import run_command


@pytest.mark.parametrize("form", [["--fetched", "gone.h5ad"], ["--fetched=gone.h5ad"]])
def test_missing_file_is_said_with_the_option_that_names_it(form, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["--address", "https://example.org/a.h5ad", *form, "--out", "a.h5ad"]
    monkeypatch.setattr(sys, "argv", ["fetch_cells", *arguments])
    with pytest.raises(SystemExit) as ended:
        run_command(fetch_cells.main)
    assert ended.value.code == 1
    said = f"error: gone.h5ad: no such file; --fetched names it, relative to {tmp_path}\n"
    assert capsys.readouterr().err == said


def test_missing_file_that_nobody_named_is_a_defect(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["command", "--out", "a.h5ad"])
    with pytest.raises(FileNotFoundError):
        run_command(lambda _: print(Path(tmp_path, "inner.json").read_text()))


def test_missing_stage_file_is_said_to_be_the_workflows(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    needed = ("config", "cells", "splits", "features", "out-dir", "metrics", "starts")
    rest = [word for name in needed for word in (f"--{name}", name)]
    monkeypatch.setattr(sys, "argv", ["train", "--settings", "train.json", *rest])
    with pytest.raises(SystemExit) as ended:
        run_command(train.main)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: train.json: no such file; the workflow writes it\n"
