"""The run that faults meet, and when two of its kind are equal."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import anndata
import pandas as pd
import torch

from workflow_scripts.cache.identity import NOTES

ALL = os.environ.get("STATELINE_FAULTS") == "all"
"""Whether everything is asked for, which takes many minutes (`make faults`)."""

RULES = (
    *("config", "audit_cells", "audit_splits", "validate_features", "preflight"),
    *("pack_cells", "select_genes", "train", "predict"),
    *("predict_baselines", "predict_negative_controls", "anchors", "evaluate", "report"),
)
"""Those that it has, in the order in which their jobs come."""

CONFIG = (
    "--config",
    "runs=run.yaml",
    "overrides=evaluation.profile=pds prediction.baselines=[control,ridge] genes.select=hvg "
    "genes.n_top=20 training.max_steps=600 training.val_freq=200 training.ckpt_every_n_steps=100 "
    "prediction.checkpoint=500",
)

SAME = ("metrics.tsv", "metrics_per_perturbation.parquet", "effects.parquet")
"""Files that are equal byte by byte."""


def check_equal(run: Path, unbroken: Path) -> None:
    for name in ("final", "best"):
        one, other = (weights(path / f"checkpoints/{name}.ckpt") for path in (run, unbroken))
        assert one.keys() == other.keys()
        assert all(torch.equal(value, other[key]) for key, value in one.items()), name
    cells = [str(path.relative_to(unbroken)) for path in unbroken.glob("*.h5ad")]
    cells += [str(path.relative_to(unbroken)) for path in unbroken.glob("[bu]*/*.h5ad")]
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
