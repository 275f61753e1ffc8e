"""A training that was killed and started again ends with the weights of one that was not."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from tests.screens import write_screen
from tests.tiny_run import tiny_config
from workflow_scripts.cells.annotations import Columns
from workflow_scripts.cells.audit import audit_cells
from workflow_scripts.cells.cell_settings import CellSettings
from workflow_scripts.cells.manifest import write_manifest
from workflow_scripts.cells.packing import pack_cells
from workflow_scripts.cells.splits import SplitSettings, split_groups
from workflow_scripts.features.validation import (
    FeatureSettings,
    validate_features,
    write_features,
)
from workflow_scripts.settings.runs import resolve_run
from workflow_scripts.settings.split_file import read_split_file
from workflow_scripts.training.checkpoints import STATE
from workflow_scripts.training.metrics_file import UNREPEATED

ROOT = Path(__file__).parents[2]
STEPS = ("training.max_steps=24", "training.val_freq=4", "training.ckpt_every_n_steps=6")


class Training:
    """The inputs of `train`, in a folder of their own."""

    def __init__(self, folder: Path, screen: Path) -> None:
        self.folder = folder
        settings = CellSettings(Columns("gene", "cell_type", "gem_group"), "control", "auto", 1e4)
        manifest = pack_cells({"d": {"screen": str(screen)}}, settings, folder / "store")
        write_manifest({**manifest, "folder": "store"}, folder / "manifest.json")
        toml = folder / "starter.toml"
        toml.write_text(
            '[datasets]\nd = "x"\n[training]\nd = "train"\n'
            '[fewshot."d.rpe1"]\nval = ["A"]\ntest = ["B"]\n'
        )
        groups = audit_cells({"d": {"screen": str(screen)}}, settings).groups
        rule = SplitSettings("from_toml", 0.1, "error", 0)
        splits = split_groups(groups, read_split_file(toml), rule)
        splits.table.to_parquet(folder / "splits.parquet")
        audit = validate_features(groups, "control", FeatureSettings())
        write_features(audit.features, folder / "features.safetensors")

    def command(self, out: str, *overrides: str) -> list[str]:
        run_file = self.folder / "run.yaml"
        run_file.write_text(yaml.safe_dump(tiny_config(perturbation_features_file=None)))
        run = resolve_run(ROOT / "config", str(run_file), [*STEPS, *overrides])
        stage = self.folder / f"{out}-train.json"
        stage.write_text(run.stage_json("train"))
        config = self.folder / f"{out}-config.yaml"
        config.write_text(json.dumps(run.config))
        return [
            *(sys.executable, "-m", "workflow_scripts.train", "--threads", "1"),
            *("--settings", str(stage), "--config", str(config)),
            *("--cells", str(self.folder / "manifest.json")),
            *("--splits", str(self.folder / "splits.parquet")),
            *("--features", str(self.folder / "features.safetensors")),
            *("--out-dir", str(self.folder / out), "--log", str(self.folder / out / "log.csv")),
        ]

    def run(self, out: str, *overrides: str) -> str:
        done = subprocess.run(
            self.command(out, *overrides), capture_output=True, text=True, cwd=ROOT
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def weights(self, out: str, name: str = "final.ckpt") -> dict[str, torch.Tensor]:
        content = torch.load(self.folder / out / name, weights_only=True)
        return content["state_dict"]

    def log(self, out: str) -> list[dict[str, str]]:
        with (self.folder / out / "log.csv").open() as file:
            return [
                {k: v for k, v in row.items() if k not in UNREPEATED}
                for row in csv.DictReader(file)
            ]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """Return inputs of `train`, with the run `unbroken` that others are compared with."""
    folder = tmp_path_factory.mktemp("training")
    made = Training(folder, write_screen(folder / "screen.h5ad", cells_per_group=9))
    made.run("unbroken")
    return made


def kill_after(command: list[str], folder: Path, pattern: str) -> None:
    """Start a training and kill it, without notice, once a checkpoint of that name is there."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT)
    while not list(folder.glob(pattern)):
        assert process.poll() is None, "the training ended before it could be killed"
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("step", [6, 12])
def test_killed_training_ends_as_if_it_had_not_been(training, step):
    # Step 6 is saved after a step, step 12 after a validation.
    killed = f"killed-{step}"
    kill_after(training.command(killed), training.folder / killed, f"*/step=*{step:03d}.ckpt")
    out = training.run(killed)
    assert "from step" in out
    assert "from step 0" not in out
    assert same(training.weights("unbroken"), training.weights(killed))
    assert same(training.weights("unbroken", "best.ckpt"), training.weights(killed, "best.ckpt"))
    assert training.log("unbroken") == training.log(killed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_training_that_is_asked_to_stop_ends_its_step_and_keeps_it(training, number):
    stopped = f"stopped-{number.name}"
    # No checkpoint is due before the last step: what is kept is kept because of the signal.
    command = training.command(stopped, "training.ckpt_every_n_steps=24")
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    while not (logs := list((training.folder / stopped).glob("*/training.csv"))) or (
        len(logs[0].read_text().splitlines()) < 4
    ):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)
    process.send_signal(number)
    out, errors = process.communicate()
    assert process.returncode == os.EX_TEMPFAIL, errors
    assert f"{number.name}: ending this step" in out
    assert re.fullmatch(
        rf"stopped by {number.name} after step \d+ of 24; its state is kept, and the same command "
        "continues from there",
        errors.strip().splitlines()[-1],
    )
    step = int(re.search(r"after step (\d+)", errors)[1])
    assert f"from step {step} to 24" in training.run(stopped, "training.ckpt_every_n_steps=24")
    assert same(training.weights("unbroken"), training.weights(stopped))
    assert same(training.weights("unbroken", "best.ckpt"), training.weights(stopped, "best.ckpt"))
    assert training.log("unbroken") == training.log(stopped)


