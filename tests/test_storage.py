"""What is kept is listed with who needs it, and only what nothing needs is removed."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packed import start_packing
from tests.read_only import open_place, unable_to_write
from tests.stages import CELLS_AUDIT, ROOT, STORE, Stages
from tests.tiny_run import write_tiny_run
from workflow_scripts import list_targets, storage
from workflow_scripts.cache.identity import IdentityFolder
from workflow_scripts.cache.kept import bytes_freed, bytes_of, identity_folders
from workflow_scripts.cells.manifest import Manifest
from workflow_scripts.cells.store import CellStore
from workflow_scripts.cells.uses import RUNS, register_run
from workflow_scripts.errors import DataError

HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "a+")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def show(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    storage.main(arguments)
    return capsys.readouterr().out


def row(text: str, folder: Path) -> str:
    (line,) = (line for line in text.splitlines() if line.startswith(str(folder)))
    return line


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stages:
    """Return a run that is in the working directory, packed and checked."""
    monkeypatch.chdir(tmp_path)
    stages = Stages(write_tiny_run(tmp_path))
    stages.check()
    stages.pack()
    return stages


def superseded_training(stages: Stages) -> tuple[Path, Path]:
    """Train, and train again with another learning rate; return both identities' folders."""
    stages.train()
    (first,) = identity_folders(Path("checkpoints"))
    Stages(stages.folder / "run.yaml", ["training.lr=2e-3"]).train()
    (second,) = set(identity_folders(Path("checkpoints"))) - {first}
    return first, second


def test_training_that_was_superseded_goes_and_the_current_one_stays(started, capsys):
    first, second = superseded_training(started)
    started.rest()
    finished = identity_folders(Path("finished"))
    assert len(finished) == 6
    text = show(capsys, ".")
    assert "superseded" in row(text, first)
    assert "current" in row(text, second)
    assert sorted(row(text, path).split()[1] for path in finished) == [
        "features.safetensors",
        "metrics.out",
        "negative_controls",
        "predictions.h5ad",
        "splits.parquet",
        "targets.parquet",
    ]
    assert "used by" in row(text, identity_folders(Path(STORE))[0])
    assert "1 folder that nothing needs; --remove would free" in text
    assert first.is_dir()
    freed = bytes_freed([first])[0]
    assert 0 < freed == bytes_of(first)
    said = show(capsys, ".", "--remove")
    assert f"removed {first}" in said
    assert not first.exists()
    assert second.is_dir()
    # What is left serves as before, and there is nothing more to remove.
    Stages(started.folder / "run.yaml", ["training.lr=2e-3"]).train()
    assert f"finished before: {second}" in capsys.readouterr().out
    assert "nothing to remove" in show(capsys, ".", "--remove")


def test_going_back_makes_the_other_one_superseded(started, capsys):
    first, second = superseded_training(started)
    Stages(started.folder / "run.yaml").train()
    assert "finished before" in capsys.readouterr().out
    text = show(capsys, ".")
    assert "current" in row(text, first)
    assert "superseded" in row(text, second)
    # final.ckpt is the first one's again; a name elsewhere keeps the bytes of a file.
    linked = bytes_freed([second])[0]
    os.link(second / "training.csv", "my_copy.csv")
    assert linked - bytes_freed([second])[0] == Path("my_copy.csv").stat().st_size


def test_published_outputs_free_nothing(started):
    started.train()
    (only,) = identity_folders(Path("checkpoints"))
    published = ("checkpoints/final.ckpt", "checkpoints/best.ckpt", "training.csv", "starts.json")
    inodes = {os.stat(path).st_ino: os.stat(path).st_size for path in published}
    assert bytes_of(only) - bytes_freed([only])[0] == sum(inodes.values())


def test_work_of_a_version_that_noted_nothing_is_kept(started, capsys):
    first, _ = superseded_training(started)
    Path("checkpoints/final.ckpt.identities.json").unlink()
    text = show(capsys, ".", "--remove")
    assert "unknown" in row(text, first)
    assert "nothing to remove" in text
    assert first.is_dir()


def test_what_is_not_an_identity_is_never_touched(started, capsys):
    first, _ = superseded_training(started)
    Path("checkpoints/mine").mkdir()
    Path("checkpoints/mine/notes.txt").write_text("mine")
    show(capsys, ".", "--remove")
    assert Path("checkpoints/mine/notes.txt").read_text() == "mine"
    assert not first.exists()


