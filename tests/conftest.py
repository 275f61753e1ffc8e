"""Fixtures that several parts share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.screens import write_screen

MakeScreen = Callable[..., Path]


@pytest.fixture
def make_screen(tmp_path: Path) -> MakeScreen:
    """Return `write_screen` for files in the test's own folder."""

    def make(name: str = "screen.h5ad", **options: object) -> Path:
        return write_screen(tmp_path / name, **options)

    return make
