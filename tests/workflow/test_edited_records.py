"""Records that were edited by hand, or damaged, are made anew, and that is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.finished_run import OPTIONS
from tests.snakemake_runs import snakemake


def contents(run: Path) -> dict[str, bytes]:
    names = ("config.yaml", "config.trace.tsv", "stages/train.json", "stages/report.json")
    more = ("metrics.tsv", "scores.json", "checkpoints/final.ckpt")
    return {name: (run / name).read_bytes() for name in (*names, *more)}


def edit(path: Path, old: bytes, new: bytes) -> None:
    """Change a file in place, as many editors do: its hard links change with it."""
    content = path.read_bytes()
    assert old in content
    with path.open("r+b") as file:
        file.write(content.replace(old, new, 1))


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_edited_records_of_settings_are_made_anew_and_nothing_runs(finished_run: Path) -> None:
    run = finished_run / "out/tiny"
    before = contents(run)
    edit(run / "config.yaml", b"max_steps: 4", b"max_steps: 9")
    edit(run / "stages/train.json", b'"training.lr":0.001', b'"training.lr":0.009')
    cut(run / "stages/report.json")
    cut(run / "config.trace.tsv")
    done = snakemake(finished_run, *OPTIONS)
    for name in ("config.yaml", "config.trace.tsv", "stages/train.json", "stages/report.json"):
        lines = [line for line in done.text.splitlines() if f"out/tiny/{name} didn't hold" in line]
        assert len(lines) == 1, name
    assert done.jobs == []
    assert contents(run) == before
    assert b"max_steps: 9" in (run / "config.yaml.edited").read_bytes()
    assert "didn't hold" not in snakemake(finished_run, *OPTIONS).text


@pytest.mark.parametrize("name", ["metrics.tsv", "scores.json"])
def test_edited_scores_are_made_anew(finished_run: Path, name: str) -> None:
    run = finished_run / "out/tiny"
    before = contents(run)
    edit(run / name, b"0.", b"9.")
    done = snakemake(finished_run, *OPTIONS)
    assert f"out/tiny/{name} didn't hold what the workflow wrote" in done.text
    assert "evaluate" in done.jobs
    assert "train" not in done.jobs
    assert contents(run) == before
    assert "didn't hold" not in snakemake(finished_run, *OPTIONS).text


@pytest.mark.long
def test_settings_that_changed_are_no_damage(finished_run: Path) -> None:
    change = "overrides=report.title=Screen"
    for arguments in (("--dry-run",), ("why",), ()):
        done = snakemake(finished_run, *arguments, *OPTIONS, change)
        assert "didn't hold" not in done.text
    assert {"freeze_config", "report"} <= set(done.jobs)
