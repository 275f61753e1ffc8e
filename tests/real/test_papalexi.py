"""The whole chain on a real screen: a smoke test of learning, and no evidence of quality.

The held-out perturbations are strong ones, chosen knowing the data: what is asserted is what must
hold for any model that learns at all. A fair comparison draws them at random.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml

from tests.snakemake_runs import ROOT, snakemake
from workflow_scripts.cells.groups import make_groups
from workflow_scripts.cells.store import CellStore

SCREEN = Path(
    os.environ.get(
        "STATELINE_REAL_DATA", ROOT.parent / "shared" / "data" / "papalexi2021_thp1.h5ad"
    )
)
TEST = ["IFNGR1", "STAT1", "IRF1", "SMAD4", "CUL3", "BRD4", "STAT2", "NFKBIA"]
VALIDATION = ["CMTM6", "TNFRSF14", "IRF7", "UBE2L6"]
HELD_OUT_CONTEXT = "rep_3"

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not SCREEN.is_file(),
        reason=f"no real screen at {SCREEN}; STATELINE_REAL_DATA names another",
    ),
]


def write_run(
    folder: Path, test: Sequence[str] = TEST, validation: Sequence[str] = VALIDATION
) -> Path:
    """Write split file and run file for the screen; contexts are its three replicates."""
    toml = folder / "starter.toml"
    toml.write_text(
        f'[datasets]\nthp1 = "{SCREEN}"\n\n[training]\nthp1 = "train"\n\n'
        f'[fewshot."thp1.{HELD_OUT_CONTEXT}"]\nval = {[*validation]}\ntest = {[*test]}\n'
    )
    run = yaml.safe_load((Path(__file__).parent / "papalexi.yaml").read_text())
    run["data"]["kwargs"]["toml_config_path"] = str(toml)
    path = folder / "papalexi.yaml"
    path.write_text(yaml.safe_dump(run, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the finished run."""
    folder = tmp_path_factory.mktemp("papalexi")
    run_file = write_run(folder)
    snakemake(folder, "--resources", "gpu=1", "--config", f"runs={run_file}")
    again = snakemake(folder, "--resources", "gpu=1", "--config", f"runs={run_file}")
    assert "Nothing to be done" in again.text
    return folder / "results" / "papalexi"


def test_frozen_config_is_what_was_asked_for(run):
    frozen = yaml.safe_load((run / "config.yaml").read_text())
    assert frozen["data"]["kwargs"]["cell_type_key"] == "batch_var"
    assert frozen["model"]["kwargs"]["transformer_backbone_key"] == "llama"
    assert frozen["model"]["kwargs"]["hidden_dim"] == 128
    assert frozen["training"]["max_steps"] == 500


def test_no_held_out_cell_is_among_the_training_rows(run):
    (manifest,) = run.parents[1].glob("cache/cells/*/manifest.json")
    store = CellStore.open(manifest)
    splits = pd.read_parquet(run / "splits.parquet")
    groups = make_groups(store.cells, splits, "train", by_batch=False, controls=True)
    trained = set(store.barcodes[np.concatenate([g.rows for g in groups])])
    # Read from the source, not from anything the workflow made.
    obs = anndata.read_h5ad(SCREEN, backed="r").obs
    held_out = obs[
        (obs["batch_var"] == HELD_OUT_CONTEXT) & obs["target_gene"].isin(TEST + VALIDATION)
    ]
    assert len(held_out) > 1000
    assert not trained & set(held_out.index)
    assert len(trained) == len(obs) - len(held_out)


def test_losses_are_finite_and_fall(run):
    with (run / "training.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, 501))
    losses = np.array([float(row["train_loss"]) for row in rows])
    validation = np.array([float(row["val_loss"]) for row in rows if row["val_loss"]])
    assert np.isfinite(losses).all()
    assert np.isfinite(validation).all()
    assert losses[-50:].mean() < 0.8 * losses[:50].mean()
    assert validation[-1] < validation[0]


def test_predictions_keep_gene_names_and_labels(run):
    genes = list(anndata.read_h5ad(SCREEN, backed="r").var_names)
    predicted = anndata.read_h5ad(run / "predictions.h5ad")
    observed = anndata.read_h5ad(run / "observed.h5ad")
    assert list(predicted.var_names) == list(observed.var_names) == genes
    for adata in (predicted, observed):
        assert set(adata.obs["perturbation"]) == {*TEST, "non-targeting"}
        assert set(adata.obs["context"]) == {HELD_OUT_CONTEXT}
    pd.testing.assert_series_equal(
        predicted.obs["perturbation"].value_counts(), observed.obs["perturbation"].value_counts()
    )
    assert np.isfinite(predicted.X.data).all()


def test_observed_cells_are_those_of_the_screen(run):
    observed = anndata.read_h5ad(run / "observed.h5ad")
    source = anndata.read_h5ad(SCREEN)[observed.obs["barcode"]]
    counts = source.X.toarray().astype(np.float64)
    expected = np.log1p(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) * 10_000)
    np.testing.assert_allclose(observed.X.toarray(), expected, rtol=1e-5)


def test_all_eight_perturbations_are_scored_beside_the_baselines(run):
    metrics = pd.read_csv(run / "metrics.tsv", sep="\t").query("perturbation != '(all)'")
    prediction = yaml.safe_load((run / "config.yaml").read_text())["prediction"]
    asked = prediction["baselines"]
    assert set(metrics["model"]) == {"model", *asked, *prediction["negative_controls"]}
    assert {"mean_response", "additive", "denoised", "ridge"} <= set(asked)
    for _, part in metrics.groupby("model"):
        assert set(part.loc[part["metric"] == "pds_l1", "perturbation"]) == set(TEST)
    scores = json.loads((run / "scores.json").read_text())
    measured = set(anndata.read_h5ad(SCREEN, backed="r").var_names)
    assert set(scores["targets_outside_panel"]) == set(TEST) - measured


def test_model_tells_perturbations_apart(run, capsys):
    overall = json.loads((run / "scores.json").read_text())["overall"]
    assert "doubled_variance" in overall
    with capsys.disabled():
        shown = {name: round(values["pds_l1"], 3) for name, values in overall.items()}
        print(f"\npds_l1 (v2) on {HELD_OUT_CONTEXT}: {shown}")
    assert overall["mean_response"]["pds_l1"] == 0.5
    assert overall["model"]["pds_l1"] >= 0.6


def test_report_is_one_page_that_names_the_run(run):
    page = (run / "report.html").read_text()
    assert "papalexi" in page
    assert "simulated" not in page.split("<main", 1)[-1].lower().split("scores", 1)[0]
