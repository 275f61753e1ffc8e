"""Features of a run without a feature file: one number for each perturbation."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.numpy

from tests.preflight.good_run import write_good
from tests.stages import Stages


@pytest.fixture
def vectors(tmp_path, monkeypatch):
    """Return a function that gives the vectors of a run with the combination g5+g6."""
    monkeypatch.chdir(tmp_path)
    inputs = write_good(tmp_path / "run")
    inputs.label("gene", "g4", "g5+g6")
    inputs.toml('"g4"', '"g5+g6"')

    def read(*overrides: str) -> dict[str, np.ndarray]:
        one_hot = "data.kwargs.perturbation_features_file=null"
        Stages(inputs.run_file, (one_hot, *overrides)).check()
        return safetensors.numpy.load_file("features.safetensors")

    return read


def test_each_perturbation_has_a_number_of_its_own(vectors):
    matrix = np.stack([*vectors().values()])
    np.testing.assert_array_equal(matrix @ matrix.T, np.eye(len(matrix)))


@pytest.mark.xfail(strict=True, reason="Cells")
def test_a_combination_that_is_the_sum_of_its_parts_has_the_numbers_of_both(vectors):
    found = vectors("features.combinations=sum")
    np.testing.assert_array_equal(found["g5+g6"], found["g5"] + found["g6"])
    assert not np.array_equal(found["g5"], found["g6"])
