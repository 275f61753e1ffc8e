"""Files that are put in place of others, as `mv`, `cp -p` and `rsync -a` do, are noticed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pytest

from tests import warm
from tests.screens import write_screen
from tests.snakemake_runs import snakemake
from tests.tiny_run import PERTURBATIONS
from tests.workflow.test_invalidation import BEFORE, Project

OLD = 1_600_000_000
"""Time of the files that are put in place: long before any run."""


def copy_with_times(earlier: Path, path: Path) -> None:
    shutil.copy2(earlier, path)


def move(earlier: Path, path: Path) -> None:
    shutil.copy2(earlier, beside := earlier.with_suffix(".moved"))
    os.replace(beside, path)


def point_elsewhere(earlier: Path, path: Path) -> None:
    path.unlink()
    path.symlink_to(os.path.relpath(earlier, path.parent))
    os.utime(path, (OLD, OLD), follow_symlinks=False)


WAYS: dict[str, Callable[[Path, Path], None]] = {
    "cp -p": copy_with_times,
    "mv": move,
    "ln -s": point_elsewhere,
}

CELLS = {"audit_cells", "pack_cells", "train"}
FILES = [
    ("data/screen.h5ad", "cp -p", CELLS),
    pytest.param("data/screen.h5ad", "mv", CELLS, marks=pytest.mark.long),
    pytest.param("data/screen.h5ad", "ln -s", CELLS, marks=pytest.mark.long),
    ("starter.toml", "cp -p", {"audit_splits", "train", "evaluate"}),
    ("features.pt", "mv", {"validate_features", "train"}),
    pytest.param(
        "proteins.fasta", "ln -s", {"embed_proteins", "validate_features"}, marks=pytest.mark.long
    ),
    pytest.param(
        "genes.txt", "cp -p", {"select_genes", "preflight", "train"}, marks=pytest.mark.long
    ),
    pytest.param(
        "panel.txt", "mv", {"preflight", "predict", "predict_baselines"}, marks=pytest.mark.long
    ),
    pytest.param(
        "initial.ckpt",
        "ln -s",
        {"preflight", "train"},
        marks=pytest.mark.long,
    ),
    pytest.param(
        "member.ckpt",
        "cp -p",
        {"preflight", "predict", "predict_negative_controls"},
        marks=pytest.mark.long,
    ),
]
"""Files of a run, how another one comes there, and jobs that it runs."""

KEYS = {
    "features.missing": "embed",
    "features.embedding.model": "esm2_t6_8M_UR50D",
    "features.embedding.fasta": "proteins.fasta",
    "genes.select": "list",
    "genes.file": "genes.txt",
    "prediction.genes": "panel.txt",
    "prediction.ensemble": "[member.ckpt]",
    "model.kwargs.init_from": "initial.ckpt",
}


def put_in_place(project: Project, way: str, name: str) -> None:
    """Put an older file of the same size in place of one of the run."""
    path, earlier = project.folder / name, project.folder / f"earlier-{Path(name).name}"
    content = bytearray(path.read_bytes())
    content[-2] ^= 1  # of a comment, in the file that is read while the runs are planned
    earlier.unlink(missing_ok=True)
    earlier.write_bytes(content)
    os.utime(earlier, (OLD, OLD))
    WAYS[way](earlier, path)


def why(project: Project) -> str:
    """Return what `snakemake why` prints, whose job is a stub here."""
    overrides = " ".join(f"{key}={value}" for key, value in project.asked.items())
    config = {"runs": "run.yaml", "cache_dir": "cache", "overrides": overrides}
    done = subprocess.run(
        [warm.python(), "-m", "workflow_scripts.why", "--config", json.dumps(config)],
        cwd=project.folder,
        env={**os.environ, "PYTHONPATH": str(project.tool)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("replaced"), stubs=True)
    for name in ("proteins.fasta", "genes.txt", "panel.txt"):
        (project.folder / name).write_text("stands for a file\n")
    for name in ("initial.ckpt", "member.ckpt"):
        (project.folder / name).write_bytes(bytes(1_000_001))
    with (project.folder / "starter.toml").open("a") as file:
        file.write("# The end.\n")
    project.ask(**KEYS)
    project.start()
    return project


@pytest.mark.parametrize(("name", "way", "jobs"), FILES)
def test_an_older_file_put_in_place_runs_what_reads_it(
    project: Project, name: str, way: str, jobs: set[str]
) -> None:
    assert project.start().jobs == []
    put_in_place(project, way, name)
    assert re.search(rf"{name}\b.* is another file now", why(project))
    # Another key beside it must not hide the file.
    project.ask(**{"wandb.tags": f"[{Path(name).stem}]"})
    assert jobs <= set(project.start().jobs)


def test_files_that_rules_make_are_no_other_ones_at_the_second_start(project: Project) -> None:
    config = ("--config", "runs=demo", "cache_dir=cache")
    snakefile = project.tool / "Snakefile"
    findings = project.folder / "results/demo/preflight/findings.json"
    findings.parent.mkdir(parents=True)
    findings.write_text('{"findings": {}}')
    assert "simulate_demo" in snakemake(project.folder, *config, snakefile=snakefile).jobs
    assert snakemake(project.folder, *config, snakefile=snakefile).jobs == []


def test_a_project_that_is_moved_has_nothing_to_do(project: Project) -> None:
    assert project.start().jobs == []
    new = project.folder.rename(project.folder.with_name("moved"))
    project.folder, project.tool = new, new / "tool"
    assert project.start().jobs == []


@pytest.mark.long
def test_equal_file_changes_no_byte_and_another_one_trains_anew(tmp_path: Path) -> None:
    project = Project(tmp_path, stubs=False)
    run, path = project.folder / "out/tiny", project.folder / "data/screen.h5ad"
    with path.open("ab") as file:  # so that it isn't compared by its content
        file.write(bytes(1_000_000))
    project.start()
    names = ("splits.parquet", "checkpoints/final.ckpt", "predictions.h5ad", "metrics.tsv")
    made = {name: (run / name).read_bytes() for name in names}
    equal = shutil.copy2(path, project.folder / "equal")
    os.replace(equal, path)
    assert {"audit_cells", "pack_cells", "train", "predict", "evaluate"} <= set(
        project.start().jobs
    )
    assert {name: (run / name).read_bytes() for name in names} == made
    for rule in ("pack_cells", "train", "predict", "evaluate"):
        assert BEFORE.search(project.log(rule)), rule
    assert project.start().jobs == []

    other = project.folder / "other.h5ad"
    write_screen(other, perturbations=PERTURBATIONS, cells_per_group=12, seed=7)
    os.utime(other, (OLD, OLD))
    os.replace(other, path)
    assert "audit_cells" in project.start("check").jobs
    project.ask(**{"training.lr": "2e-3"})
    assert {"pack_cells", "train"} <= set(project.start().jobs)
    assert not BEFORE.search(project.log("pack_cells"))
    observed, screen = (anndata.read_h5ad(name) for name in (run / "observed.h5ad", path))
    totals = np.asarray(screen[observed.obs["barcode"].to_numpy()].X.sum(axis=1)).ravel()
    counts = np.expm1(observed.X.toarray()).T * totals / 1e4
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-2)
