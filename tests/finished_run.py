"""A finished tiny run that tests start from: made once by a worker, and copied for each test."""

from __future__ import annotations

import os
import shutil
import tomllib
from pathlib import Path

from tests.snakemake_runs import snakemake
from tests.tiny_run import write_tiny_run

OPTIONS = ("--config", "runs=run.yaml", "cache_dir=cache")
LARGE = (".ckpt", ".h5ad", ".npy", ".parquet", ".safetensors")


def make_finished_run(folder: Path) -> Path:
    """Make the run in a new folder, its screen beside it; return the folder."""
    folder.mkdir()
    write_tiny_run(folder)
    # The copies name the same cells, so that nothing of them is left to do.
    screen = (folder / "screen.h5ad").rename(folder.with_name("screen.h5ad"))
    toml = folder / "starter.toml"
    toml.write_text(toml.read_text().replace("screen.h5ad", str(screen)))
    # Without differential expression, which takes seconds to compile.
    with (folder / "run.yaml").open("a") as file:
        file.write("evaluation: {profile: pds}\nprediction: {baselines: [control, ridge]}\n")
    snakemake(folder, *OPTIONS)
    return folder


def copy_finished_run(run: Path, folder: Path) -> Path:
    """Copy a run to a new folder. Large files are hard links: replace them, don't write to them."""

    def link_or_copy(source: str, target: str) -> None:
        (os.link if source.endswith(LARGE) else shutil.copy2)(source, target)

    shutil.copytree(run, folder, copy_function=link_or_copy)
    return folder


def screen_of(run: Path) -> Path:
    """Return the screen of a finished run, which its copies share."""
    return Path(tomllib.loads((run / "starter.toml").read_text())["datasets"]["screen"])
