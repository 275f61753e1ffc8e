"""One run that nothing disturbs, for all faults to be held to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.killed import Started
from tests.faults.whole_run import CONFIG, RULES
from tests.tiny_run import write_tiny_run


@dataclass(frozen=True)
class Unbroken:
    """A run that nothing disturbed, and how long its jobs took."""

    run: Path
    durations: Mapping[str, float]


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    folder = tmp_path_factory.mktemp("unbroken")
    write_tiny_run(folder)
    durations = Started(folder, CONFIG).durations()
    assert set(durations) >= set(RULES)
    return Unbroken(folder / "out" / "tiny", durations)
