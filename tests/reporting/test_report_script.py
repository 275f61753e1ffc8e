"""The command: a file when all is well, a message and no file when not."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from workflow_scripts.errors import ConfigError, DataError
from workflow_scripts.report import report as main
from workflow_scripts.reporting.files import InputPaths
from workflow_scripts.reporting.inputs import read_run
from workflow_scripts.reporting.run_facts import commands

Write = Callable[..., InputPaths]


def arguments(paths: InputPaths, out: Path) -> list[str]:
    """Return the command line for a run's files."""
    options = [
        word
        for entry in fields(InputPaths)
        for word in (f"--{entry.name.replace('_', '-')}", *values(getattr(paths, entry.name)))
    ]
    return [*options, "--out", str(out)]


def values(given: Path | list[Path]) -> list[str]:
    """Return what stands behind an option."""
    return [str(path) for path in (given if isinstance(given, list) else [given])]


def test_command_writes_one_file(write_files: Write, tmp_path: Path) -> None:
    out = tmp_path / "made" / "report.html"
    main(arguments(write_files(), out))
    assert out.read_text().lstrip().startswith("<!doctype html>")
    assert sorted(path.name for path in out.parent.iterdir()) == [".digests", "report.html"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("scores", "{", "not JSON"),
        ("scores", "{}", "lacks anchors, better, by_context"),
        ("cells_audit", "[]", "expected a mapping, found list"),
        ("config", "a: [", "not YAML"),
        ("training_metrics", "", "not a table"),
        ("training_metrics", "step,loss\n1,2\n", "lacks the columns epoch"),
        ("metrics", "model\tcontext\tperturbation\tmetric\traw\nm\tc\tp\tq\tx\n", "column raw"),
        ("effects", "", "not a Parquet file"),
        ("metrics_per_perturbation", "", "not a Parquet file"),
        ("metrics_per_perturbation", None, "no such file"),
        ("starts", "[{}]", "not a list of a training's starts"),
        ("starts", "[", "not JSON"),
        ("trace", "parameter\tvalue\n", "lacks the columns source"),
        ("provenance", None, "no such file"),
        ("settings", '{"report.title": null}', "not a stage file"),
    ],
)
def test_a_bad_file_is_named_and_no_report_is_left(
    write_files: Write,
    tmp_path: Path,
    name: str,
    content: str | None,
    words: str,
) -> None:
    paths = write_files()
    path: Path = getattr(paths, name)
    path.unlink()
    if content is not None:
        path.write_text(content)
    out = tmp_path / "report.html"
    with pytest.raises((DataError, ConfigError), match=f"^{re.escape(str(path))}: .*{words}"):
        main(arguments(paths, out))
    assert not out.exists()


def test_a_perturbation_called_na_keeps_its_name(write_files: Write, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    main(arguments(write_files(perturbations=("NA", "nan", "001")), out))
    html = out.read_text()
    assert all(f'<th scope="row">{name}</th>' in html for name in ("NA", "nan", "001"))


def test_a_step_logged_again_after_a_resume_counts_once(write_files: Write, tmp_path: Path) -> None:
    paths = write_files(n_steps=10)
    rest = "1e-4,1,1,0,1,1,1"
    again = f"9,0,5.5,,{rest}\n10,0,4.5,,{rest}\n10,0,,3.25,{rest}\n"
    with paths.training_metrics.open("a") as file:
        file.write(again)
    out = tmp_path / "report.html"
    main(arguments(paths, out))
    html = " ".join(out.read_text().split())
    assert "4.500 at the end (mean of the last 1 logged)" in html
    assert "<td>3.250</td>" in html


def test_commands_quote_what_a_shell_would_change(write_files: Write, tmp_path: Path) -> None:
    overrides = ["training.max_steps=5", "data.kwargs.control_pert='a b'"]
    paths = write_files(provenance={"overrides": overrides, "run_file": "my runs/a.yaml"})
    run = read_run(paths)
    line = commands(run.config, run.provenance).lines[-1]
    words = shlex.split(line)
    assert words[6] == "runs=my runs/a.yaml"
    assert json.loads(words[7].removeprefix("overrides=")) == overrides


def test_a_run_that_held_nothing_out_has_a_report_without_scores(
    write_files: Write, tmp_path: Path
) -> None:
    out = tmp_path / "report.html"
    words = arguments(write_files(), out)
    for name in ("--metrics", "--scores", "--effects", "--metrics-per-perturbation"):
        at = words.index(name)
        del words[at : at + 2]
    main(words)
    html = out.read_text()
    assert "Nothing was held out for test, so nothing was scored." in html
    assert '<section id="training"' in html
    assert '<section id="scores"' not in html
    assert 'href="#scores"' not in html


def test_the_genes_that_were_read_are_named(write_files: Write, tmp_path: Path) -> None:
    out, line = tmp_path / "report.html", "Read, predicted and scored: 3 of 9 genes: the list"
    words = arguments(write_files(), out)
    main(words)
    assert f"{line} &lt;mine&gt;.txt." in out.read_text()
    del words[words.index("--genes") + 1]  # what a rule gives where all are read
    main(words)
    assert line not in out.read_text()


def test_scores_come_all_or_none(write_files: Write, tmp_path: Path) -> None:
    words = arguments(write_files(), tmp_path / "report.html")
    at = words.index("--effects")
    del words[at : at + 2]
    with pytest.raises(ConfigError, match="or none of them"):
        main(words)
