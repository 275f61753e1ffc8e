"""What is said at the end of a start in which jobs failed."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.faults.killed import Kill, Started
from tests.snakemake_runs import snakemake
from tests.tiny_run import write_tiny_run
from workflow_scripts.outcome import WIDTH, box, failures

EDGE = "─" * WIDTH


def boxed(text: str) -> str:
    """Return what stands in the box, which has to be there once."""
    before, inside, after = text.split(EDGE)
    assert "Error in rule" in before
    assert "Error in rule" not in after
    return inside


def test_problems_of_inputs_end_in_one_box(tmp_path: Path) -> None:
    write_tiny_run(tmp_path)
    toml = (tmp_path / "starter.toml").read_text()
    (tmp_path / "starter.toml").write_text(toml.replace('"g1"', '"g7"').replace('"g2"', '"g8"'))
    done = snakemake(tmp_path, "check", "--config", "runs=run.yaml", expect=1)
    said = boxed(done.text)
    assert "out/tiny: preflight failed" in said
    assert "the data has no perturbation 'g7'" in said
    assert "the data has no perturbation 'g8'" in said
    assert f"log: {tmp_path}/out/tiny/logs/preflight.log" in said
    assert "Fix that, and start the same command again" in said


def test_job_that_was_killed_is_told_from_one_that_says_why(tmp_path: Path) -> None:
    write_tiny_run(tmp_path)
    config = ("--config", "runs=run.yaml")
    started = Started(tmp_path, ("check", *config))
    assert started.strike(Kill("audit_cells", 0.3, "the job", signal.SIGKILL))
    assert started.end() == 1
    said = boxed(started.text)
    assert re.search(r"cache/cells/\w{16}: audit_cells failed\nits log is empty", said)
    assert "killed, or out of memory, most likely" in said


RAISED = "Traceback (most recent call last):\n"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (f"{RAISED}OSError: [Errno 28] No space left on device\n", "disk"),
        ("error: OSError: [Errno 122] Disk quota exceeded\n", "disk"),
        (f"{RAISED}MemoryError\nDuring handling of that:\n1\n2\n3\n4\n5\n6\n", "memory"),
        ("OpenBLAS error: Memory allocation still failed after 10 retries, giving up.\n", "memory"),
        ("LLVM ERROR: Unable to allocate section memory!\n", "memory"),
        (f"{RAISED}OSError: libllvmlite.so: failed to map segment from shared object\n", "memory"),
        (f"{RAISED}OSError: [Errno 12] Cannot allocate memory\n", "memory"),
        ("RuntimeError: can't start new thread\n", "memory"),
        (f"{RAISED}torch.OutOfMemoryError: CUDA out of memory. Tried to\n", "GPU's memory"),
    ],
)
def test_job_without_disk_or_memory_is_told_so(tmp_path: Path, text: str, named: str) -> None:
    log = tmp_path / "out" / "a" / "logs" / "train.log"
    log.parent.mkdir(parents=True)
    log.write_text(text)
    (found,) = failures(f"Error in rule train:\n    message: None\n    log: {log} (check)\n")
    assert found.advice.startswith(f"The {named} is full")


def test_last_end_of_a_job_that_was_tried_again_counts(tmp_path: Path) -> None:
    log = tmp_path / "out" / "a" / "logs" / "train.log"
    log.parent.mkdir(parents=True)
    log.write_text("warning: x\nerror: the loss is nan;\nlower it\n")
    block = f"Error in rule train:\n    message: None\n    log: {log} (check log file(s))\n"
    (found,) = failures(f"{block}\nTrying to restart job 0.\n{block}")
    assert (found.rule, found.run) == ("train", str(tmp_path / "out" / "a"))
    assert found.message == "error: the loss is nan;\nlower it"
    log.write_text("note: CUDA out of memory, goes on without it\nerror: the loss is nan\n")
    (found,) = failures(block)
    assert found.advice.startswith("Fix that")
    log.write_text("stopped by SIGTERM after step 7 of 9; its state is kept\n")
    (found,) = failures(block)
    assert found.advice == "Start the same command again."
    log.write_text("Traceback (most recent call last):\n  File x\nKeyError: 'a'\n")
    (found,) = failures(block)
    assert found.message.endswith("KeyError: 'a'")
    assert "please report it" in found.advice
    log.unlink()
    (found,) = failures(block.replace("None", "SLURM-job '6' failed"))
    assert found.message == "SLURM-job '6' failed"
    assert failures("nothing here") == []
    assert box([]) == ""
