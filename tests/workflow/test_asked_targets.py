"""Runs that predict what a table asks for, or the cells of another file, through Snakemake."""

from __future__ import annotations

import json
import re
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

from tests.finished_run import OPTIONS, screen_of
from tests.screens import write_screen
from tests.snakemake_runs import snakemake
from tests.tiny_run import PERTURBATIONS, write_tiny_run

pytestmark = pytest.mark.long


def add_vector(folder: Path, name: str) -> None:
    """Give the feature file a vector for a perturbation that no cell of the run has."""
    vectors = torch.load(folder / "features.pt", weights_only=True)
    vectors[name] = torch.ones(5)
    torch.save(vectors, folder / "features.pt")


def contents(run: Path) -> dict[str, bytes]:
    """Return the files of a run itself, but for logs and what tells of their times."""
    parts = ("*.h5ad", "*.html", "*.json", "*.tsv", "*.parquet", "*.yaml", "checkpoints/*.ckpt")
    return {str(path): path.read_bytes() for part in parts for path in run.glob(part)}


def test_listed_targets_are_predicted_and_training_is_left_alone(finished_run: Path) -> None:
    add_vector(finished_run, "g99")
    snakemake(finished_run, *OPTIONS)
    scored = contents(finished_run / "out/tiny")

    (finished_run / "want.csv").write_text("perturbation,context,n_cells\ng99,rpe1,5\ng2,k562,\n")
    genes = anndata.read_h5ad(screen_of(finished_run)).var_names
    (finished_run / "panel.txt").write_text(f"{genes[3]}\n{genes[1]}\n")
    asked = "prediction.targets=want.csv prediction.cells_per_target=7 prediction.genes=panel.txt"
    done = snakemake(finished_run, *OPTIONS, f"overrides={asked}")
    assert {"list_targets", "validate_target_features", "predict", "report"} <= set(done.jobs)
    assert not {"evaluate", "pack_cells"} & set(done.jobs)
    (folder,) = finished_run.glob("out/tiny/targets/want-*")
    assert "finished before" in (folder / "logs/train.log").read_text()

    # Nothing compares baselines with a list; they are predicted where they are asked for.
    baselines = str(folder.relative_to(finished_run) / "baselines")
    asked += " prediction.baselines=[ridge,denoised]"
    snakemake(finished_run, baselines, *OPTIONS, f"overrides={asked}")
    effects = pd.read_parquet(folder / "baselines/effects.parquet")
    pairs = effects[["perturbation", "context", "source"]].drop_duplicates()
    assert sorted(pairs.itertuples(index=False, name=None)) == [
        ("g2", "k562", "ridge on features"),
        ("g99", "rpe1", "ridge on features"),
    ]
    for name in ("predictions", "baselines/ridge"):
        cells = anndata.read_h5ad(folder / f"{name}.h5ad")
        predicted = cells[cells.obs["perturbation"] != "control"]
        sizes = predicted.obs.groupby(["perturbation", "context"], observed=True).size()
        assert sizes.to_dict() == {("g99", "rpe1"): 5, ("g2", "k562"): 7}
        assert list(cells.var_names) == [genes[3], genes[1]]
        notes = predicted.obs.groupby("perturbation", observed=True)["prediction_note"].unique()
        assert all("perturbation not trained on" in note for note in notes["g99"])
        assert not any("not trained on" in note for note in notes["g2"])
    assert "nobody measured what is predicted here" in (folder / "report.html").read_text()
    observed = anndata.read_h5ad(folder / "observed.h5ad")
    assert set(observed.obs["perturbation"]) == {"control"}
    assert snakemake(finished_run, *OPTIONS, f"overrides={asked}").jobs == []

    # One line more: what was asked for is looked at and predicted again, and nothing else.
    (finished_run / "want.csv").write_text("perturbation,context,n_cells\ng99,rpe1,5\ng3,k562,9\n")
    again = snakemake(finished_run, *OPTIONS, f"overrides={asked}")
    assert "predict" in again.jobs
    assert not {"train", "validate_features", "audit_splits"} & set(again.jobs)

    # What was scored lies there as it was, and is what the run is still asked for.
    assert contents(finished_run / "out/tiny") == scored
    assert snakemake(finished_run, *OPTIONS).jobs == []


