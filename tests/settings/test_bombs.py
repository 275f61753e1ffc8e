"""Small files that would take minutes or gigabytes to read, or end the process, are refused."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.screens import write_screen

DATASETS = '[datasets]\nd = "d.h5ad"\n'
PATTERN = "{a,b}" * 24
MANY = range(300_000)
SECONDS = 2
"""Of the processor, beside what it takes to read a plain file."""

SPLIT_FILES = {
    "a glob of 16 million names": f'[datasets]\nd = "{PATTERN}.h5ad"\n',
    "nested 5,000 deep": f"{DATASETS}x = {'[' * 5_000}{']' * 5_000}\n",
    "nested 100,000 deep": f"{DATASETS}x = {'[' * 100_000}{']' * 100_000}\n",
    "a long number": f"{DATASETS}x = {'1' * 200_000}\n",
}
SLOW_SPLIT_FILES = {
    "a key of 20,000 parts": f"{DATASETS}{'.'.join('a' * 20_000)} = 1\n",
    "300,000 unknown sections": DATASETS + "\n".join(f"[n{at}]" for at in MANY),
    "300,000 unknown perturbations": f'{DATASETS}[training]\nd = "train"\n[fewshot."d.k562"]\n'
    f"test = {[f'n{at}' for at in MANY]}\n",
}
RUN_FILES = {
    "nested 5,000 deep": f"a: {'[' * 5_000}{']' * 5_000}\n",
    "nested 100,000 deep": f"a: {'{a: ' * 100_000}{'}' * 100_000}\n",
    "a list nested 20,000 deep": f"a:\n{'- ' * 20_000}1\n",
    "a long number": f"training: {{lr: {'1' * 200_000}}}\n",
}
SLOW_RUN_FILES = {"300,000 unknown keys": "".join(f"n{at}: 1\n" for at in MANY)}


def read(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that may take `SECONDS` of the processor more than it takes to start."""
    limit = SECONDS + 3
    return subprocess.run(
        [sys.executable, "-m", f"workflow_scripts.{command}", *arguments],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit)),
    )


def is_refused(done: subprocess.CompletedProcess[str], file: str) -> bool:
    said = done.stdout + done.stderr
    assert done.returncode in (1, 2), f"{done.returncode}: {said[-500:]}"
    return f"error: {file}" in said and "Traceback" not in said and len(said) < 500_000


@pytest.fixture
def split_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_screen(tmp_path / "d.h5ad")
    return Path("starter.toml")


@pytest.mark.parametrize("name", SPLIT_FILES)
def test_split_file_is_refused(split_file, name):
    split_file.write_text(SPLIT_FILES[name])
    done = read("audit_splits", str(split_file), "data.kwargs.control_pert=control")
    assert is_refused(done, PATTERN if "glob" in name else "starter.toml")


@pytest.mark.long
@pytest.mark.parametrize("name", SLOW_SPLIT_FILES)
def test_large_split_file_is_refused(split_file, name):
    split_file.write_text(SLOW_SPLIT_FILES[name])
    done = read("audit_splits", str(split_file), "data.kwargs.control_pert=control")
    assert is_refused(done, "starter.toml")


@pytest.mark.parametrize("name", RUN_FILES)
def test_run_file_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(RUN_FILES[name])
    assert is_refused(read("config", "trace", "run.yaml"), "run.yaml")


@pytest.mark.long
@pytest.mark.parametrize("name", SLOW_RUN_FILES)
def test_large_run_file_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(SLOW_RUN_FILES[name])
    assert is_refused(read("config", "trace", "run.yaml"), "run.yaml")
