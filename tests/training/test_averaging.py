"""With engine.ema, the moving average of the weights is what validates and what is kept."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from tests.screens import write_screen
from tests.training.test_step_memory import FROZEN, LLAMA, memory, plan
from tests.training.training_runs import Training, kill_after, same
from workflow_scripts.models import load_model

EMA = "engine.ema=0.8"
ALL = ("training.ckpt_every_n_steps=1", "engine.keep_checkpoints=99")


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """Return inputs of `train`, with the run `averaged` that kept the state of every step."""
    folder = tmp_path_factory.mktemp("averaging")
    made = Training(folder, write_screen(folder / "screen.h5ad", cells_per_group=9))
    made.run("averaged", EMA, *ALL)
    return made


def test_checkpoint_holds_the_average_of_the_weights_so_far(training):
    steps = sorted((training.folder / "averaged").glob("*/step=*.ckpt"))
    assert len(steps) == 24
    average: dict[str, torch.Tensor] = {}
    for path in steps:
        kept = torch.load(path, weights_only=True)
        weights = kept["current_model_state"]
        average = {
            name: weight if not average else 0.8 * average[name] + 0.2 * weight
            for name, weight in weights.items()
        }
        assert_close(kept["state_dict"], average)
    model = load_model(training.folder / "averaged" / "final.ckpt")
    final = {f"model.{name}": weight for name, weight in model.state_dict().items()}
    assert_close(final, average)
    assert not same(final, weights)


def test_steps_are_those_without_an_average_and_validations_are_not(training):
    training.run("plain")
    kept = torch.load(next((training.folder / "averaged").glob("*/last.ckpt")), weights_only=True)
    assert same(kept["current_model_state"], training.weights("plain"))
    plain, averaged = training.log("plain"), training.log("averaged")
    for name in ("train_loss", "gradient_norm"):
        assert [row[name] for row in plain] == [row[name] for row in averaged]
    validations = [
        [row["val_loss"] for row in rows if row["val_loss"]] for rows in (plain, averaged)
    ]
    assert all(first != second for first, second in zip(*validations, strict=True))


@pytest.mark.long
def test_killed_training_goes_on_with_its_average(training):
    way = (EMA, "training.max_steps=40")
    training.run("whole", *way)
    kill_after(training.command("killed", *way), training.folder / "killed", "*/step=*012.ckpt")
    assert "from step 0" not in training.run("killed", *way)
    for name in ("final.ckpt", "best.ckpt"):
        assert same(training.weights("whole", name), training.weights("killed", name))
    assert training.log("whole") == training.log("killed")


@pytest.mark.parametrize("kwargs", [LLAMA, FROZEN], ids=["llama", "frozen"])
def test_average_is_counted_in_the_memory(kwargs):
    without, with_it = memory(plan(kwargs)), memory(plan(kwargs, ema=0.999))
    copy = with_it.parameter_bytes - without.parameter_bytes
    assert copy == with_it.checkpoint_bytes - without.checkpoint_bytes
    assert copy >= 4 * without.n_parameters
    assert with_it.total == without.total + copy
