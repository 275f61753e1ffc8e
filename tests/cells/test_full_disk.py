"""A disk that is full ends a packing in words, with what it needs; nothing of it stays."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packed import ROOT, pack_arguments
from tests.screens import write_screen
from workflow_scripts.cache.kept import identity_folders
from workflow_scripts.command import run_command

GENES = [f"g{number}" for number in range(500)]


def pack(screen: Path, folder: Path, limit: int) -> subprocess.CompletedProcess[str]:
    """Pack a screen in a process whose files can't be larger than ``limit`` bytes.

    Writing then fails in the middle, as on a full disk.
    """
    return subprocess.run(
        [sys.executable, "-m", "workflow_scripts.pack_cells", *pack_arguments(folder, screen)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )


@pytest.fixture(scope="module", autouse=True)
def _compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have compiled code lie in its cache, which the limit would cut short too."""
    folder = tmp_path_factory.mktemp("compiled")
    done = pack(write_screen(folder / "screen.h5ad"), folder / "cells", resource.RLIM_INFINITY)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("encoding", "values", "limit", "needed"),
    [
        ("csr", "counts", 30_000, "75 kB"),  # a value takes 2 and 2 bytes
        ("csr", "log1p", 50_000, "112 kB"),  # 4 and 2: the first of the two files is whole
        ("csc", "counts", 100_000, "300 kB"),  # 12 more while values are dealt out
    ],
)
def test_full_disk_says_what_is_needed(tmp_path, encoding, values, limit, needed):
    screen = write_screen(tmp_path / "screen.h5ad", encoding=encoding, values=values, genes=GENES)
    folder = tmp_path / "cells"
    done = pack(screen, folder, limit)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    said = f"/unfinished: packing needs about {needed}, and the disk is full; make room, or set"
    assert said in done.stderr
    (work,) = identity_folders(folder)
    assert [path.name for path in work.iterdir()] == ["lock"]
    assert pack(screen, folder, resource.RLIM_INFINITY).returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_full_disk_ends_every_command_in_words(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["command"])
    with pytest.raises(SystemExit) as ended:
        run_command(lambda _: Path("/dev/full").write_text("its content"))
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        "error: No space left on device; make room, and start again\n"
    )
