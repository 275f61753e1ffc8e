"""Fixtures that several parts share; shapes in the models' signatures are checked all along."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

from tests import warm
from tests.screens import write_screen

# Before anything imports the models: their signatures say shapes, and tests hold them to it.
install_import_hook("workflow_scripts.models", "beartype.beartype")

MakeScreen = Callable[..., Path]

LONG = ("workflow", "real", "training")
"""Folders of tests that take minutes."""


def pytest_cmdline_main(config: pytest.Config) -> None:
    """Have pytest-xdist start its workers from the warm process."""
    if getattr(config.option, "tx", None):
        config.option.tx = [f"{len(config.option.tx)}*popen//python={warm.python()}"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first, so that workers that share the files end at about the same time.

    xdist has the files with most tests first, which are short ones: `make test` tells it not to.
    """
    items.sort(key=lambda item: item.path.parent.name not in LONG)


@pytest.fixture
def make_screen(tmp_path: Path) -> MakeScreen:
    """Return `write_screen` for files in the test's own folder."""

    def make(name: str = "screen.h5ad", **options: object) -> Path:
        return write_screen(tmp_path / name, **options)

    return make
