"""A source that changes while it is packed is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packed import pack_arguments
from workflow_scripts import pack_cells
from workflow_scripts.errors import DataError


@pytest.fixture
def screen(make_screen: Callable[..., Path]) -> Path:
    return make_screen()


def test_file_that_changes_while_it_is_packed_is_refused(tmp_path, screen, monkeypatch):
    from workflow_scripts.cells import packing

    original = packing._write_tables

    def touching(*arguments: object) -> None:
        os.utime(screen, (1e9, 1e9))
        original(*arguments)

    monkeypatch.setattr(packing, "_write_tables", touching)
    with pytest.raises(DataError, match="was changed while it was packed"):
        pack_cells.pack_cells(pack_arguments(tmp_path / "cells", screen))
    assert not (tmp_path / "cells" / "manifest.json").exists()
