"""A step is the same whether its sets are computed at once, in passes, or by several processes."""

from __future__ import annotations

import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tests.cells.test_sampling import sampler
from tests.screens import write_screen
from tests.training.training_runs import ROOT, Training, same
from workflow_scripts.errors import DataError
from workflow_scripts.training import run
from workflow_scripts.training.processes import Processes, Share, started_by
from workflow_scripts.training.step import seed_dropout

STEPS = ("training.batch_size=4", "training.max_steps=12")
# What is dropped depends on the process and the pass: without it a step is the same, to rounding.
FOUR = (*STEPS, "+model.kwargs.dropout=0.0")
DROPPING = (*STEPS, "+model.kwargs.dropout=0.2")
TWO_PROCESSES = "training.devices=2"
LOSSES = ("train_loss", "train_set_loss", "val_loss", "gradient_norm")


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """Return inputs of `train`, with the run `together` whose steps are one pass."""
    folder = tmp_path_factory.mktemp("sharing")
    made = Training(folder, write_screen(folder / "screen.h5ad", cells_per_group=9))
    made.run("together", *FOUR)
    return made


def children_of(process: int) -> list[int]:
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def losses(training: Training, out: str) -> dict[str, torch.Tensor]:
    rows = training.log(out)
    return {name: torch.tensor([float(row[name]) for row in rows if row[name]]) for name in LOSSES}


@pytest.mark.parametrize(
    "way",
    [("engine.batch=2",), (TWO_PROCESSES, "engine.batch=1")],
    ids=["passes", "processes and passes"],
)
def test_losses_are_those_of_sets_computed_together(training, way):
    out = re.sub(r"\W+", "-", "-".join(way))
    run = training.run_apart if TWO_PROCESSES in way else training.run
    run(out, *FOUR, *way)
    assert len(training.log(out)) == 12
    for name, values in losses(training, "together").items():
        assert_close(losses(training, out)[name], values, rtol=2e-4, atol=1e-6)
    apart, together = training.weights(out), training.weights("together")
    for name, weights in together.items():
        assert_close(apart[name], weights, rtol=1e-2, atol=1e-4)


SHARED = (
    *(*DROPPING, TWO_PROCESSES, "training.max_steps=40"),
    *("training.val_freq=8", "engine.ema=0.9"),
)


@pytest.fixture(scope="module")
def whole(training: Training) -> str:
    """Return the name of a run of two processes that nothing disturbed."""
    training.run_apart("whole", *SHARED)
    return "whole"


@pytest.mark.long
def test_two_processes_stopped_go_on_as_if_they_had_not(training, whole):
    command = training.command("stopped", *SHARED)
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    log = training.folder / "stopped"
    while not any(len(p.read_text().splitlines()) > 5 for p in log.glob("*/training.csv")):
        assert process.poll() is None, "the training ended before it could be stopped"
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate()
    assert process.returncode == os.EX_TEMPFAIL, said
    assert re.search(r"stopped by SIGTERM after step \d+ of 40", said)
    training.run_apart("stopped", *SHARED)
    assert same(training.weights("stopped"), training.weights(whole))
    assert training.log("stopped") == training.log(whole)


def test_process_that_is_done_before_the_first_has_written_ends_well(training, monkeypatch):
    # The first process, which alone writes, is still at the last checkpoint.
    monkeypatch.setattr(run, "train", lambda plan, *_: plan.max_steps)
    monkeypatch.setenv("LOCAL_RANK", "1")
    training.run("early", *FOUR, TWO_PROCESSES)
    assert not list((training.folder / "early").glob("*/finished*"))


