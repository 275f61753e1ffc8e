"""What a training prints, logs and leaves, from its start to its end."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
import wandb

from tests.training.training_runs import same
from tests.training.wandb_files import history, runs
from workflow_scripts.errors import DataError


def test_diverged_training_stops_with_the_step_and_keeps_its_last_good_checkpoint(training):
    done = training.start("diverged", "training.lr=1e30", "training.ckpt_every_n_steps=1")
    assert done.returncode == 1
    found = re.search(
        r"error: step 2: the loss is \S+, not finite in \d+ of 2 sets: (\S+?),? ", done.stderr
    )
    assert found[1].rstrip(";") in {
        f"{context}/{name}" for context in ("k562", "rpe1") for name in ("control", "A", "B", "C")
    }
    assert "Traceback" not in done.stderr
    assert not (training.folder / "diverged" / "final.ckpt").exists()


def test_gradient_that_is_not_finite_stops_before_it_ruins_weights_and_checkpoint(training):
    said = []
    # At such rates the gradient often is the first to be no number, while the loss still is one.
    for rate in ("1e5", "1e7", "1e11"):
        out = f"steep-{rate}"
        with pytest.raises(DataError, match=r"step \d+: .* the last checkpoint is kept") as error:
            training.run(
                *(out, f"training.lr={rate}", "training.ckpt_every_n_steps=1"),
                "engine.keep_checkpoints=99",
            )
        said.append(str(error.value))
        paths = sorted((training.folder / out).glob("*/step=*.ckpt"))
        assert len(paths) == int(re.search(r"step (\d+):", said[-1])[1]) - 1
        for path in paths:
            weights = torch.load(path, weights_only=True)["state_dict"].values()
            assert all(weight.isfinite().all() for weight in weights)
    name = r"(k562|rpe1)/(control|A|B|C)"
    of_gradient = rf"the loss is finite, and its gradient's norm is (nan|inf), over sets of {name}"
    assert any(re.search(of_gradient, text) for text in said)


def test_best_checkpoint_holds_the_weights_that_were_validated(training):
    best = torch.load(training.folder / "unbroken" / "best.ckpt", weights_only=True)
    rows = [row for row in training.log("unbroken") if row["val_loss"]]
    validated = {int(row["step"]): float(row["val_loss"]) for row in rows}
    assert best["stateline"]["step"] == min(validated, key=validated.__getitem__)


@pytest.fixture
def own_wandb(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nothing that another test started serve this one, nor what this one starts another."""
    _end_wandb()
    monkeypatch.delenv("WANDB_SERVICE", raising=False)
    yield
    _end_wandb()


def _end_wandb() -> None:
    wandb.teardown()
    # It ends runs, and leaves the last one in place: Lightning would go on in it.
    wandb.run = None


@pytest.mark.long
@pytest.mark.usefixtures("own_wandb")
def test_wandb_without_a_key_is_kept_offline_and_a_resumed_run_goes_on_in_it(training):
    folder = training.folder / "wandb_logs"
    overrides = ["use_wandb=true", f"wandb.local_wandb_dir={folder}", "wandb.tags=[screen]"]
    training.run("plain", "training.max_steps=8")
    for last in (4, 8):
        assert "offline" in training.run_apart("wandb", *overrides, f"training.max_steps={last}")
    assert same(training.weights("wandb"), training.weights("plain"))
    parts = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))
    assert len({path.name for path in parts}) == 1
    assert [[row["trainer/global_step"] for row in history(path)] for path in parts] == [
        [1, 2, 3, 4],
        [5, 6, 7, 8],
    ]
    rows = training.log("wandb")
    for row, logged in zip(rows, [row for path in parts for row in history(path)], strict=True):
        assert logged["train_loss"] == float(row["train_loss"])
        assert ("val_loss" in logged) == bool(row["val_loss"])
    assert [list(run.tags) for path in parts for run in runs(path)] == [["screen"], ["screen"]]
    sync = [sys.executable, "-m", "wandb", "sync", "--dry-run", *map(str, parts)]
    done = subprocess.run(sync, capture_output=True, text=True, cwd=folder)
    assert "Would sync 2 run(s)" in done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.usefixtures("own_wandb")
def test_wandb_server_out_of_reach_leaves_the_run_offline_in_its_place(training, monkeypatch):
    folder = training.folder / "wandb_unreached"
    overrides = ("use_wandb=true", f"wandb.local_wandb_dir={folder}", "training.lr=4e-4")
    training.run_apart("unreached", *overrides, "training.max_steps=4")
    # Nobody listens at this port.
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("workflow_scripts.training.wandb_log.INIT_SECONDS", 1.0)
    out = training.run("unreached", *overrides, "training.max_steps=8")
    assert "wandb: not logging online" in out
    parts = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))
    assert len(parts) == 2
    assert len({path.name for path in parts}) == 1


@pytest.mark.usefixtures("own_wandb")
def test_wandb_that_can_not_start_is_said_in_one_line(training):
    blocked = training.folder / "blocked"
    blocked.write_text("a file where the folder should be")
    out = training.run_apart(
        *("blocked-run", "use_wandb=true", f"wandb.local_wandb_dir={blocked}"),
        *("training.max_steps=4", "training.train_seed=7"),
    )
    assert "wandb: not logging" in out


def test_training_without_a_lower_loss_stops_and_stays_stopped(training):
    # So low a rate that weights of 32 bits stay as they are.
    worse = ("training.lr=1e-12", "engine.early_stopping=2")
    out = training.run("early", *worse)
    assert "step 12: 2 validations that are no better than that of step 4 (val_loss)" in out
    assert [row["step"] for row in training.log("early")][-1] == "12"
    final = torch.load(training.folder / "early" / "final.ckpt", weights_only=True)
    assert final["stateline"]["step"] == 12
    assert "finished before" in training.run("early", *worse)
    # With more patience it goes on, and ends where one without a break does.
    training.run("early", worse[0])
    training.run("late", worse[0])
    assert same(training.weights("late"), training.weights("early"))
    assert training.log("late") == training.log("early")
    # With less again, it ends where it did.
    training.run("early", *worse)
    assert [row["step"] for row in training.log("early")][-1] == "12"
    again = torch.load(training.folder / "early" / "final.ckpt", weights_only=True)
    assert same(again["state_dict"], final["state_dict"])


def test_line_of_a_step_says_how_far_and_how_fast(training):
    out = training.run("lines", "training.max_steps=5", "training.train_seed=11")
    assert re.search(
        r"step 4/5  loss [\d.]+  validation [\d.]+  best [\d.]+ \(step 4\)  \S+ steps/s  "
        r"[\d,]+ cells/s  waiting [\d.]+%  \d+ s left",
        out,
    )


def test_deterministic_algorithms_are_those_of_the_cpu_already(training):
    # Every operation of a step and a validation has one: torch refuses those that have none.
    training.run_apart("deterministic", "engine.deterministic=true")
    assert same(training.weights("deterministic"), training.weights("unbroken"))
    assert training.log("deterministic") == training.log("unbroken")
