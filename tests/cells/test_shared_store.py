"""One store serves several working directories, also where they can't write into it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from tests.packed import pack_arguments, start_packing
from tests.read_only import open_place, unable_to_write
from workflow_scripts import pack_cells
from workflow_scripts.cells.manifest import Manifest
from workflow_scripts.cells.store import CellStore

GENES = [f"g{number}" for number in range(2000)]


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines()


def test_of_two_packings_at_once_one_packs_and_both_have_it(tmp_path, make_screen):
    screen = make_screen(genes=GENES, cells_per_group=60)
    shared = tmp_path / "shared"
    folders = [tmp_path / name / "cells" for name in ("first", "second")]
    for folder in folders:
        folder.mkdir(parents=True)
    logs = [folder.parent / "log" for folder in folders]
    started = [
        start_packing(folder, screen, shared, log=log)
        for folder, log in zip(folders, logs, strict=True)
    ]
    assert [process.wait() for process in started] == [0, 0]
    packed = [line.startswith("packed 480 cells") for log in logs for line in lines(log)]
    assert sum(packed) == 1
    (work,) = (path for path in shared.iterdir() if path.is_dir())
    assert not (work / "unfinished").exists()
    for folder in folders:
        manifest = Manifest.read(folder / "manifest.json")
        assert manifest.folder == work
        assert list(manifest.faults(anew=True)) == []


def test_manifest_in_the_store_s_own_folder_travels_with_it(tmp_path, make_screen):
    folder = tmp_path / "cells"
    pack_cells.pack_cells(pack_arguments(folder, make_screen()))
    moved = tmp_path / "moved"
    folder.rename(moved)
    assert CellStore.open(moved / "manifest.json").n_cells == 48


def test_finished_store_serves_others_where_they_cannot_write(make_screen):
    with open_place() as place:
        screen = Path(shutil.copy(make_screen(), place))
        shared, first, second = (place / name for name in ("shared", "first", "second"))
        pack_cells.pack_cells(pack_arguments(first, screen, shared))
        arguments = pack_arguments(second, screen, shared)
        second.mkdir(mode=0o777)
        second.chmod(0o777)
        (work,) = (path for path in shared.iterdir() if path.is_dir())
        work.chmod(0o555)
        with unable_to_write(shared):
            pack_cells.pack_cells(arguments)
        work.chmod(0o755)
        stores = [CellStore.open(folder / "manifest.json") for folder in (first, second)]
        assert stores[0].folder == stores[1].folder == work
        rows = np.arange(48)
        np.testing.assert_array_equal(stores[0].dense(rows), stores[1].dense(rows))
