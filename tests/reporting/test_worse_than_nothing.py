"""Predictions that are worse than none: the top of the report says so, with numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from tests.reporting import run_files
from tests.reporting.page_parser import Page
from workflow_scripts import evaluate, report

N_DEAD = 7
"""Genes that are predicted as exactly 0 in every cell."""


def sentences(page: Page) -> list[str]:
    """Return the sentences of the first section."""
    text = " ".join(page.text["verdict"].split())
    return re.split(r"(?<=[.;]) ", text)


@pytest.fixture
def spoiled(finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    """Return the report of a run whose predictions are three times too high, and miss genes."""
    monkeypatch.chdir(finished_run / "out/tiny")
    adata = anndata.read_h5ad("predictions.h5ad")
    values = adata.to_df().to_numpy(copy=True)
    perturbed = ~adata.obs.eq("control").any(axis=1).to_numpy()
    values[perturbed] = 3.0 * values[perturbed] + 0.5
    dead = np.argsort(-values.mean(axis=0))[:N_DEAD]
    values[np.ix_(perturbed, dead)] = 0.0
    assert (values[perturbed].max(axis=0) == 0).sum() == N_DEAD
    anndata.AnnData(values, adata.obs, adata.var, uns=adata.uns).write_h5ad("spoiled.h5ad")
    scored = ("metrics", "scores", "effects", "per-perturbation", "genes", "results")
    evaluate.evaluate(
        [
            *("--settings", "stages/evaluate.json", "--observed", "observed.h5ad"),
            *("--predictions", "spoiled.h5ad", "--baselines", "baselines"),
            *("--negative-controls", "negative_controls", "--splits", "splits.parquet"),
            *("--features", "features.safetensors", "--anchors", "anchors.json"),
            *("--shared-dir", str(finished_run / "cache/anchors"), "--work-dir", "new"),
            *(f"--{name}=new-{name}" for name in scored),
        ]
    )
    (cells_audit,) = (finished_run / "cache/cells").glob("*/cells_audit.json")
    report.report(
        [
            *("--settings", "stages/report.json", "--config", "config.yaml"),
            *("--trace", "config.trace.tsv", "--provenance", "provenance.json"),
            *("--cells-audit", str(cells_audit), "--splits-audit", "splits_audit.json"),
            *("--features-audit", "features_audit.json", "--preflight", "preflight.json"),
            *("--training-metrics", "training.csv", "--starts", "starts.json"),
            *("--metrics", "new-metrics", "--scores", "new-scores", "--effects", "new-effects"),
            *("--metrics-per-perturbation", "new-per-perturbation", "--out", "new.html"),
        ]
    )
    return Page(Path("new.html").read_text())


def test_expressed_genes_that_are_predicted_as_zero_are_counted(spoiled):
    found = [one for one in sentences(spoiled) if re.search(rf"\b{N_DEAD}\b", one)]
    assert any("gene" in one and re.search(r"\b(0|zero)\b", one) for one in found)


def test_an_error_beyond_that_of_the_control_is_told_with_its_size(spoiled):
    assert any(
        "error" in one and ("control" in one or "nothing" in one) and re.search(r"\d", one)
        for one in sentences(spoiled)
    )


def test_significant_genes_where_none_were_observed_are_counted(
    render: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run_files.metrics_of

    def altered(screen: object) -> pd.DataFrame:
        metrics = plain(screen)
        for metric, value in (("pred", 479.0), ("real", 0.0)):
            chosen = metrics["metric"] == f"de_wilcoxon_nsig_counts_{metric}"
            metrics.loc[chosen & (metrics["model"] == "model"), "value"] = value
        return metrics

    monkeypatch.setattr(run_files, "metrics_of", altered)
    assert any("479" in one and "gene" in one for one in sentences(Page(render())))