def test_raised_max_steps_continues_to_what_the_longer_run_gives(training):
    training.run("extended", "training.max_steps=14")
    assert [row["step"] for row in training.log("extended")][-1] == "14"
    out = training.run("extended")
    assert "from step 14 to 24" in out
    assert same(training.weights("unbroken"), training.weights("extended"))
    assert training.log("unbroken") == training.log("extended")


def test_going_back_to_fewer_steps_and_forth_ends_as_fresh_runs_do(training):
    training.run("short", "training.max_steps=14")
    training.run("back")
    training.run("back", "training.max_steps=14")
    for name in ("final.ckpt", "best.ckpt"):
        assert same(training.weights("short", name), training.weights("back", name))
    assert training.log("short") == training.log("back")
    training.run("back")
    for name in ("final.ckpt", "best.ckpt"):
        assert same(training.weights("unbroken", name), training.weights("back", name))
    assert training.log("unbroken") == training.log("back")


def test_diverged_training_stops_with_the_step_and_keeps_its_last_good_checkpoint(training):
    command = training.command("diverged", "training.lr=1e30", "training.ckpt_every_n_steps=1")
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    found = re.search(
        r"error: step 2: the loss is \S+, not finite in \d+ of 2 sets: (\S+?),? ", done.stderr
    )
    assert found[1].rstrip(";") in {
        f"{context}/{name}" for context in ("k562", "rpe1") for name in ("control", "A", "B", "C")
    }
    assert "Traceback" not in done.stderr
    assert not (training.folder / "diverged" / "final.ckpt").exists()


def test_second_trainer_on_the_same_identity_is_refused(training):
    command = training.command("twice", "training.max_steps=4000")
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT)
    try:
        while not list((training.folder / "twice").glob("*/training.csv")):
            assert first.poll() is None
            time.sleep(0.01)
        second = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    finally:
        first.kill()
        first.wait()
    assert second.returncode == 1
    assert f"another process works on it (process {first.pid} on" in second.stderr


def test_trained_before_returns_its_own_work(training):
    (training.folder / "unbroken" / "final.ckpt").unlink()
    assert "trained before" in training.run("unbroken")
    assert (training.folder / "unbroken" / "final.ckpt").exists()
    # Logging and workers change nothing that was computed; the learning rate does.
    operational = ("data.kwargs.pin_memory=false", "wandb.tags=[x]", "data.kwargs.num_workers=1")
    assert "trained before" in training.run("unbroken", *operational)


def test_learning_rate_is_part_of_the_identity(training):
    out = training.run("other", "training.lr=2e-3", "training.max_steps=4")
    assert "from step 0 to 4" in out
    assert "from step 0 to 4" in training.run("other", "training.lr=1e-3", "training.max_steps=4")


def test_best_checkpoint_holds_the_weights_that_were_validated(training):
    best = torch.load(training.folder / "unbroken" / "best.ckpt", weights_only=True)
    rows = [row for row in training.log("unbroken") if row["val_loss"]]
    validated = {int(row["step"]): float(row["val_loss"]) for row in rows}
    assert best["stateline"]["step"] == min(validated, key=validated.__getitem__)


