"""What every stage does around its work, shown on small ones."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from workflow_scripts import train
from workflow_scripts.errors import DataError
from workflow_scripts.settings.slices import Slice
from workflow_scripts.stage import Folder, Output, OutputFolder, Stage, stage

CALLS: list[str] = []


@dataclass(frozen=True)
class Files:
    """What it reads.

    Attributes
    ----------
    texts
        Files to join.
    more
        Another file, if there is one.
    """

    texts: list[Path]
    more: Path | None


@stage("submit")
def join(
    settings: Slice,
    files: Files,
    place: Folder,
    times: int | None,
    out: Output,
    parts: OutputFolder,
) -> None:
    """Join files.

    Parameters
    ----------
    place
        Where nothing counts.
    times
        How often.
    out
        What comes out, to write.
    parts
        Folder of the parts, to write.
    """
    CALLS.append(settings["prediction.submission"])
    read = [path.read_text() for path in [*files.texts, *([files.more] if files.more else [])]]
    out.write_text("".join(read) * (times or 1))
    for number, text in enumerate(read):
        (parts / f"{number}.txt").write_text(text)


@stage("report", kept=False)
def count(texts: list[Path], out: Output) -> None:
    """Count characters.

    Parameters
    ----------
    texts
        Files to count.
    out
        The number, to write.
    """
    out.write_text(str(sum(len(path.read_text()) for path in texts)))
    if not texts:
        raise DataError("there is nothing to count")


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        Path(f"{name}.txt").write_text(name)
    CALLS.clear()

    def call(*arguments: str, key: str = "vcc2025") -> str:
        content = {"identity": {"prediction.submission": key}, "extent": {}}
        Path("stage.json").write_text(json.dumps(content))
        join(
            [
                *("--settings", "stage.json", "--place", "anywhere", "--work-dir", "finished"),
                *("--out", "published/out.txt", "--parts", "published/parts"),
                *(arguments or ("--texts", "a.txt", "b.txt")),
            ]
        )
        return Path("published/out.txt").read_text()

    return call


def test_outputs_are_published_and_the_same_work_is_not_done_again(
    call: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call() == "ab"
    assert [path.name for path in sorted(Path("published/parts").glob("*.txt"))] == [
        "0.txt",
        "1.txt",
    ]
    Path("published/out.txt").unlink()
    Path("published/parts/0.txt").unlink()
    os.utime("a.txt", (1, 1))
    assert call("--texts", "a.txt", "b.txt", "--times", "3") == "ab"
    assert Path("published/parts/0.txt").read_text() == "a"
    assert len(CALLS) == 1
    assert "finished before" in capsys.readouterr().out


def test_another_content_setting_or_file_is_other_work(call: Callable[..., str]) -> None:
    call()
    Path("b.txt").write_text("c")
    assert call() == "ac"
    call(key="vcc2026")
    assert call("--texts", "a.txt", "b.txt", "--more", "a.txt") == "aca"
    assert call("--texts", "b.txt", "a.txt") == "ca"
    assert CALLS == ["vcc2025", "vcc2025", "vcc2026", "vcc2025", "vcc2025"]
    call()
    assert len(CALLS) == 5


def test_damaged_input_is_refused_and_damaged_work_is_done_again(call: Callable[..., str]) -> None:
    call()
    kept = next(Path("finished").glob("*/out.txt"))
    kept.unlink()
    kept.write_text("xy")
    assert call() == "ab"
    assert len(CALLS) == 2
    Path("published/out.txt").unlink()
    Path("published/out.txt").write_text("no")
    with pytest.raises(DataError, match="damaged or edited"):
        call("--texts", "published/out.txt")


def test_work_that_fails_publishes_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("aa")
    count(["--texts", "a.txt", "--out", "n.txt"])
    assert Path("n.txt").read_text() == "2"
    with pytest.raises(DataError, match="nothing to count"):
        count(["--texts", "--out", "m.txt"])
    assert not Path("m.txt").exists()


def test_command_of_a_rule_names_files_and_params_as_the_options() -> None:
    assert isinstance(join, Stage)
    assert join.shell() == (
        "python -m workflow_scripts.test_stage --settings {input.settings:q}"
        " --texts {input.texts:q} --more {input.more:q} --place {params.place:q}"
        " --times {params.times:q} --out {output.out:q} --parts {output.parts:q}"
        " --work-dir {wildcards.run:q}/finished > {log:q} 2>&1"
    )
    assert "--work-dir" not in count.shell()
    # Of the settings of train, some change no result.
    assert "--config {input.config:q}" in train.train.shell()


def test_help_is_the_docstring(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        join(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith("Join files.")
    assert "--texts [PATH ...] files to join" in text
    assert "--times [N] how often" in text
