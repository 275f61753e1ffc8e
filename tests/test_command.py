"""How a command ends where what its command line names or holds is wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from workflow_scripts import audit_cells, pack_cells, train, why
from workflow_scripts.command import run_command


@pytest.mark.parametrize("form", [["--audit", "gone.json"], ["--audit=gone.json"]])
def test_missing_file_is_said_with_the_option_that_names_it(form, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    settings = json.dumps({"identity": {}, "extent": {}, "datasets": {}})
    arguments = ["--settings", settings, *form, "--manifest", "manifest.json"]
    monkeypatch.setattr(sys, "argv", ["pack_cells", *arguments])
    with pytest.raises(SystemExit) as ended:
        run_command(pack_cells.main)
    assert ended.value.code == 1
    said = f"error: gone.json: no such file; --audit names it, relative to {tmp_path}\n"
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


@pytest.mark.parametrize(
    ("script", "option", "text", "said"),
    [
        (audit_cells, "--settings", "{'identity': 1}", "argument --settings: not JSON (Expecting"),
        (pack_cells, "--settings", '{"identity": {}}', "without extent, datasets"),
        (why, "--config", '["demo"]', "argument --config: a JSON object without runs, overrides"),
    ],
)
def test_json_of_the_command_line_that_is_wrong_is_said_in_words(
    script, option, text, said, capsys
):
    with pytest.raises(SystemExit) as ended:
        script.main([option, text])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
