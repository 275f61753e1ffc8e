"""Jobs at once on one machine get different GPUs, here made-up names of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.snakemake_runs import ROOT, snakemake
from tests.tiny_run import write_tiny_run
from workflow_scripts.gpu_slots import VISIBLE, own_gpus

JOB = """
import os, sys
from workflow_scripts.gpu_slots import own_gpus
with own_gpus(int(sys.argv[1]), "auto"):
    print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody else's jobs be on this machine."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)


@contextmanager
def job(wanted: int, visible: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Start a process that holds GPUs; give their names, and end it."""
    process = subprocess.Popen(
        [sys.executable, "-c", JOB, str(wanted)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, VISIBLE: visible},
    )
    assert process.stdout is not None
    lines = [process.stdout.readline().strip()]
    if lines[0].startswith("takes GPU"):
        lines.append(process.stdout.readline().strip())
    try:
        yield lines[-1], process
    finally:
        process.communicate("")


def test_jobs_at_once_take_different_gpus_and_share_when_there_are_more():
    with ExitStack() as running:
        taken = [running.enter_context(job(1, "0,1,2"))[0] for _ in range(5)]
    assert taken == ["0", "1", "2", "0", "1"]


def test_several_gpus_of_a_job_are_different_ones():
    with job(2, "4,5,6") as (first, _), job(2, "4,5,6") as (second, _):
        assert first == "4,5"
        assert second == "6,4"


def test_gpu_of_a_job_that_ended_or_was_killed_is_free_again():
    with job(1, "a,b") as (first, process):
        process.kill()
        process.wait()
        with job(1, "a,b") as (second, _), job(1, "a,b") as (third, _):
            assert (first, second, third) == ("a", "a", "b")


def test_what_a_cluster_allotted_is_taken_as_it_is():
    with job(1, "GPU-7f") as (first, _), job(1, "GPU-7f") as (second, _):
        assert first == second == "GPU-7f"


def test_environment_is_as_before_at_the_end():
    environment = {VISIBLE: "0,1"}
    with own_gpus(1, "cuda", environment) as taken:
        assert taken == ("0",)
        assert environment == {VISIBLE: "0"}
    assert environment == {VISIBLE: "0,1"}
    with own_gpus(1, "cpu", environment) as taken:
        assert taken == ()
        assert environment == {VISIBLE: "0,1"}


@pytest.mark.long
def test_two_trainings_of_one_workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(VISIBLE, "0,1")
    write_tiny_run(tmp_path)
    overrides = (
        "training.train_seed=1,2 training.max_steps=800 training.val_freq=800 "
        "training.ckpt_every_n_steps=800"
    )
    targets = [f"out/tiny_train_seed-{seed}/checkpoints/final.ckpt" for seed in (1, 2)]
    options = ["--resources", "gpu=2", "--config", "runs=run.yaml", f"overrides={overrides}"]
    snakemake(tmp_path, *targets, *options)
    logs = [path.read_text() for path in tmp_path.glob("out/*/logs/train.log")]
    taken = [re.search(r"takes GPU (\d) of 0, 1", text) for text in logs]
    assert sorted(found[1] for found in taken if found) == ["0", "1"]
