"""Commands that are forked from the warm process do what plain ones do."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests import warm
from tests.snakemake_runs import ROOT, snakemake
from tests.tiny_run import write_tiny_run

pytestmark = pytest.mark.skipif(warm.python() == sys.executable, reason="nothing is forked")

TIMED = {"provenance.json", "starts.json", "training.csv", "report.html", "lock"}
TIMED |= {"known_digests.json", "manifest.json", "finished.json"}
"""Files that say when, how fast or by which process they were made."""


def start(*command: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, **options)


def contents(folder: Path) -> dict[str, bytes]:
    """Return what a run made, by path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if path.name not in TIMED and not {"logs", "benchmarks"} & set(path.parts)
    }


@pytest.mark.long
def test_forked_chain_makes_the_bytes_of_a_plain_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Otherwise the last bits of a matrix product depend on where its factors lie in memory.
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    write_tiny_run(tmp_path)
    made = {}
    for name, python in (("forked", warm.python()), ("plain", sys.executable)):
        snakemake(tmp_path, "--config", "runs=run.yaml", "cache_dir=cache", python=python)
        made[name] = contents(tmp_path / "out" / "tiny") | contents(tmp_path / "cache")
        for folder in ("out", "cache", ".snakemake"):
            shutil.rmtree(tmp_path / folder)
    forked, plain = made["forked"], made["plain"]
    assert len(plain) > 30
    assert sorted(forked) == sorted(plain)
    assert [name for name in plain if forked[name] != plain[name]] == []


@pytest.mark.long
def test_tests_pass_in_plain_processes() -> None:
    environment = {**os.environ, "STATELINE_TEST_FORK": "0"}
    command = (sys.executable, "-m", "pytest", "tests/workflow/test_shared_cache.py", "-m", "")
    done = start(*command, cwd=ROOT, env=environment)
    assert "1 passed" in done.stdout, done.stdout


def test_command_has_its_own_folder_and_environment(tmp_path: Path) -> None:
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "run.yaml").write_text("# @package _global_\nname: ${oc.env:RUN_NAME}\n")
        command = (warm.python(), "-m", "workflow_scripts.config", "trace", "run.yaml")
        done = start(*command, cwd=folder, env={**os.environ, "RUN_NAME": f"the_{name}"})
        assert f"the_{name}" in done.stdout, done.stderr


def test_status_and_streams_are_those_of_the_command() -> None:
    for python in (warm.python(), sys.executable):
        done = start(python, "-m", "workflow_scripts.config", "key", "no.such", cwd=ROOT)
        assert (done.returncode, done.stdout) == (2, "")
        assert "no.such" in done.stderr


@pytest.mark.parametrize("dies", ["before", "while it is asked"])
def test_plain_process_steps_in_where_the_warm_one_is_gone(tmp_path: Path, dies: str) -> None:
    if dies == "while it is asked":
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(tmp_path / "socket"))
        server.listen()
        threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
    client = tmp_path / "python"
    text = Path(warm.python()).read_text()
    client.write_text(text.replace(str(Path(warm.python()).parent), str(tmp_path)))
    client.chmod(0o755)
    done = start(client, "-m", "workflow_scripts.config", "key", "training.lr", cwd=ROOT)
    assert "the warm process is gone" in done.stderr
    assert "training.lr" in done.stdout


def test_parallel_region_in_the_warm_process_would_be_noticed() -> None:
    program = (
        "import torch; from tests import warm; before = warm.count_threads();"
        "torch.set_num_threads(2); torch.ones(1_000_000).exp().sum();"
        "print(warm.count_threads() - before)"
    )
    assert start(sys.executable, "-c", program, cwd=ROOT).stdout.strip() != "0"
