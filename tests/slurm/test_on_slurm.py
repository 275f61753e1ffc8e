"""The workflow on a real Slurm: whole, and through a time limit, preemption, cancelling and kills.

What a broken training ends with is held to one that was never disturbed, bit by bit.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from tests.slurm.local_slurm import LocalSlurm, local_slurm, why_not
from tests.snakemake_runs import ROOT, snakemake
from tests.tiny_run import write_tiny_run

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

QUICK = "evaluation.profile=pds prediction.negative_controls=[] prediction.baselines=[control]"
LONG = f"{QUICK} training.max_steps=12000 training.val_freq=3000 training.ckpt_every_n_steps=500"
"""More than a minute of training on two cores: more than the shortest time limit leaves."""

FINAL = "out/tiny/checkpoints/final.ckpt"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSlurm]:
    with local_slurm(tmp_path_factory.mktemp("slurm") / "daemons") as running:
        yield running


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Return the weights of the long training, which nothing disturbed."""
    folder = tmp_path_factory.mktemp("unbroken")
    write_tiny_run(folder)
    snakemake(folder, FINAL, "--config", "runs=run.yaml", f"overrides={LONG}")
    return weights(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tiny_run(tmp_path)
    return tmp_path


def weights(folder: Path) -> dict[str, torch.Tensor]:
    content = torch.load(folder / FINAL, map_location="cpu", weights_only=True)
    state: dict[str, torch.Tensor] = content["state_dict"]
    return state


def check_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def start(
    folder: Path,
    overrides: str,
    *options: str,
    target: str = "all",
    runs: str = "run.yaml",
    profile: Path = ROOT / "profiles/slurm",
) -> subprocess.Popen[str]:
    """Start Snakemake with the project's profile for Slurm, or a copy of it."""
    command = [sys.executable, "-m", "snakemake", target, "--snakefile", str(ROOT / "Snakefile")]
    command += ["--directory", str(folder), "--workflow-profile", str(profile)]
    command += ["--slurm-no-account", "--slurm-status-command", "squeue", "--nocolor"]
    command += ["--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "10"]
    command += ["--seconds-between-status-checks", "1", "--set-threads", "train=1", "predict=1"]
    command += [*options, "--config", f"runs={runs}", f"overrides={overrides}"]
    return subprocess.Popen(
        command,
        stdout=(folder / "said.txt").open("a"),
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )


def my_profile(folder: Path, retries: int = 0, **train: object) -> Path:
    """Write the profile of a user who changed some lines of what trainings ask for."""
    mine = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    mine["set-resources"]["train"] |= train
    mine["retries"] = retries
    (folder / "profile").mkdir()
    (folder / "profile" / "config.yaml").write_text(yaml.safe_dump(mine))
    return folder / "profile"


def end(process: subprocess.Popen[str], folder: Path, seconds: float = 600.0) -> str:
    """Wait for Snakemake's end, and return what it said."""
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError((folder / "said.txt").read_text()[-6000:]) from None
    said = (folder / "said.txt").read_text()
    assert status == 0, said[-6000:]
    return said


def training_job(slurm: LocalSlurm) -> str:
    """Wait until a training has gone some way, and return the id of its job."""
    found: list[str] = []

    def running() -> bool:
        jobs = slurm.jobs()
        found[:] = [job["id"] for job in jobs if job["partition"] == "gpu"]
        return bool(found) and all(job["state"] == "RUNNING" for job in jobs)

    slurm.until(running, 120)
    return found[0]


def some_steps(folder: Path, slurm: LocalSlurm, at_least: int = 1) -> None:
    """Wait for the checkpoint of some steps."""
    kept = (folder / "out/tiny/checkpoints").glob
    slurm.until(lambda: len([*kept("*/step=*.ckpt")]) >= at_least, 120)


def starts(folder: Path) -> list[int]:
    """Return from which steps the training started, try by try."""
    text = (folder / "out/tiny/logs/train.log").read_text()
    return [int(step) for step in re.findall(r"from step (\d+)", text)]


def test_demo_end_to_end(tmp_path: Path, slurm: LocalSlurm) -> None:
    short = f"{QUICK} training.max_steps=200 training.val_freq=100 training.ckpt_every_n_steps=100"
    said = end(start(tmp_path, short, runs="demo"), tmp_path, 900)
    assert (tmp_path / "results/demo/report.html").exists()
    # Light steps go together, so that there are fewer submissions than jobs.
    submitted = re.findall(r"submitted with SLURM jobid (\d+)", said)
    assert 8 <= len(submitted) <= 11, submitted
    assert "Nothing to be done" in end(start(tmp_path, short, runs="demo"), tmp_path)


def test_training_is_allotted_one_gpu_of_two(folder: Path, slurm: LocalSlurm) -> None:
    overrides = f"{QUICK} training.max_steps=600 training.val_freq=300"
    process = start(folder, overrides, target=FINAL)
    shown = slurm.said("scontrol", "show", "job", "-d", training_job(slurm))
    assert "gpu:toy:1" in shown
    assert "Partition=gpu" in shown
    end(process, folder)


def test_time_limit_is_survived(folder: Path, slurm: LocalSlurm, unbroken) -> None:
    # Slurm looks every 30 s whether a limit is less than the signal's time and 30 s away: of a
    # minute's limit, this signal comes after 29 to 59 s, which is less than the training takes.
    # A limit that is set by hand doesn't grow with each try, so that it takes several.
    mine = my_profile(folder, retries=8, runtime=1, slurm_extra="'--signal=TERM@1'")
    process = start(folder, LONG, target=FINAL, profile=mine)
    end(process, folder, 900)
    said = (folder / "said.txt").read_text()
    assert "Trying to restart job" in said
    assert "stopped by SIGTERM" in said  # what the log of a try that ended early says
    check_same(weights(folder), unbroken)


def test_preemption_is_survived(folder: Path, slurm: LocalSlurm, unbroken) -> None:
    process = start(folder, LONG, target=FINAL)
    job = training_job(slurm)
    some_steps(folder, slurm)
    slurm.said(
        "sbatch", "-p", "urgent", "--exclusive", "-t", "1", "-o", "/dev/null", "--wrap", "sleep 3"
    )
    slurm.until(lambda: any(j["id"] == job and j["state"] == "PENDING" for j in slurm.jobs()), 60)
    end(process, folder, 900)
    assert starts(folder)[-1] > 0
    check_same(weights(folder), unbroken)


def test_cancelled_training_goes_on_at_the_next_start(
    folder: Path, slurm: LocalSlurm, unbroken
) -> None:
    process = start(folder, LONG, "--retries", "0", target=FINAL)
    job = training_job(slurm)
    some_steps(folder, slurm)
    slurm.said("scancel", job)
    assert process.wait(120) != 0
    assert not (folder / FINAL).exists()
    end(start(folder, LONG, target=FINAL), folder, 900)
    assert starts(folder)[-1] > 0
    check_same(weights(folder), unbroken)


def test_two_starts_are_never_two_writers(folder: Path, slurm: LocalSlurm, unbroken) -> None:
    process = start(folder, LONG, target=FINAL)
    training_job(slurm)
    some_steps(folder, slurm)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    snakemake(folder, "--unlock", "--config", "runs=run.yaml")
    # The job trains on; the second start waits for it, or is told to.
    second = start(folder, LONG, "--retries", "8", target=FINAL)
    end(second, folder, 900)
    text = (folder / "said.txt").read_text()
    assert "Traceback" not in text
    check_same(weights(folder), unbroken)


def test_node_that_stops_and_comes_back(folder: Path, slurm: LocalSlurm, unbroken) -> None:
    process = start(folder, LONG, target=FINAL)
    training_job(slurm)
    some_steps(folder, slurm)
    slurm.stop_node()
    time.sleep(5)
    slurm.start_node()
    end(process, folder, 900)
    check_same(weights(folder), unbroken)


def test_srun_starts_the_processes_of_a_training(folder: Path, slurm: LocalSlurm) -> None:
    overrides = f"{QUICK} training.devices=2 training.max_steps=200 training.val_freq=100"
    mine = my_profile(folder, mpi="srun", nodes=1, tasks_per_node=2)
    said = end(start(folder, overrides, target=FINAL, profile=mine), folder)
    shown = re.findall(r"JobId=\d+ .*", (slurm.folder / "log" / "jobs.txt").read_text())
    assert any("ProcCnt=2" in line for line in shown), said
    log = (folder / "out/tiny/logs/train.log").read_text()
    assert "training on 2 x the CPU" in log
    assert "step 200/200" in log
