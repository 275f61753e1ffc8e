"""Snakemake that is asked to stop ends its jobs."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from tests.faults.killed import Started
from tests.tiny_run import write_tiny_run

STEPS = "training.max_steps=1000000 training.val_freq=1000000 training.ckpt_every_n_steps=1000000"
FINAL = "out/tiny/checkpoints/final.ckpt"


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_to_snakemake_alone_ends_its_jobs(tmp_path: Path, number: signal.Signals) -> None:
    write_tiny_run(tmp_path)
    started = Started(tmp_path, [FINAL, "--config", "runs=run.yaml", f"overrides={STEPS}"])
    while not any(len(log.read_text().splitlines()) > 3 for log in training_logs(tmp_path)):
        assert started.running, started.text
    jobs = started.processes()[1:]
    assert any("workflow_scripts.train" in " ".join(job.cmdline()) for job in jobs)
    started.processes()[0].send_signal(number)
    assert started.end() != 0
    psutil.wait_procs(jobs, timeout=60)
    assert [job for job in jobs if job.is_running()] == []
    log = (tmp_path / "out/tiny/logs/train.log").read_text()
    assert "stopped by SIGTERM after step" in log
    assert "its state is kept" in log


def training_logs(folder: Path) -> list[Path]:
    return list(folder.glob("out/tiny/checkpoints/*/training.csv"))
