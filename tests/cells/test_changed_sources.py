"""A source that is another file than was packed is said by name, and nothing else is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packed import pack_arguments
from tests.stages import Stages
from tests.tiny_run import write_tiny_run
from workflow_scripts import pack_cells
from workflow_scripts.cells.manifest import Manifest
from workflow_scripts.settings.errors import DataError


@pytest.fixture
def screen(make_screen: Callable[..., Path]) -> Path:
    return make_screen()


@pytest.fixture
def cells(tmp_path: Path, screen: Path) -> Path:
    folder = tmp_path / "cells"
    pack_cells.main(pack_arguments(folder, screen))
    return folder


def changes(cells: Path) -> list[str]:
    return list(Manifest.read(cells / "manifest.json").changed_sources())


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_file_as_it_was_says_nothing(cells):
    assert changes(cells) == []


def test_touched_file_is_read_once_and_says_nothing(cells, screen, monkeypatch):
    os.utime(screen)
    assert changes(cells) == []

    def fail(path: Path) -> str:
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr("workflow_scripts.settings.known_digests.file_digest", fail)
    assert changes(cells) == []


def test_missing_file_says_nothing(cells, screen):
    screen.unlink()
    assert changes(cells) == []


def test_other_size_is_said_with_what_to_do(cells, screen):
    before = screen.stat().st_size
    with screen.open("ab") as file:
        file.write(b"more")
    (text,) = changes(cells)
    assert text.startswith(f"{screen}: another file than the one whose cells are packed")
    assert f"({before + 4} bytes, and {before} were packed)" in text
    assert "--forcerun audit_cells" in text


def test_other_content_in_as_many_bytes_is_said(cells, screen):
    alter(screen)
    (text,) = changes(cells)
    assert "as many bytes, and not the same ones" in text


def test_older_file_in_its_place_is_said(cells, screen):
    # Snakemake sees nothing here: the file is older than what was made of it.
    alter(screen)
    os.utime(screen, (1e9, 1e9))
    assert len(changes(cells)) == 1


def test_file_put_back_says_nothing(cells, screen):
    whole = screen.read_bytes()
    alter(screen)
    screen.write_bytes(whole)
    assert changes(cells) == []


def test_file_that_changes_while_it_is_packed_is_refused(tmp_path, screen, monkeypatch):
    from workflow_scripts.cells import packing

    original = packing._write_tables

    def touching(*arguments: object) -> None:
        os.utime(screen, (1e9, 1e9))
        original(*arguments)

    monkeypatch.setattr(packing, "_write_tables", touching)
    with pytest.raises(DataError, match="was changed while it was packed"):
        pack_cells.main(pack_arguments(tmp_path / "cells", screen))
    assert not (tmp_path / "cells" / "manifest.json").exists()


def test_stages_that_read_packed_cells_warn(tmp_path, monkeypatch, capsys):
    run_file = write_tiny_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    stages = Stages(run_file)
    stages.check()
    stages.pack()
    stages.train()
    stages.rest()
    said = "warning: " + str(tmp_path / "screen.h5ad")
    assert said not in capsys.readouterr().out
    with (tmp_path / "screen.h5ad").open("ab") as file:
        file.write(b"more")
    # Also where all the work was done before.
    stages.train()
    assert capsys.readouterr().out.count(said) == 1
    stages.rest()
    assert capsys.readouterr().out.count(said) == 3  # predict, its baselines, its unmasking
