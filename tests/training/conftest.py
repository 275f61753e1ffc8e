"""What tests of whole trainings share."""

from __future__ import annotations

import pytest

from tests.screens import write_screen
from tests.training.training_runs import Training


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """Return inputs of `train`, with the run `unbroken` that others are compared with."""
    folder = tmp_path_factory.mktemp("training")
    made = Training(folder, write_screen(folder / "screen.h5ad", cells_per_group=9))
    made.run("unbroken")
    return made
