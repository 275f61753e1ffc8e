"""A compiled step is the same to rounding, and can be done without."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from tests.screens import write_screen
from tests.training.training_runs import ROOT, Training, kill_after, same
from workflow_scripts.training.compiling import objective_for

pytestmark = pytest.mark.long

COMPILED = ("engine.compile=true", "+model.kwargs.dropout=0.2")
# Compiled code has random numbers of its own.
WITHOUT_DROPOUT = ("+model.kwargs.dropout=0.0", "training.max_steps=8")


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """Return inputs of `train`."""
    folder = tmp_path_factory.mktemp("compiling")
    return Training(folder, write_screen(folder / "screen.h5ad", cells_per_group=9))


def test_compiled_training_has_the_same_losses(training):
    training.run("eager", *WITHOUT_DROPOUT)
    training.run_apart("same", "engine.compile=true", *WITHOUT_DROPOUT)
    for row, expected in zip(training.log("same"), training.log("eager"), strict=True):
        for name in ("train_loss", "val_loss", "gradient_norm"):
            assert bool(row[name]) == bool(expected[name])
            if row[name]:
                assert float(row[name]) == pytest.approx(float(expected[name]), rel=2e-4)


def test_compiled_training_with_dropout_goes_on_exactly(training):
    assert "compiling the step" in training.run_apart("compiled", *COMPILED)
    kill_after(training.command("killed", *COMPILED), training.folder / "killed", "*/*=*012.ckpt")
    assert "from step 0" not in training.run_apart("killed", *COMPILED)
    assert same(training.weights("killed"), training.weights("compiled"))
    assert training.log("killed") == training.log("compiled")


def test_step_that_has_to_be_compiled_says_why_it_cannot(training):
    environment = {
        **os.environ,
        "CXX": "no-such-compiler",
        "TORCHINDUCTOR_CACHE_DIR": str(training.folder / "cache"),
    }
    done = subprocess.run(
        training.command("refused", *COMPILED),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    assert done.returncode == 1
    assert "error: the step can't be compiled here (" in done.stderr
    assert "set engine.compile=false" in done.stderr


@pytest.fixture(scope="module")
def apart() -> dict[str, Any]:
    """Return what `compiled_step` tells."""
    command = [sys.executable, "-m", "tests.training.compiled_step"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_step_that_may_be_compiled_runs_as_it_is_where_it_cannot(apart):
    made = apart["without a compiler"]
    assert made["totals"] == [made["own"]] * 2
    assert len(made["said"]) == 2
    assert made["said"][0].startswith("compiling the step")
    assert re.match("the step can't be compiled here and runs .*compiler", made["said"][1])


@pytest.mark.parametrize("name", ["energy", "mse"])
def test_set_with_nan_is_left_out_of_a_compiled_step_as_of_another(apart, name):
    as_it_is, compiled = (
        {key: torch.tensor(values) for key, values in result.items()}
        for result in apart["sets"][name]
    )
    assert as_it_is["values"].isnan().tolist() == [False, True, False, False]
    assert as_it_is["gradient"].isfinite().all()
    assert_close(compiled, as_it_is, equal_nan=True)


def test_without_a_gpu_auto_does_not_compile():
    said: list[str] = []
    cpu = torch.device("cpu")
    assert objective_for("auto", cpu, said.append) is objective_for(False, cpu, said.append)
    assert not said
