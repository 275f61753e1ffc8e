"""How far runs are is read off their files, while the workflow runs and afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.killed import Kill, Started
from tests.snakemake_runs import ROOT, snakemake
from tests.tiny_run import write_tiny_run
from workflow_scripts import stage_states
from workflow_scripts.progress import Left, RunProgress, look, main, render, seconds_left
from workflow_scripts.settings.runs import resolve_runs
from workflow_scripts.settings.stages import STAGES, stages_of
from workflow_scripts.stage_states import State, shared_work, usual_seconds

SHARED = {"audit_cells", "pack_cells"}
LINKS = {"freeze_config", "freeze_stage", "note_initial_model", "take_checkpoint"}
CONFIG = ("--config", "runs=run.yaml")
STEPS = "training.max_steps=60 training.val_freq=20 training.ckpt_every_n_steps=20"


@pytest.mark.parametrize(
    "overrides",
    [
        "prediction.checkpoint=2 features.missing=embed features.embedding.fasta=p.fasta "
        "features.embedding.model=esm",
        "genes.select=hvg genes.n_top=5 prediction.submission=vcc2025 prediction.unmasking=[]",
        "splits.test=none",
        "prediction.targets=targets.csv",
        "prediction.adata=screen.h5ad prediction.checkpoint=other.ckpt",
        "~evaluation",
    ],
)
def test_stages_of_a_run_are_what_snakemake_plans(tmp_path, overrides, monkeypatch):
    write_tiny_run(tmp_path)
    (tmp_path / "targets.csv").write_text("perturbation,context\ng1,rpe1\n")
    planned = snakemake(tmp_path, "--dry-run", *CONFIG, f"overrides={overrides}").planned
    monkeypatch.chdir(tmp_path)
    (run,) = resolve_runs(ROOT / "config", ["run.yaml"], overrides, lambda *_: []).values()
    assert planned - SHARED - LINKS == set(stages_of(run.config))


@pytest.mark.long
def test_training_is_followed_from_its_first_step_to_the_report(tmp_path, monkeypatch):
    write_tiny_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    started = Started(tmp_path, [*CONFIG, f"overrides={STEPS}"])
    seen: list[RunProgress] = []
    lines: list[str] = []
    while started.running:
        for run in look([Path("out")]):
            seen.append(run)
            lines += render([run], [Path("out")]).splitlines()
        time.sleep(0.05)
    assert started.end() == 0, started.text
    assert "how far it is: python -m workflow_scripts.progress out --watch" in started.text
    done = [len(run.named(State.DONE)) for run in seen]
    assert done == sorted(done)
    assert not any(run.named(State.STOPPED) for run in seen)
    training = [run.training for run in seen if run.states["train"] is State.WORKING]
    steps = [found.step for found in training if found is not None]
    assert training[0] is None
    assert steps == sorted(steps)
    assert len({*steps} - {60}) > 1
    said = [line for line in lines if line.startswith("out/tiny: step ")]
    assert any(" best " in line and line.endswith(" left") for line in said)
    (last,) = look([Path("out")])
    assert last.state is State.DONE
    assert [*last.states] == [name for name in STAGES if name in last.states]
    assert last.training is not None
    assert (last.training.step, last.training.best_step) == (60, 60)
    assert usual_seconds([last.folder]).keys() == last.states.keys()
    assert "1 run: 1 finished" in render([last], [Path("out")])

    # Asked for otherwise: what follows is to be done again, though its files are still there.
    more = f"overrides={STEPS} training.lr=2e-3"
    asked_for = [f"out/tiny/{name}" for name in ("config.yaml", "stages/train.json")]
    snakemake(tmp_path, *CONFIG, more, "--", *asked_for)
    (asked,) = look([Path("out")])
    waiting = ["train", "predict", "predict_unmasking", "reference_ends", "evaluate", "report"]
    assert asked.named(State.WAITING) == waiting
    assert asked.now == "next: train"
    assert asked.training is None

    again = Started(tmp_path, [*CONFIG, more])
    assert again.strike(Kill("train", 1.0, "the job", signal.SIGKILL)), again.text
    assert again.end() == 1
    monkeypatch.setattr(stage_states, "SECONDS_TO_START", 0.0)
    (killed,) = look([Path("out")])
    assert killed.now == "train stopped"
    text = render([killed], [Path("out")])
    assert "out/tiny: train stopped (log: out/tiny/logs/train.log)" in text
    assert "1 run: 1 stopped" in text


def test_command_writes_nothing_and_watches_until_all_is_done(tmp_path, monkeypatch, capsys):
    write_tiny_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    snakemake(tmp_path, "check", *CONFIG)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    main(["out"])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    out = capsys.readouterr().out
    assert "1 run: 1 waiting" in out
    assert "next: train" in out
    main(["."])
    assert "out/tiny" in capsys.readouterr().out
    watch = [sys.executable, "-m", "workflow_scripts.progress", "out", "--watch", "0.1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True, env=environment) as watching:
        assert watching.stdout is not None
        shown = [watching.stdout.readline() for _ in range(20)]
        for name in stages_of_first_run():
            make_done(Path("out/tiny"), name)
        shown += watching.stdout.readlines()
    assert watching.returncode == 0
    assert sum("1 run: 1 waiting" in line for line in shown) > 1
    assert sum("1 run: 1 finished" in line for line in shown) == 1


def stages_of_first_run() -> list[str]:
    (run,) = look([Path("out")])
    return [*run.states]


def make_done(run: Path, name: str) -> None:
    path = run / STAGES[name].output
    path.parent.mkdir(exist_ok=True)
    path.touch()


def test_work_for_several_runs_is_named_while_its_log_is_held(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "cache" / "cells" / "0123456789abcdef" / "logs" / "pack_cells.log"
    log.parent.mkdir(parents=True)
    program = (
        "import sys; from workflow_scripts.command import run_command; "
        "run_command(lambda _: print(sys.stdin.readline(), flush=True))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with log.open("w") as stdout:
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=stdout, env=environment
        )
    while not shared_work(Path()):
        assert process.poll() is None
        time.sleep(0.02)
    assert "at work for all: pack_cells (" in render([], [Path("out")])
    process.communicate(b"end\n")
    assert process.returncode == 0
    assert shared_work(Path()) == []


def test_time_left_adds_what_is_known_and_says_if_something_is_not(tmp_path):
    def run(name: str, states: dict[str, State], **took: float) -> RunProgress:
        folder = tmp_path / name
        (folder / "benchmarks").mkdir(parents=True)
        for stage, seconds in took.items():
            (folder / "benchmarks" / f"{stage}.tsv").write_text(f"s\th:m:s\n{seconds}\t0:00:01\n")
        return RunProgress(folder, states, {}, 100, None)

    done = run("a", {"predict": State.DONE, "report": State.DONE}, predict=30.0, report=4.0)
    half = run("b", {"predict": State.WORKING, "report": State.WAITING}, predict=50.0)
    unknown = run("c", {"train": State.WAITING, "predict": State.WAITING})
    left = seconds_left([done, half, unknown])
    assert left[done.folder] == Left(0.0, True)
    assert left[half.folder] == Left(44.0, True)
    assert left[unknown.folder] == Left(40.0, False)
    assert [left[one.folder].text for one in (done, half, unknown)] == ["", "44 s", "over 40 s"]
    assert "all of them: over 1 min, with 1 at a time" in render([done, half, unknown], [tmp_path])


def test_folder_that_is_not_there_is_an_error_by_name(tmp_path):
    command = [sys.executable, "-m", "workflow_scripts.progress", str(tmp_path / "nowhere")]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: {tmp_path}/nowhere: no such folder")
