"""A training that was killed and started again ends with the weights of one that was not."""

from __future__ import annotations

import math
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch

from tests import warm
from tests.training.training_runs import ROOT, kill_after, same
from workflow_scripts.errors import DataError
from workflow_scripts.models import load_model
from workflow_scripts.training.checkpoints import STATE


@pytest.mark.parametrize("step", [6, 12])
def test_killed_training_ends_as_if_it_had_not_been(training, step):
    # Step 6 is saved after a step, step 12 after a validation.
    killed = f"killed-{step}"
    kill_after(training.command(killed), training.folder / killed, f"*/step=*{step:03d}.ckpt")
    out = training.run_apart(killed)
    assert "from step" in out
    assert "from step 0" not in out
    assert same(training.weights("unbroken"), training.weights(killed))
    assert same(training.weights("unbroken", "best.ckpt"), training.weights(killed, "best.ckpt"))
    assert training.log("unbroken") == training.log(killed)
    first, second = training.starts(killed)
    assert "ended" not in first
    assert second["ended"] == "finished"
    assert (first["from_step"], second["to_step"]) == (0, 24)
    # It may have come further than its last checkpoint.
    assert second["from_step"] >= step
    assert 0 <= second["repeats"] <= 24 - second["from_step"]


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
    first, second = training.starts(stopped)
    assert (first["ended"], first["to_step"]) == ("stopped", step)
    assert (second["from_step"], second["repeats"]) == (step, 0)


@pytest.mark.long
def test_training_keeps_its_state_though_who_read_its_output_is_gone(training):
    # As of `train | tee log`, where Ctrl-C ends tee at once.
    whole = ("training.max_steps=400", "training.val_freq=400", "training.ckpt_every_n_steps=400")
    process = subprocess.Popen(
        training.command("piped", *whole),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    while not (logs := list((training.folder / "piped").glob("*/training.csv"))) or (
        len(logs[0].read_text().splitlines()) < 4
    ):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)
    process.stdout.close()
    process.send_signal(signal.SIGINT)
    errors = process.stderr.read()
    assert process.wait() == os.EX_TEMPFAIL, errors
    step = int(re.search(r"stopped by SIGINT after step (\d+)", errors)[1])
    assert (logs[0].parent / f"step={step:09d}.ckpt").is_file()


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
    assert training.starts("back")[-1]["to_step"] == 14  # the longer training was still there


@pytest.mark.long
def test_shorter_training_that_is_killed_leaves_the_longer_one(training):
    whole = "training.ckpt_every_n_steps=24"
    training.run("cut", whole)
    log = training.log("cut")
    fewer = ("training.max_steps=8", "training.ckpt_every_n_steps=1")
    kill_after(training.command("cut", *fewer), training.folder / "cut", "*/step=*02.ckpt")
    training.run("cut", *fewer)
    assert [row["step"] for row in training.log("cut")] == [str(step) for step in range(1, 9)]
    began = training.starts("cut")
    training.run("cut", whole)
    for name in ("final.ckpt", "best.ckpt"):
        assert same(training.weights("unbroken", name), training.weights("cut", name))
    assert training.log("cut") == log == training.log("unbroken")
    assert training.starts("cut") == began


