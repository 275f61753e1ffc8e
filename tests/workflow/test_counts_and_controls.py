"""Runs that predict counts, fit their amplitude, or predict controls too, through Snakemake."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import issparse

from tests.finished_run import OPTIONS, screen_of
from tests.screens import write_screen
from tests.snakemake_runs import snakemake
from tests.tiny_run import PERTURBATIONS, write_tiny_run

pytestmark = pytest.mark.long

QUICK = "prediction.baselines=[control] evaluation.resamples=0"


def values(path: Path) -> np.ndarray:
    cells = anndata.read_h5ad(path).X
    return cells.toarray() if issparse(cells) else cells


def test_counts_are_predicted_and_scored_as_counts(finished_run: Path) -> None:
    asked = f"{QUICK} evaluation.profile=null prediction.output=counts"
    asked += " prediction.amplitude=validation"
    done = snakemake(finished_run, *OPTIONS, f"overrides={asked}")
    assert {"predict", "predict_baselines", "anchors", "evaluate"} <= set(done.jobs)
    assert not {"train", "pack_cells", "audit_splits"} & set(done.jobs)

    run = finished_run / "out/tiny"
    rows = pd.read_parquet(run / "metrics_per_perturbation.parquet")
    assert not rows.duplicated(["model", "context", "perturbation", "metric"]).any()
    source = anndata.read_h5ad(screen_of(finished_run))
    observed = anndata.read_h5ad(run / "observed.h5ad")
    np.testing.assert_array_equal(
        values(run / "observed.h5ad"), source[list(observed.obs["barcode"])].X.toarray()
    )
    for name in ("predictions", "baselines/control", "negative_controls/shuffled_features"):
        found = values(run / f"{name}.h5ad")
        assert np.array_equal(found, np.rint(found))
    scores = json.loads((run / "scores.json").read_text())
    assert scores["settings"]["input_type"] == "counts"
    assert "expr_mse_unbiased_capped" in scores["overall"]["model"]
    assert scores["predicted"]["amplitude"] != 1.0
    assert "prediction.amplitude" in (run / "report.html").read_text()
    assert snakemake(finished_run, *OPTIONS, f"overrides={asked}").jobs == []


def test_controls_are_predicted_where_asked_for(finished_run: Path) -> None:
    asked = f"{QUICK} evaluation.profile=anndata evaluation.controls=predicted"
    snakemake(finished_run, *OPTIONS, f"overrides={asked}")
    run = finished_run / "out/tiny"
    predicted, observed = (
        anndata.read_h5ad(run / f"{n}.h5ad") for n in ("predictions", "observed")
    )
    assert predicted.uns["stateline"]["controls"] == "predicted"
    assert list(predicted.obs["perturbation"]) == list(observed.obs["perturbation"])
    controls = (predicted.obs["perturbation"] == "control").to_numpy()
    assert not np.array_equal(
        values(run / "predictions.h5ad")[controls], values(run / "observed.h5ad")[controls]
    )
    # A baseline predicts no controls, so that its effects are those to the observed ones.
    kept = values(run / "baselines/control.h5ad")[controls]
    np.testing.assert_array_equal(kept, values(run / "observed.h5ad")[controls])
    scores = json.loads((run / "scores.json").read_text())
    assert scores["settings"]["control_source"] == "pred"


def test_submission_is_written_beside_the_predictions(finished_run: Path) -> None:
    (finished_run / "want.csv").write_text("perturbation,context\ng2,rpe1\ng5,k562\n")
    asked = (
        "prediction.targets=want.csv prediction.cells_per_target=400 prediction.output=counts "
        "prediction.submission=vcc2026"
    )
    done = snakemake(finished_run, *OPTIONS, f"overrides={asked}")
    assert "write_submission" in done.jobs
    assert "30 genes are written, and the Virtual Cell Challenge 2026 scores 18,533" in done.text
    (path,) = finished_run.glob("out/tiny/targets/want-*/submission.h5ad")
    cells = anndata.read_h5ad(path)
    sizes = cells.obs.groupby(["target_gene", "context"], observed=True).size()
    assert sizes.to_dict() == {("g2", "rpe1"): 400, ("g5", "k562"): 400}
    assert snakemake(finished_run, *OPTIONS, f"overrides={asked}").jobs == []


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("prediction.output=counts", "came as log1p values"),
        ("prediction.amplitude=validation", "no cells are held out for that"),
    ],
)
def test_what_stands_in_the_way_is_said_before_training(
    tmp_path: Path, overrides: str, said: str
) -> None:
    write_tiny_run(tmp_path)
    toml = (tmp_path / "starter.toml").read_text()
    (tmp_path / "starter.toml").write_text(toml.replace('val = ["g1"]\n', ""))
    if "counts" in overrides:
        write_screen(
            tmp_path / "screen.h5ad",
            perturbations=PERTURBATIONS,
            cells_per_group=12,
            values="log1p",
        )
    done = snakemake(tmp_path, "check", *OPTIONS, f"overrides={overrides}", expect=1)
    assert said in done.text
