"""Fixtures that several parts share; shapes in the models' signatures are checked all along."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

from tests import warm
from tests.finished_run import copy_finished_run, make_finished_run
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


@pytest.fixture(scope="session")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished tiny run, which no test may change."""
    return make_finished_run(tmp_path_factory.mktemp("shared") / "run")


@pytest.fixture
def finished_run(shared_run: Path, tmp_path: Path) -> Path:
    """Return a copy of a finished tiny run, for one test (`tests.finished_run`)."""
    return copy_finished_run(shared_run, tmp_path / "finished")