def test_torn_checkpoint_is_passed_over_for_an_earlier_one(training):
    training.run("torn", "training.max_steps=18")
    (torn,) = (training.folder / "torn").glob("*/step=000000018.ckpt")
    torn.write_bytes(torn.read_bytes()[:1000])
    out = training.run("torn")
    assert "from step 12 to 24" in out
    assert same(training.weights("unbroken"), training.weights("torn"))


def test_wandb_without_a_key_is_kept_offline_and_never_a_reason_to_fail(training):
    folder = training.folder / "wandb_logs"
    overrides = [
        *("use_wandb=true", f"wandb.local_wandb_dir={folder}", "wandb.tags=[screen]"),
        "training.max_steps=4",
    ]
    training.run("plain", overrides[-1])
    out = training.run("wandb", *overrides)
    assert "offline" in out
    assert list(folder.glob("wandb/offline-run-*/run-*.wandb"))
    assert same(training.weights("wandb"), training.weights("plain"))


def test_wandb_that_can_not_start_is_said_in_one_line(training):
    blocked = training.folder / "blocked"
    blocked.write_text("a file where the folder should be")
    out = training.run(
        *("blocked-run", "use_wandb=true", f"wandb.local_wandb_dir={blocked}"),
        *("training.max_steps=4", "training.train_seed=7"),
    )
    assert "wandb: not logging" in out


def test_full_disk_keeps_the_last_good_checkpoint_and_says_so(training):
    training.run("full", "training.max_steps=12")
    size = next((training.folder / "full").glob("*/step=*012.ckpt")).stat().st_size
    limit = size // 2
    done = subprocess.run(
        training.command("full"),
        capture_output=True,
        text=True,
        cwd=ROOT,
        # No file of this process may be larger: writing fails in the middle, as on a full disk.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search(
        r"error: .*step=\d+.ckpt: the checkpoint can't be written .* GB are free. "
        "The one of step 12 is kept: make room",
        done.stderr,
    )
    assert not list((training.folder / "full").glob("*/.*.new"))
    assert "from step 12 to 24" in training.run("full")
    assert same(training.weights("unbroken"), training.weights("full"))


def test_end_without_a_best_state_is_refused_again(training):
    # As a training leaves it whose validations were all NaN: its last state is there, no best one.
    training.run("nan", "training.max_steps=4", "training.train_seed=5")
    (last,) = (training.folder / "nan").glob("*/step=*004.ckpt")
    content = torch.load(last, weights_only=True)
    content["callbacks"][STATE] = {"best_loss": math.inf, "best_step": 0}
    torch.save(content, last)
    (last.parent / "finished-4.json").unlink()
    command = training.command("nan", "training.max_steps=4", "training.train_seed=5")
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert "error: no validation gave a finite number" in done.stderr


def test_checkpoint_of_another_training_is_refused(training):
    training.run("mine", "training.max_steps=12")
    training.run("foreign", "training.max_steps=12", "training.lr=3e-3")
    (foreign,) = (training.folder / "foreign").glob("*/step=*012.ckpt")
    (mine,) = (training.folder / "mine").glob("*/step=*012.ckpt")
    mine.unlink()
    mine.write_bytes(foreign.read_bytes())
    done = subprocess.run(training.command("mine"), capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert f"{mine}: a checkpoint of another training: identity differ" in done.stderr


COSINE = ("engine.schedule=cosine", "engine.schedule_steps=20", "engine.warmup_steps=4")


def test_extended_training_follows_the_schedule_of_the_longer_one(training):
    training.run("cosine", *COSINE)
    training.run("cosine-extended", *COSINE, "training.max_steps=10")
    training.run("cosine-extended", *COSINE)
    assert training.log("cosine") == training.log("cosine-extended")
    assert same(training.weights("cosine"), training.weights("cosine-extended"))
    full = float(training.log("unbroken")[0]["lr"])
    rates = [float(row["lr"]) / full for row in training.log("cosine")]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[12] == pytest.approx(0.5)  # the middle of what follows the warmup
    assert rates[20:] == [0.0] * 4


def test_training_without_a_lower_loss_stops_and_stays_stopped(training):
    # So low a rate that weights of 32 bits stay as they are.
    worse = ("training.lr=1e-12", "engine.early_stopping=2")
    out = training.run("early", *worse)
    assert "step 12: 2 validations that are no better than that of step 4 (val_loss)" in out
    assert [row["step"] for row in training.log("early")][-1] == "12"
    final = torch.load(training.folder / "early" / "final.ckpt", weights_only=True)
    assert final["stateline"]["step"] == 12
    assert "trained before" in training.run("early", *worse)
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
