"""What the README has a person type, typed in a fresh copy of the project."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests import warm
from tests.screens import write_screen

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PARTS = ("Snakefile", "rules", "workflow_scripts", "config", "profiles", "envs", "Makefile")

BLOCKS = re.findall(r"^ *```bash\n(.*?)^ *```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.partition("  #")[0].strip()
    for block in BLOCKS
    for line in block.replace("\\\n", "").splitlines()
]
INLINE = [
    " ".join(text.split())
    for text in re.findall(r"`((?:snakemake|python\s-m|make)\s[^`]+)`", README)
    if "…" not in text
]
ELSEWHERE = {
    "make run": "a fresh clone; its rule is one `snakemake`, below",
    "make test": "this very run",
    "make faults": "tests/faults",
    "pip install snakemake-executor-plugin-slurm": "installed, as the profile's dry run shows",
    "cp -r profiles/slurm my_profile": "the fixture",
    "snakemake --unlock": "tests/faults/test_kills.py",
}
"""Commands that are run by something else than this file."""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project with a person's screen in it, named as the README names it."""
    folder = tmp_path_factory.mktemp("clone")
    for name in PARTS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    shutil.copytree(folder / "profiles" / "slurm", folder / "my_profile")
    names = ("non-targeting", "GATA1", "KLF1", "TAL1", "LMO2", "GFI1B", "SPI1", "RUNX1")
    (folder / "data" / "my_screen").mkdir(parents=True)
    screen = folder / "data" / "my_screen" / "cells.h5ad"
    write_screen(screen, perturbations=names, contexts=("K562", "RPE1"))
    rename_columns(screen)
    rng = np.random.default_rng(0)
    vectors = {name: torch.tensor(rng.normal(size=8), dtype=torch.float32) for name in names}
    torch.save(vectors, folder / "ESM2_pert_features.pt")
    (folder / "my_splits.toml").write_text(block("toml"))
    (folder / "config" / "runs" / "my_run.yaml").write_text(block("yaml"))
    return folder


def rename_columns(screen: Path) -> None:
    import anndata

    cells = anndata.read_h5ad(screen)
    cells.obs = cells.obs.rename(columns={"gene": "target_gene", "gem_group": "batch"})
    cells.write_h5ad(screen)


def block(language: str) -> str:
    """Return the README's only block in a language, without its margin."""
    [(margin, text)] = re.findall(rf"^( *)```{language}\n(.*?)^ *```", README, re.M | re.S)
    return re.sub(rf"^{margin}", "", text, flags=re.MULTILINE)


def typed(clone: Path, command: str) -> str:
    """Type a command into a shell in the project's folder; return what it prints."""
    environment = {
        **os.environ,
        "PATH": f"{Path(warm.python()).parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(clone),
    }
    done = subprocess.run(
        command, shell=True, executable="/bin/bash", cwd=clone, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}"
    return done.stdout


def test_every_command_is_typed_somewhere():
    first = {"snakemake", "python", "make", "pip", "cp", "state", "source"}
    assert {shlex.split(command)[0] for command in [*COMMANDS, *INLINE]} <= first
    left = [
        command
        for command in [*COMMANDS, *INLINE]
        if command not in ELSEWHERE and not command.startswith("state ")
    ]
    assert {*left} == {*PLANNED, *TYPED}, "a command of the README is run by no test"


PLANNED = {
    "snakemake --cores 4 --resources gpu=1": "train",
    "snakemake --cores 4 --config runs=first_run": "train",
    "snakemake --cores 4 check --config runs=first_run": "preflight",
    "snakemake --cores 4 --config runs=demo "
    "overrides='training.lr=3e-4 training.max_steps=1500 name=longer'": "train",
    "snakemake --workflow-profile my_profile --config runs=my_run": "train",
}
"""What would take minutes, or needs what isn't here: only planned; and a rule of the plan."""

TYPED = {
    "snakemake --cores 4 check --config runs=my_run": "my_run/preflight/findings.html",
    "snakemake --cores 1 --config runs=first_run -- competition/first_run/config.yaml": (
        "Workflow Finished"
    ),
    "python -m workflow_scripts.config trace first_run": "state_sm",
    "python -m workflow_scripts.config diff model pertsets state_sm": "hidden_dim",
    "python -m workflow_scripts.config key training.lr": "train",
    "python -m workflow_scripts.storage": "no",
}
"""What is run as it stands, and what it then says."""


@pytest.mark.parametrize("command", PLANNED)
def test_command_plans_what_it_is_said_to(clone: Path, command: str):
    said = typed(clone, f"{command} --dry-run")
    assert re.search(rf"^ ?{PLANNED[command]} +\d", said, re.MULTILINE)


@pytest.mark.parametrize("command", TYPED)
def test_command_does_what_it_is_said_to(clone: Path, command: str):
    assert TYPED[command] in typed(clone, command)
