"""Files that change under a finished run: they are made again, or refused with a message.

A few files here; every file in each way with STATELINE_FAULTS=all (`make faults`).
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import anndata
import pandas as pd
import pytest
import torch

from tests.faults.whole_run import ALL, weights
from tests.finished_run import OPTIONS
from tests.snakemake_runs import snakemake

STARTS = 5
"""At most so many starts: each may find one more file that is damaged."""

TIMED = ("features_audit.json", "starts.json", "training.csv", "provenance.json")
"""Files that hold times, or paths of this folder: each is only to be one that its readers take."""

TOLD = "damaged or edited", "not as it was finished"
"""One of these says what was found."""


def truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 0x40]) + content[at + 1 :]


def zero(content: bytes) -> bytes:
    at = len(content) // 3
    return (content[:at] + bytes(4096) + content[at + 4096 :])[: len(content)]


WAYS = (truncate, flip, zero)

RUN = "out/tiny"
CELLS = "cache/cells/*"
FILES = (
    *(f"{RUN}/{name}.parquet" for name in ("splits", "effects", "metrics_per_perturbation")),
    *(f"{RUN}/{name}" for name in ("features.safetensors", "predictions.h5ad", "observed.h5ad")),
    *(f"{RUN}/{name}_audit.json" for name in ("splits", "features")),
    *(f"{RUN}/{name}.json" for name in ("preflight", "anchors", "scores", "starts")),
    *(f"{RUN}/{name}" for name in ("metrics.tsv", "training.csv", "checkpoints/final.ckpt")),
    *(f"{RUN}/{name}.h5ad" for name in ("baselines/ridge", "negative_controls/shuffled_features")),
    *(f"{CELLS}/{name}.parquet" for name in ("groups", "batches", "twins")),
    *(f"{CELLS}/{name}.json" for name in ("cells_audit", "manifest")),
)
"""What a stage leaves and another one reads."""

SHORT = ((f"{RUN}/features.safetensors", flip), (f"{RUN}/checkpoints/final.ckpt", zero))
LONG = (
    (f"{RUN}/predictions.h5ad", flip),
    (f"{RUN}/preflight.json", truncate),
    (f"{RUN}/scores.json", zero),
    (f"{RUN}/training.csv", truncate),
    (f"{RUN}/baselines/ridge.h5ad", flip),
    (f"{CELLS}/groups.parquet", zero),
    (f"{CELLS}/manifest.json", flip),
)
CASES = [(name, way) for name in FILES for way in WAYS] if ALL else [*SHORT, *LONG]


@pytest.mark.parametrize(
    ("name", "way"),
    [pytest.param(*case, marks=[] if case in SHORT else pytest.mark.long) for case in CASES],
)
def test_damaged_file_is_made_again(
    shared_run: Path, tmp_path: Path, name: str, way: Callable[[bytes], bytes]
) -> None:
    copy = tmp_path / "copy"
    # As they are, published files are hard links of those that are kept.
    subprocess.run(["cp", "--archive", str(shared_run), str(copy)], check=True)
    (path,) = copy.glob(name)
    with path.open("r+b") as file:
        damaged = way(path.read_bytes())
        file.write(damaged)
        file.truncate()
    printed = ""
    # Snakemake doesn't look at the times of what lies in an output that is a folder.
    again = (
        ["--forcerun", "evaluate"] if path.parent.name in ("baselines", "negative_controls") else []
    )
    for at in range(STARTS):
        started = snakemake(copy, *OPTIONS, *([] if at else again), expect=None)
        logs = [*copy.glob(f"{RUN}/logs/*.log"), *copy.glob(f"{CELLS}/logs/*.log")]
        printed += started.text + "".join(log.read_text() for log in logs)
        if not started.status:
            break
        assert "error: " in started.text
    assert not started.status, started.text
    for bad in ("Traceback", "defect of the workflow", "JSONDecodeError"):
        assert bad not in printed
    assert any(words in printed for words in TOLD), printed
    check_equal(copy, shared_run)
    assert snakemake(copy, *OPTIONS).jobs == []


def check_equal(damaged: Path, whole: Path) -> None:
    for pattern in FILES:
        (one,), (other,) = damaged.glob(pattern), whole.glob(pattern)
        if one.suffix == ".ckpt":
            mine, before = weights(one), weights(other)
            assert all(torch.equal(value, before[key]) for key, value in mine.items())
        elif one.suffix == ".h5ad":
            mine, before = anndata.read_h5ad(one), anndata.read_h5ad(other)
            pd.testing.assert_frame_equal(mine.obs, before.obs)
            assert (mine.X != before.X).sum() == 0
        elif one.name not in TIMED:
            assert one.read_bytes() == other.read_bytes(), pattern
