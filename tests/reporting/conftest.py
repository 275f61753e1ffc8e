"""Fixtures of the report's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reporting.run_files import write_run
from tests.reporting.screen import Screen
from workflow_scripts.reporting.files import InputPaths
from workflow_scripts.reporting.inputs import read_run
from workflow_scripts.reporting.page import render_report


@pytest.fixture
def write_files(tmp_path: Path) -> Callable[..., InputPaths]:
    """Write a run's files; keywords are fields of `Screen`."""
    return lambda **changes: write_run(tmp_path / "run", Screen(**changes))


@pytest.fixture
def render(write_files: Callable[..., InputPaths]) -> Callable[..., str]:
    """Render the report of a run; keywords are fields of `Screen`."""
    return lambda **changes: render_report(read_run(write_files(**changes)))