@pytest.mark.long
def test_training_takes_the_threads_that_are_free_and_goes_on_with_as_many(training):
    def command(*overrides: str) -> list[str]:
        # The last one of an option counts.
        return [*training.command("beside", *overrides)[1:], "--threads", "2"]

    loop = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    loops = [subprocess.Popen(loop, stdout=subprocess.PIPE) for _ in range(os.cpu_count())]
    try:
        for process in loops:
            process.stdout.readline()
        short = [warm.python(), *command("training.max_steps=14")]
        begun = subprocess.check_output(short, text=True, cwd=ROOT)
    finally:
        for process in loops:
            process.kill()
            process.communicate()
    assert "CPU threads: 1 of 2, as many as other work leaves free" in begun
    more = subprocess.run(
        [sys.executable, *command()],  # which loads its own OpenMP
        env={**os.environ, "OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert "CPU threads: 1 of 2, as this training began" in more.stdout
    assert "GOMP_SPINCOUNT = '1000'" in more.stderr
    assert [start["threads"] for start in training.starts("beside")] == [1, 1]
    assert same(training.weights("unbroken"), training.weights("beside"))


@pytest.mark.long
def test_second_trainer_waits_for_the_first_and_takes_its_work(training):
    # As after a workflow that was killed while its job went on, and was started again.
    command = training.command("twice", "training.max_steps=600")
    in_job = {**os.environ, "SLURM_JOB_ID": "4711"}
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT, env=in_job)
    while not list((training.folder / "twice").glob("*/training.csv")):
        assert first.poll() is None
        time.sleep(0.01)
    out = training.run("twice", "training.max_steps=600")
    assert re.search(rf"waiting for process {first.pid} on \S+, Slurm job 4711 to finish", out)
    assert "finished before" in out
    assert first.wait() == 0


@pytest.mark.long
def test_trainer_that_was_left_behind_does_not_put_its_model_in_place_of_a_newer_one(training):
    old = subprocess.Popen(
        training.command("left", "training.max_steps=600", "training.lr=2e-3"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    while not list((training.folder / "left").glob("*/training.csv")):
        assert old.poll() is None
        time.sleep(0.01)
    training.run("left", "training.max_steps=4")
    newer = training.weights("left")
    errors = old.communicate()[1]
    assert old.returncode == 1
    assert "is finished and kept, and not put in place" in errors
    assert same(newer, training.weights("left"))
    assert "finished before" in training.run("left", "training.max_steps=600", "training.lr=2e-3")


@pytest.mark.long
def test_lock_of_a_killed_trainer_is_gone_with_it(training):
    command = training.command("dead", "training.max_steps=4000")
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT)
    while not list((training.folder / "dead").glob("*/training.csv")):
        assert first.poll() is None
        time.sleep(0.01)
    first.kill()
    first.wait()
    assert "from step" in training.run("dead", "training.max_steps=4")


def test_trained_before_returns_its_own_work(training):
    (training.folder / "unbroken" / "final.ckpt").unlink()
    assert "finished before" in training.run("unbroken")
    assert (training.folder / "unbroken" / "final.ckpt").exists()
    # Logging and workers change nothing that was computed; the learning rate does.
    operational = ("data.kwargs.pin_memory=false", "wandb.tags=[x]", "data.kwargs.num_workers=1")
    assert "finished before" in training.run("unbroken", *operational)


def test_other_validations_choose_another_best_state(training):
    training.run("cadence")
    training.run("cadence", "training.val_freq=1")
    log = training.log("cadence")
    assert all(row["val_loss"] for row in log)
    best = min(log, key=lambda row: float(row["val_loss"]))
    path = training.folder / "cadence" / "best.ckpt"
    assert torch.load(path, weights_only=True)["global_step"] == int(best["step"])
    assert same(training.weights("unbroken"), training.weights("cadence"))
    assert "finished before" in training.run("cadence")
    assert training.log("cadence") == training.log("unbroken")


def test_learning_rate_is_part_of_the_identity(training):
    out = training.run("other", "training.lr=2e-3", "training.max_steps=4")
    assert "from step 0 to 4" in out
    assert "from step 0 to 4" in training.run("other", "training.lr=1e-3", "training.max_steps=4")


def test_torn_checkpoint_is_passed_over_for_an_earlier_one(training):
    training.run("torn", "training.max_steps=18")
    (torn,) = (training.folder / "torn").glob("*/step=000000018.ckpt")
    torn.write_bytes(torn.read_bytes()[:1000])
    out = training.run("torn")
    assert "from step 12 to 24" in out
    assert same(training.weights("unbroken"), training.weights("torn"))


def flip_a_weight(path: Path) -> None:
    """Change one bit of a checkpoint's weights in place."""
    content = path.read_bytes()
    weights = torch.load(path, weights_only=True)["state_dict"]
    at = content.index(max(weights.values(), key=torch.numel).numpy().tobytes()) + 3
    path.write_bytes(content[:at] + bytes([content[at] ^ 0x40]) + content[at + 1 :])


def test_checkpoint_with_a_flipped_bit_is_passed_over_for_an_earlier_one(training):
    training.run("flipped", "training.max_steps=18")
    (flipped,) = (training.folder / "flipped").glob("*/step=000000018.ckpt")
    flip_a_weight(flipped)
    out = training.run("flipped")
    assert f"{flipped}: not usable, an earlier checkpoint serves" in out
    assert "from step 12 to 24" in out
    assert same(training.weights("unbroken"), training.weights("flipped"))


def test_finished_checkpoint_with_a_flipped_bit_is_trained_again(training):
    training.run("rotten")
    (kept,) = (training.folder / "rotten").glob("*/step=000000024.ckpt")
    flip_a_weight(kept)
    with pytest.raises(DataError, match=r"ckpt: damaged: a checksum in it differs"):
        load_model(training.folder / "rotten" / "final.ckpt")
    out = training.run("rotten")
    assert f"{kept.with_name('final.ckpt')}: not as it was finished, and made again" in out
    for name in ("final.ckpt", "best.ckpt"):
        assert same(training.weights("unbroken", name), training.weights("rotten", name))


@pytest.mark.long
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


def test_checkpoint_needs_no_room_in_the_temporary_folder(training, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(training.folder / "absent"))
    training.run("elsewhere", "training.max_steps=6")
    assert len(list((training.folder / "elsewhere").glob("*/step=*006.ckpt"))) == 1


def test_half_written_checkpoints_of_a_killed_training_are_removed(training):
    training.run("littered", "training.max_steps=6")
    folder = next((training.folder / "littered").glob("*/last.ckpt")).parent
    # Killed while it wrote the state of a signal, and between a link and its renaming.
    (folder / ".step=000000005.ckpt.new").write_bytes(b"half")
    os.link(folder / "last.ckpt", folder / ".last.ckpt.host.123")
    training.run("littered")
    assert not list(folder.glob(".*"))
    assert same(training.weights("unbroken"), training.weights("littered"))


def test_end_without_a_best_state_is_refused_again(training):
    # As a training leaves it whose validations were all NaN: its last state is there, no best one.
    training.run("nan", "training.max_steps=4", "training.train_seed=5")
    (last,) = (training.folder / "nan").glob("*/step=*004.ckpt")
    content = torch.load(last, weights_only=True)
    content["callbacks"][STATE] = {"least_bad": math.inf, "best_step": 0}
    torch.save(content, last)
    (last.parent / "finished.json").unlink()
    with pytest.raises(DataError, match="no validation gave a finite number"):
        training.run("nan", "training.max_steps=4", "training.train_seed=5")


def test_checkpoint_of_another_training_is_refused(training):
    training.run("mine", "training.max_steps=12")
    training.run("foreign", "training.max_steps=12", "training.lr=3e-3")
    (foreign,) = (training.folder / "foreign").glob("*/step=*012.ckpt")
    (mine,) = (training.folder / "mine").glob("*/step=*012.ckpt")
    mine.unlink()
    mine.write_bytes(foreign.read_bytes())
    with pytest.raises(
        DataError, match="a checkpoint of another training: identity differ"
    ) as said:
        training.run("mine")
    assert str(said.value).startswith(f"{mine}: ")


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