def test_cells_of_another_file_are_predicted_and_scored(finished_run: Path) -> None:
    write_screen(
        finished_run / "new.h5ad", perturbations=PERTURBATIONS[:5], cells_per_group=9, seed=5
    )
    new = anndata.read_h5ad(finished_run / "new.h5ad")
    new.obs = new.obs.rename(columns={"cell_type": "line"})
    new.obs["line"] = "new_" + new.obs["line"].astype(str)
    new[:, ::-1].copy().write_h5ad(finished_run / "new.h5ad")  # genes in another order
    asked = "prediction.adata=new.h5ad prediction.context_col=line"
    scored = contents(finished_run / "out/tiny")
    done = snakemake(finished_run, *OPTIONS, f"overrides={asked}")
    assert {"pack_cells", "list_targets", "predict", "evaluate", "report"} <= set(done.jobs)

    (run,) = finished_run.glob("out/tiny/targets/new-*")
    predicted, observed = (
        anndata.read_h5ad(run / f"{n}.h5ad") for n in ("predictions", "observed")
    )
    assert list(predicted.var_names) == list(new.var_names) != list(new.var_names[::-1])
    sizes = observed.obs.groupby(["perturbation", "context"], observed=True).size()
    there = new.obs.groupby(["gene", "line"], observed=True).size()
    assert sizes.to_dict() == there.to_dict()
    counts = new[observed.obs["barcode"].to_numpy(), observed.var_names].X
    dense = counts.toarray() if hasattr(counts, "toarray") else np.asarray(counts)
    totals = np.asarray(new[observed.obs["barcode"].to_numpy()].X.sum(axis=1)).ravel()
    np.testing.assert_allclose(
        observed.X.toarray(), np.log1p(dense / totals[:, None] * 1e4), rtol=1e-5
    )
    metrics = pd.read_csv(run / "metrics.tsv", sep="\t").query("perturbation != '(all)'")
    assert set(metrics["context"]) == set(there.index.get_level_values("line"))
    assert "context not trained on" in set(predicted.obs["prediction_note"])
    # What is claimed is that of these cells, and not of the run's test split.
    scores = json.loads((run / "scores.json").read_text())
    assert scores["claims"]["kind"] == "unseen contexts"
    assert scores["claims"]["sentence"] == (
        "Of 8 test pairs of a perturbation and a context: 8 whose context was never trained on."
    )
    assert scores["rivals"] == ["denoised"]
    assert contents(finished_run / "out/tiny") == scored
    report = " ".join((run / "report.html").read_text().split())
    assert "These scores are evidence about: unseen contexts." in report
    assert "Not judged: the denoised effect, the rival for this claim, has no score" in report


def test_training_cells_under_the_name_of_another_context_are_not_scored(
    finished_run: Path,
) -> None:
    new = anndata.read_h5ad(screen_of(finished_run))
    new = new[(new.obs["cell_type"] == "k562").to_numpy()].copy()
    new.obs_names = [f"new-{number}" for number in range(new.n_obs)]
    new.obs = new.obs.astype(str).assign(cell_type="jurkat").astype("category")
    new[:, ::-1].copy().write_h5ad(finished_run / "new.h5ad")
    asked = ("--keep-going", *OPTIONS, "overrides=prediction.adata=new.h5ad")
    done = snakemake(finished_run, *asked, expect=1)
    assert "evaluate" not in done.jobs
    [asked_for] = finished_run.glob("out/tiny/targets/*")
    log = (asked_for / "logs/predict.log").read_text()
    # All 72 but those of which fewer than twenty genes are expressed.
    assert "error: 68 held-out cells are among the training cells under another name: " in log
    assert "(jurkat/g1, test) = " in log

    # Under their own names they are what they are.
    new.obs["cell_type"] = "k562"
    new.write_h5ad(finished_run / "new.h5ad")
    snakemake(finished_run, *asked)
    scores = json.loads((asked_for / "scores.json").read_text())
    assert scores["claims"]["kind"] == "tested on what trained"
    assert len(scores["claims"]["trained_pairs"]) == 6


def test_what_can_not_be_predicted_is_said_before_anything_trains(tmp_path: Path) -> None:
    write_tiny_run(tmp_path)
    (tmp_path / "want.tsv").write_text("perturbation\tcontext\ng98\trpe1\ng2\tK562\n")
    asked = "overrides=prediction.targets=want.tsv prediction.cells_per_target=4"
    done = snakemake(tmp_path, "check", *OPTIONS, asked, expect=1)
    assert "1 of 2 contexts have no control cells in the cells of the run: 'K562'" in done.text
    assert "did you mean `k562`?" in done.text
    (tmp_path / "want.tsv").write_text("perturbation\tcontext\ng98\trpe1\ng2\tk562\n")
    done = snakemake(tmp_path, "check", *OPTIONS, asked, expect=1)
    assert "g98" in done.text
    assert not {"train", "predict"} & set(done.jobs)
    alone = snakemake(
        tmp_path, "check", *OPTIONS, "overrides=prediction.cells_per_target=4", expect=1
    )
    assert "nothing reads it without prediction.targets" in alone.text


def test_another_file_on_another_scale_is_refused(tmp_path: Path) -> None:
    write_tiny_run(tmp_path)
    new = anndata.read_h5ad(write_screen(tmp_path / "new.h5ad", perturbations=PERTURBATIONS[:5]))
    counts = new.X.toarray()
    new.X = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 150).astype(np.float32)
    new.write_h5ad(tmp_path / "new.h5ad")
    asked = "overrides=prediction.adata=new.h5ad"
    done = snakemake(tmp_path, "check", *OPTIONS, asked, expect=1)
    assert re.search(r"screen\.h5ad \(\w+\) to 10000 and \S*new\.h5ad \(\w+\) to 150", done.text)