@pytest.mark.long
def test_process_without_a_validation_set_takes_part(training):
    # One pass of them: the second process has none.
    single = ("engine.validation_sets=1", "training.max_steps=8")
    training.run("single", *FOUR, *single)
    training.run_apart("single-shared", *FOUR, *single, TWO_PROCESSES)
    for name, values in losses(training, "single").items():
        assert_close(losses(training, "single-shared")[name], values, rtol=2e-4, atol=1e-6)


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc")
def test_process_that_is_killed_ends_the_other_and_costs_nothing_but_its_steps(training, whole):
    command = training.command("one", *SHARED)
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while not list((training.folder / "one").glob("*/step=*006.ckpt")):
        assert process.poll() is None, "the training ended before a process could be killed"
        time.sleep(0.01)
    (second,) = children_of(process.pid)
    os.kill(second, signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == 1, said
    assert "Traceback" not in said
    assert "error: another of the 2 processes is gone" in said
    training.run_apart("one", *SHARED)
    for name in ("final.ckpt", "best.ckpt"):
        assert same(training.weights("one", name), training.weights(whole, name))
    assert training.log("one") == training.log(whole)


@pytest.mark.long
def test_training_goes_on_with_other_passes_and_devices(training):
    training.run("begun", *FOUR, "training.max_steps=7", "engine.batch=2")
    training.run_apart("begun", *FOUR, TWO_PROCESSES)
    rows = training.log("begun")
    assert [int(row["step"]) for row in rows] == list(range(1, 13))
    for name, values in losses(training, "together").items():
        assert_close(losses(training, "begun")[name], values, rtol=2e-4, atol=1e-6)


def test_dropout_of_several_passes_goes_on_exactly(training):
    training.run("passes", *DROPPING, "engine.batch=2")
    training.run("passes-begun", *DROPPING, "engine.batch=2", "training.max_steps=7")
    said = training.run("passes-begun", *DROPPING, "engine.batch=2")
    assert "from step 7" in said
    assert "not bit for bit" not in said
    assert same(training.weights("passes-begun"), training.weights("passes"))


def test_going_on_with_other_passes_is_told(training):
    training.run("passes-changed", *DROPPING, "engine.batch=2", "training.max_steps=7")
    said = training.run("passes-changed", *DROPPING)
    assert "steps had 2 passes so far and have 1 from here on" in said


def test_dropout_has_a_seed_of_its_own_in_each_step_process_and_pass():
    def drawn(*of: int) -> tuple[float, ...]:
        seed_dropout(*of)
        return tuple(torch.rand(4).tolist())

    places = list(itertools.product((0, 1), repeat=4))
    assert len({drawn(*place) for place in places}) == len(places)
    assert drawn(1, 0, 1, 0) == drawn(1, 0, 1, 0)


@pytest.mark.long
def test_process_that_diverges_ends_all_and_names_sets_of_all(training):
    done = training.start("diverged", *FOUR, TWO_PROCESSES, "training.lr=1e30")
    assert done.returncode == 1
    assert re.search(r"error: step 2: the loss is nan, not finite in 4 of 4 sets", done.stderr)


def test_batch_is_chosen_by_the_memory_that_is_there(training):
    assert "engine.batch: 4 of a device's 4 sets" in training.run(
        "fitting", *FOUR, "engine.batch=auto"
    )
    assert same(training.weights("fitting"), training.weights("together"))


def test_more_devices_than_there_are_is_refused(training):
    with pytest.raises(DataError, match=r"training\.devices is 4096, and there are"):
        training.run("many", "training.batch_size=4096", "training.devices=4096")


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("passes", [1, 2])
def test_every_set_of_a_step_is_computed_once_and_holds_the_rows_it_has_alone(ranks, passes):
    sets = 8 // ranks // passes
    shares = [Share(8, sets, Processes(ranks, rank)) for rank in range(ranks)]
    assert {share.passes for share in shares} == {passes}
    alone = sampler()[1]
    # Each process draws for itself, from whichever step it starts with.
    for step in (0, 5, 40):
        parts = [
            stream.take(share.numbers(at))
            for share, stream in ((share, sampler()[1]) for share in shares)
            for at in range(step * passes, (step + 1) * passes)
        ]
        together = alone.take(range(step * 8, step * 8 + 8))
        for name in ("numbers", "observed", "control"):
            joined = np.concatenate([getattr(part, name) for part in parts])
            np.testing.assert_array_equal(joined, getattr(together, name))


def test_sets_that_cannot_be_shared_equally_are_refused():
    with pytest.raises(DataError, match=r"3 sets \(training.batch_size\).* by 2 devices"):
        Share(3, 1, Processes(2, 0))
    with pytest.raises(DataError, match=r"6 sets a step.* 4 at a time .*one of 1, 2, 3, 6"):
        Share(12, 4, Processes(2, 1))


@pytest.mark.parametrize(
    ("environment", "rank", "starter"),
    [
        ({}, 0, None),
        ({"LOCAL_RANK": "1"}, 1, None),
        ({"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "LOCAL_RANK": "0"}, 1, "torchrun"),
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "1"}, 1, "srun"),
        ({"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "LOCAL_RANK": "1"}, 1, None),
    ],
    ids=["first", "started", "torchrun", "srun", "slurm job of one task"],
)
def test_process_knows_itself_by_what_started_it(environment, rank, starter):
    processes = Processes.of(2, 1, environment)
    assert (processes.ranks, processes.rank) == (2, rank)
    assert started_by(2, environment) == starter
    # Tasks of Slurm have the threads that the command was given, others share them.
    assert processes.threads(6, environment) == (6 if starter == "srun" else 3)
    assert Processes.of(1, 1, environment) == Processes()


def test_process_knows_its_device_among_several_nodes():
    found = [
        Processes.of(2, 3, {"SLURM_NTASKS": "6", "SLURM_PROCID": str(rank)}) for rank in range(6)
    ]
    assert [one.device for one in found] == [0, 1, 0, 1, 0, 1]
    assert {(one.ranks, one.on_node) for one in found} == {(6, 2)}


def test_several_nodes_need_something_that_starts_their_processes():
    with pytest.raises(DataError, match=r"engine.nodes is 2: srun \(with 4 tasks\) or torchrun"):
        Processes.of(2, 2, {})
    with pytest.raises(DataError, match=r"this Slurm job step has 2;"):
        Processes.of(2, 2, {"SLURM_NTASKS": "2"})


def on_two_nodes(*commands: list[str]) -> list[subprocess.Popen[str]]:
    """Start two agents of torchrun on loopback, each with a process of its own, as two machines."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    torchrun += ["--master-addr=127.0.0.1", f"--master-port={port}", "--module"]
    agents = []
    for node, (_, module, *script) in enumerate(commands):
        assert module == "-m"
        command = [*torchrun, f"--node-rank={node}", *script]
        agents.append(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True))
    return agents


NODES = ("engine.nodes=2", "engine.batch=1")


@pytest.mark.long
def test_process_that_would_go_on_from_another_step_is_refused(training):
    # The second machine sees a checkpoint that the first one doesn't.
    training.run("seen", *FOUR, "training.max_steps=4")
    commands = [training.command(name, *FOUR, *NODES) for name in ("fresh", "seen")]
    first, second = on_two_nodes(*commands)
    try:
        _, said = second.communicate()
        assert second.returncode != 0
        assert "the first process goes on from step 0, and this one from step 4" in said
    finally:
        first.terminate()
        first.communicate()
    assert not list((training.folder / "fresh").glob("*/step=*"))


@pytest.mark.long
def test_two_nodes_train_what_one_does(training):
    command = training.command("nodes", *FOUR, *NODES)
    agents = on_two_nodes(command, command)
    said = [agent.communicate()[1] for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], said
    for name, values in losses(training, "together").items():
        assert_close(losses(training, "nodes")[name], values, rtol=2e-4, atol=1e-6)
