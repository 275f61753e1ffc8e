"""A run on an embedding, through Snakemake from the screen to the report."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import pandas as pd
import pytest

from tests.snakemake_runs import snakemake
from tests.tiny_run import write_tiny_run

pytestmark = pytest.mark.long

QUICK = (
    "prediction.baselines=[control] prediction.negative_controls=[] evaluation.profile=pds "
    "evaluation.extra_metrics=[]"
)
OUT = Path("out/tiny")


def test_embedding_goes_through_to_scores_of_expression_and_its_change_trains_anew(
    tmp_path: Path,
) -> None:
    write_tiny_run(tmp_path, embedding=("X_pca", 9))
    options = ("--resources", "gpu=1", "--config", "runs=run.yaml", f"overrides={QUICK}")
    first = snakemake(tmp_path, *options)
    assert {"pack_cells", "train", "predict", "evaluate", "report"} <= set(first.jobs)

    predicted = anndata.read_h5ad(tmp_path / OUT / "predictions.h5ad")
    assert predicted.shape[1] == 30
    assert predicted.obsm["X_pca"].shape == (predicted.n_obs, 9)
    scores = pd.read_csv(tmp_path / OUT / "metrics.tsv", sep="\t")
    assert {"model", "control"} <= set(scores.iloc[:, 0]) | set(scores.iloc[:, 1])
    needs = json.loads((tmp_path / OUT / "preflight.json").read_text())["estimate"]
    checkpoint = tmp_path / OUT / "checkpoints/final.ckpt"
    assert needs["model"]["checkpoint_bytes"] < checkpoint.stat().st_size
    assert "the model reads the embedding X_pca" in (tmp_path / OUT / "report.html").read_text()

    assert snakemake(tmp_path, *options).jobs == []

    # Another embedding of the same cells: they are packed anew, and what follows.
    path = tmp_path / "screen.h5ad"
    adata = anndata.read_h5ad(path)
    adata.obsm["X_pca"] = -adata.obsm["X_pca"]
    adata.write_h5ad(path)
    again = snakemake(tmp_path, *options, "--until", "train")
    assert {"pack_cells", "train"} <= set(again.jobs)
