"""A packing that is killed leaves no store, and the next one makes it whole."""

from __future__ import annotations

import signal
import time

import pytest

from tests.packed import start_packing
from workflow_scripts.cells.manifest import Manifest
from workflow_scripts.cells.store import CellStore

pytestmark = pytest.mark.long


@pytest.mark.parametrize("file", ["values.npy", "cells.parquet"])
def test_killed_packing_leaves_nothing_that_could_be_taken_for_a_store(tmp_path, make_screen, file):
    screen = make_screen(genes=[f"g{number}" for number in range(3000)], cells_per_group=60)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert start_packing(undisturbed, screen).wait() == 0
    process = start_packing(killed, screen)
    while not list(killed.glob(f"*/unfinished/{file}")):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "manifest.json").exists()
    assert start_packing(killed, screen).wait() == 0
    first, second = (CellStore.open(f / "manifest.json") for f in (undisturbed, killed))
    assert first.manifest["digest"] == second.manifest["digest"]
    (work,) = (path for path in killed.glob("[!.]*") if path.is_dir())
    assert not (work / "unfinished").exists()


def test_packing_that_is_interrupted_says_so_in_a_word(tmp_path, make_screen):
    screen = make_screen(genes=[f"g{number}" for number in range(3000)], cells_per_group=1200)
    # A library's callback may swallow the keys, and the work then ends as if none had come:
    # another try.
    for attempt in range(5):
        folder, log = tmp_path / str(attempt), tmp_path / f"log{attempt}"
        folder.mkdir()
        process = start_packing(folder / "store", screen, log=log)
        while not list(folder.glob("store/*/unfinished/values.npy")):
            assert process.poll() is None, "it ended before it could be interrupted"
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        if process.wait() != 0:
            break
        assert (folder / "store" / "manifest.json").exists()
    assert process.returncode == 130
    assert log.read_text().splitlines()[-1] == "interrupted"
    assert not (folder / "store" / "manifest.json").exists()


def test_process_that_waited_for_one_that_is_killed_packs(tmp_path, make_screen):
    screen = make_screen(genes=[f"g{number}" for number in range(3000)], cells_per_group=60)
    shared, log = tmp_path / "shared", tmp_path / "log"
    killed = start_packing(tmp_path / "killed", screen, shared)
    while not list(shared.glob("*/unfinished/values.npy")):
        assert killed.poll() is None, "it ended before it could be stopped"
        time.sleep(0.001)
    killed.send_signal(signal.SIGSTOP)
    waiting = start_packing(tmp_path / "waiting", screen, shared, log=log)
    while f"waiting for process {killed.pid}" not in log.read_text():
        assert waiting.poll() is None, "it didn't wait"
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    assert waiting.wait() == 0
    assert list(Manifest.read(tmp_path / "waiting" / "manifest.json").faults(anew=True)) == []
    assert not list(shared.glob("*/unfinished"))
