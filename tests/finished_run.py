"""A finished tiny run that tests start from: made once by a worker, and copied for each test."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

from tests.snakemake_runs import snakemake
from tests.tiny_run import write_tiny_run

OPTIONS = ("--config", "runs=run.yaml", "cache_dir=cache")


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
    printed_of(folder).write_text(snakemake(folder, *OPTIONS, plain=False).text)
    return folder


def printed_of(run: Path) -> Path:
    """Return the file with what Snakemake printed while a run was made."""
    return run.with_name("printed.txt")


def copy_finished_run(run: Path, folder: Path) -> Path:
    """Copy a run to a new folder.

    Nothing is a hard link: a job that finds its work done sets the time of the file that it
    publishes, and a link would have it be newer in every copy.
    """
    return shutil.copytree(run, folder)


def screen_of(run: Path) -> Path:
    """Return the screen of a finished run, which its copies share."""
    return Path(tomllib.loads((run / "starter.toml").read_text())["datasets"]["screen"])
