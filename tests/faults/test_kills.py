"""Whatever is killed at whatever moment: the same command again ends as if nothing had been.

Six kills at seeded moments; thirty with STATELINE_FAULTS=all.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import anndata
import pandas as pd
import pytest
import torch

from tests.faults.killed import SIGNALS, VICTIMS, Kill, Started
from tests.snakemake_runs import snakemake
from tests.tiny_run import write_tiny_run
from workflow_scripts.settings.finished import NOTES

RULES = (
    *("freeze_config", "audit_cells", "audit_splits", "validate_features", "preflight"),
    *("pack_cells", "select_genes", "train", "take_checkpoint", "predict"),
    *("predict_baselines", "predict_unmasking", "reference_ends", "evaluate", "report"),
)
"""Those of the run below, in the order in which their jobs come."""

SESSIONS = range(5 if os.environ.get("STATELINE_FAULTS") == "all" else 1)

CONFIG = (
    "--config",
    "runs=run.yaml",
    "overrides=evaluation.profile=pds prediction.baselines=[control,ridge] genes.select=hvg "
    "genes.n_top=20 training.max_steps=600 training.val_freq=200 training.ckpt_every_n_steps=100 "
    "prediction.checkpoint=500",
)

SAME = ("metrics.tsv", "metrics_per_perturbation.parquet", "effects.parquet")
"""Files that are equal byte by byte."""


def kills(session: int, durations: Mapping[str, float]) -> list[Kill]:
    """Draw six kills of a session, over rules in the order in which they come.

    Five sessions strike each rule twice, and each of the nine ways at least thrice.
    """
    shuffled = [*RULES, *RULES]
    random.Random(7).shuffle(shuffled)
    draw = random.Random(session)
    chosen = sorted(shuffled[6 * session : 6 * session + 6], key=RULES.index)
    ways = [(who, how) for who in VICTIMS for how in SIGNALS]
    return [
        Kill(rule, draw.uniform(0, 0.6) * durations[rule], *ways[(6 * session + at) % 9])
        for at, rule in enumerate(chosen)
    ]


@dataclass(frozen=True)
class Unbroken:
    """A run that nothing disturbed, and how long its jobs took."""

    run: Path
    durations: Mapping[str, float]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    folder = tmp_path_factory.mktemp("unbroken")
    write_tiny_run(folder)
    durations = Started(folder, CONFIG).durations()
    assert set(durations) >= set(RULES)
    return Unbroken(folder / "out" / "tiny", durations)


@pytest.mark.parametrize("session", SESSIONS)
def test_killed_again_and_again_it_ends_as_if_nothing_had_been(
    session: int, tmp_path: Path, unbroken: Unbroken
) -> None:
    write_tiny_run(tmp_path)
    met = []
    for kill in kills(session, unbroken.durations):
        started = start(tmp_path)
        met.append(started.strike(kill))
        status = started.end()
        print(f"{kill}: {'met' if met[-1] else 'missed'}, Snakemake ended with {status}")
    # A job that is done sooner than it was at first is missed.
    assert sum(met) >= 4
    last = start(tmp_path)
    assert last.end() == 0, last.text
    check_equal(tmp_path / "out" / "tiny", unbroken.run)
    check_tidy(tmp_path)
    assert snakemake(tmp_path, *CONFIG).jobs == []


def start(folder: Path) -> Started:
    """Start it again; where a kill left Snakemake's lock, do what Snakemake says of that."""
    if any((folder / ".snakemake" / "locks").glob("*")):
        refused = Started(folder, CONFIG)
        assert refused.end() == 1
        assert "It can be removed with the --unlock argument" in refused.text
        snakemake(folder, "--unlock", *CONFIG)
    return Started(folder, CONFIG)


def check_equal(run: Path, unbroken: Path) -> None:
    for name in ("final", "best", "step-500"):
        one, other = (weights(path / f"checkpoints/{name}.ckpt") for path in (run, unbroken))
        assert one.keys() == other.keys()
        assert all(torch.equal(value, other[key]) for key, value in one.items()), name
    cells = [str(path.relative_to(unbroken)) for path in unbroken.rglob("*.h5ad")]
    assert {"predictions.h5ad", "observed.h5ad", "baselines/ridge.h5ad"} <= {*cells}
    for name in cells:
        one, other = (anndata.read_h5ad(path / name) for path in (run, unbroken))
        pd.testing.assert_frame_equal(one.obs, other.obs)
        assert (one.X != other.X).sum() == 0, name
    for name in SAME:
        assert digest(run / name) == digest(unbroken / name), name
    steps = [
        pd.read_csv(path / "training.csv")[["step", "train_loss", "val_loss", "gradient_norm"]]
        for path in (run, unbroken)
    ]
    pd.testing.assert_frame_equal(*steps)


def weights(path: Path) -> dict[str, torch.Tensor]:
    content = torch.load(path, map_location="cpu", weights_only=True)
    state: dict[str, torch.Tensor] = content["state_dict"]
    return state


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_tidy(folder: Path) -> None:
    """Hold the folder to have nothing left of what was begun: no temporary file, lock or mark."""
    own = folder / ".snakemake"
    left = [
        path
        for path in folder.rglob(".*")
        if own not in path.parents
        and path.name != ".snakemake_timestamp"  # of an output that is a folder
        and not path.name.endswith(NOTES)
    ]
    left += [path for name in ("locks", "incomplete") for path in (own / name).rglob("*")]
    assert [path for path in left if path.is_file()] == []