def test_what_another_process_works_on_is_kept(started, capsys):
    first, _ = superseded_training(started)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(first / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    text = show(capsys, ".", "--remove")
    assert "a process works on it" in row(text, first)
    assert first.is_dir()
    holder.communicate("")
    assert f"removed {first}" in show(capsys, ".", "--remove")


def test_process_that_waited_for_what_was_removed_makes_it_again(tmp_path):
    work = IdentityFolder(tmp_path, "a" * 32)
    with (work.path / "lock").open("a+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        program = (
            "import sys; from pathlib import Path\n"
            "from workflow_scripts.cache.identity import IdentityFolder\n"
            "work = IdentityFolder(Path(sys.argv[1]), 'a' * 32)\n"
            "with work.lock():\n"
            "    (work.path / 'made').touch()\n"
        )
        waiting = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert waiting.stdout is not None
        assert waiting.stdout.readline().startswith("waiting for")
        shutil.rmtree(work.path)
    waiting.communicate()
    assert waiting.returncode == 0
    assert (work.path / "made").exists()


def pack_changed(stages: Stages, folder: Path) -> tuple[Path, Path]:
    """Change the screen, pack it again; return the folders of both packings."""
    (first,) = identity_folders(Path(STORE))
    with (folder / "screen.h5ad").open("ab") as file:
        file.write(b"more")
    stages.pack()
    (second,) = set(identity_folders(Path(STORE))) - {first}
    return first, second


def test_packing_that_was_superseded_goes_and_the_current_one_stays(started, tmp_path, capsys):
    first, second = pack_changed(started, tmp_path)
    text = show(capsys, ".", "--remove")
    assert "superseded" in row(text, first)
    assert "screen: 168 cells x 30 genes" in row(text, second)
    assert "used by" in row(text, second)
    assert not first.exists()
    CellStore.open(Path(STORE, "manifest.json"))


def test_packings_are_kept_while_it_is_not_known_which_one_is_opened(started, tmp_path, capsys):
    first, second = pack_changed(started, tmp_path)
    Path(STORE, "manifest.json").unlink()  # as while it is packed
    text = show(capsys, ".", "--remove")
    for folder in (first, second):
        assert "used by" in row(text, folder)
        assert folder.is_dir()


def test_cells_of_a_run_that_is_gone_go_with_their_manifest(started, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)
    cache = tmp_path.parent / f"{tmp_path.name}-cache"
    shutil.copytree(tmp_path / "cache", cache)
    shutil.rmtree(tmp_path)
    (work,) = identity_folders(cache / "cells" / "tiny")
    text = show(capsys, "--cache", str(cache), "--remove")
    assert "no run" in row(text, work)
    assert not work.exists()
    # What no rule of storage made is left alone.
    left = {path.name for path in (cache / "cells" / "tiny").iterdir()}
    assert left == {"cells_audit.json", ".digests"}


def test_run_that_moved_on_to_other_cells_no_longer_counts(started, capsys):
    (work,) = identity_folders(Path(STORE))
    audit = json.loads(Path("splits_audit.json").read_text())
    assert audit["cells"] == "tiny"
    Path("splits_audit.json").write_text(json.dumps({**audit, "cells": "others"}))
    Path("targets_audit.json").unlink()
    text = show(capsys, ".", "--remove")
    assert "no run" in row(text, work)
    assert not work.exists()
    # So that the workflow packs again where these cells are asked for again.
    assert not Path(STORE, "manifest.json").exists()
    assert not Path(STORE, RUNS).exists()


def test_run_that_says_nothing_of_its_cells_counts(started, capsys):
    Path("splits_audit.json").unlink()  # as while Snakemake has it made again
    (work,) = identity_folders(Path(STORE))
    assert "used by" in row(show(capsys, ".", "--remove"), work)


def test_moved_run_counts_where_it_is_named(started, tmp_path, capsys, monkeypatch):
    moved = tmp_path.with_name(f"{tmp_path.name}-moved")
    tmp_path.rename(moved)
    monkeypatch.chdir(moved)
    (work,) = identity_folders(Path(STORE))
    assert "no run" in row(show(capsys), work)
    assert "used by" in row(show(capsys, ".", "--remove"), work)
    assert work.is_dir()


@pytest.mark.parametrize("text", [None, "{", "[]", '{"run": 5}'])
def test_cells_that_nobody_registered_for_are_kept(tmp_path, make_screen, capsys, text):
    store = tmp_path / "cache" / "cells" / "mine"
    store.parent.mkdir(parents=True)
    assert start_packing(store, make_screen()).wait() == 0
    if text is not None:
        (store / RUNS).mkdir()
        (store / RUNS / "x.json").write_text(text)
    (work,) = identity_folders(store)
    said = show(capsys, "--cache", str(tmp_path / "cache"), "--remove")
    assert "unknown: no run has registered" in row(said, work)
    assert work.is_dir()


def test_packing_at_work_is_kept(tmp_path, make_screen, capsys):
    store = tmp_path / "cache" / "cells" / "mine"
    store.parent.mkdir(parents=True)
    screen = make_screen(genes=[f"g{number}" for number in range(3000)], cells_per_group=60)
    register_run(store, tmp_path / "gone", store / "manifest.json")
    process = start_packing(store, screen)
    while not list(store.glob("*/unfinished/values.npy")):
        assert process.poll() is None
    said = show(capsys, "--cache", str(tmp_path / "cache"), "--remove")
    (work,) = identity_folders(store)
    assert process.wait() == 0
    assert "no run, a process works on it" in row(said, work)
    assert list(Manifest.read(store / "manifest.json").faults(anew=True)) == []


def test_verify_reads_everything_and_names_what_rotted(started, capsys):
    assert "1 packing, every file as it was packed" in show(capsys, "--verify")
    (work,) = identity_folders(Path(STORE))
    path = work / "indices.npy"
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    CellStore.open(Path(STORE, "manifest.json"))
    with pytest.raises(DataError, match=r"1 file not as packed(.|\n)*indices\.npy: as many bytes"):
        show(capsys, "--verify")
    # And by now the stages refuse it, and what they say to do helps.
    with pytest.raises(DataError, match=r"indices\.npy"):
        CellStore.open(Path(STORE, "manifest.json"))
    Path(STORE, "manifest.json").unlink()
    started.pack()
    assert "every file as it was packed" in show(capsys, "--verify")


def test_what_can_not_be_removed_is_said(make_screen, capsys):
    with open_place() as place:
        store = place / "cells" / "mine"
        store.parent.mkdir()
        assert start_packing(store, make_screen()).wait() == 0
        register_run(store, place / "gone", store / "manifest.json")
        (work,) = identity_folders(store)
        with unable_to_write(work):
            text = show(capsys, "--cache", str(place), "--remove")
        assert f"kept {work}, or some of it:" in text
        assert "freed 0 bytes" in text
        assert list(Manifest.read(store / "manifest.json").faults(anew=True)) == []


def test_nothing_kept_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert show(capsys).startswith("nothing is kept in cache or in run folders here")
    with pytest.raises(DataError, match="nowhere: no such folder"):
        storage.main(["nowhere"])


def test_cells_that_a_run_predicts_from_are_its_own_too(started):
    Path("other").mkdir()
    list_targets.list_targets(
        [
            *("--settings", "stages/targets.json", "--groups", "groups.parquet"),
            *("--cells-audit", CELLS_AUDIT, "--splits", "splits.parquet", "--store", "other"),
            *("--targets", "other.parquet", "--audit", "other.json"),
            *("--run", ".", "--work-dir", "finished"),
        ]
    )
    (noted,) = Path("other", RUNS).iterdir()
    (usual,) = Path(STORE, RUNS).iterdir()
    assert json.loads(noted.read_text())["run"] == json.loads(usual.read_text())["run"]


def test_anchors_that_no_run_here_uses_go(started, capsys):
    started.train()
    started.rest()
    (anchors,) = identity_folders(Path("shared_anchors"))
    Path("cache").mkdir(exist_ok=True)
    Path("shared_anchors").rename("cache/anchors")
    own = Path("cache/anchors") / anchors.name
    other = own.with_name("0" * 32)
    shutil.copytree(own, other)
    text = show(capsys, ".", "--cache", "cache", "--remove")
    assert "used by a run" in row(text, own)
    assert "used by no run" in row(text, other)
    assert own.is_dir()
    assert not other.exists()


def dead_process() -> int:
    """Return the number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_what_a_kill_left_half_written_is_removed_and_what_is_being_written_is_not(started, capsys):
    host, dead = socket.gethostname(), dead_process()
    left = [Path(f".splits.parquet.{host}.{dead}"), Path(STORE, f".twins.parquet.{host}.{dead}")]
    others = [Path(f".splits.parquet.{host}.{os.getpid()}"), Path(f".a.elsewhere.{dead}")]
    for path in (*left, *others):
        path.write_bytes(bytes(1000))
    text = show(capsys, ".")
    assert all("its process is dead" in row(text, path) for path in left)
    assert "--remove would free 2 kB" in text
    show(capsys, ".", "--remove")
    assert [path.exists() for path in (*left, *others)] == [False, False, True, True]


def test_next_start_of_a_stage_removes_what_its_killed_process_left(started):
    left = Path(f".features.safetensors.{socket.gethostname()}.{dead_process()}")
    left.touch()
    options = ("--groups", "groups.parquet", "--cells-audit", CELLS_AUDIT)
    subprocess.run(
        [
            *(sys.executable, "-m", "workflow_scripts.validate_features", *options),
            *("--settings", "stages/features.json", "--features", "features.safetensors"),
            *("--audit", "features_audit.json", "--work-dir", "finished"),
        ],
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert not left.exists()


def test_verify_names_an_output_that_nothing_reads(started, capsys):
    assert "published files, each as it was written" in show(capsys, ".", "--verify")
    Path("splits.toml").write_text("edited")
    with pytest.raises(DataError, match=r"not as they were written(.|\n)*splits\.toml"):
        show(capsys, ".", "--verify")
