"""Raw counts, scored as the competition of 2026 does: beside the engine's own commands."""

from __future__ import annotations

import json

import anndata
import numpy as np
import pandas as pd
import polars as pl
import pytest
from anndata import AnnData
from cell_eval2 import EvalConfig
from cell_eval2.baseline import build_baseline_prediction, generic_response_profile
from cell_eval2.cli import main as cell_eval2_command
from cell_eval2.competition import competition_members
from scipy.sparse import csr_matrix

from workflow_scripts.errors import DataError
from workflow_scripts.evaluation.anchors import compute_all
from workflow_scripts.evaluation.engine import EvaluationSettings
from workflow_scripts.evaluation.scoring import evaluate

CONTROL = "non-targeting"
SETTINGS = EvaluationSettings("vcc2026", "vcc2026", ("pds_cosine",), "counts")
UNS = {"stateline": {"control": CONTROL, "scale": "counts", "run": "r"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with observed counts, and predictions with half of the effects."""
    folder = tmp_path_factory.mktemp("counts")
    draws = np.random.default_rng(0)
    names = [CONTROL, *(f"G{n:02d}" for n in range(12))]
    labels = np.repeat(names, [400, *[150] * 12])
    base = draws.gamma(1.0, 1.0, 80) + 0.3
    effect = {
        name: draws.normal(0, 1.0, 80) * (draws.random(80) < 0.3) * (name != CONTROL)
        for name in names
    }
    obs = pd.DataFrame({"perturbation": labels, "context": "c"})
    obs.index = [f"cell{n}" for n in range(len(obs))]
    genes = pd.DataFrame(index=[f"G{n:02d}" for n in range(80)])
    controls = None
    for name, size in (("observed", 1.0), ("half", 0.5), ("none", 0.0)):
        rates = np.stack([base * np.exp(size * effect[label]) for label in labels])
        counts = draws.poisson(20 * rates).astype(np.float32)
        if controls is not None:
            counts[labels == CONTROL] = controls
        controls = counts[labels == CONTROL]
        AnnData(csr_matrix(counts), obs, genes, uns=UNS).write_h5ad(folder / f"{name}.h5ad")
    return folder


@pytest.fixture(scope="module")
def result(folder):
    ends, _ = compute_all(folder / "observed.h5ad", SETTINGS, folder / "shared", tell=len)
    files = {name: folder / f"{name}.h5ad" for name in ("observed", "half", "none")}
    files["model"] = files.pop("observed")
    return evaluate(
        folder / "observed.h5ad",
        files,
        SETTINGS,
        anchors=ends,
        shared=folder / "shared",
        resamples=0,
        tell=len,
    )


def official(folder, name: str) -> None:
    """Score a file by the engine's own command."""
    command = ["run", "--outdir", str(folder / f"plain_{name}"), "--preset", "vcc2026"]
    command += ["-ap", str(folder / f"{name}.h5ad"), "-ar", str(folder / "observed.h5ad")]
    command += ["--pert-col", "perturbation", "--control", CONTROL, "--set", "de.backend=pdex"]
    cell_eval2_command([*command, "--set", "device=cpu"])


def test_scores_of_counts_equal_the_engines_own_command(folder, result):
    official(folder, "half")
    plain = pl.read_csv(folder / "plain_half" / "results.csv").to_pandas()
    plain = plain.set_index(["perturbation", "metric"])["value"].sort_index()
    ours = result.metrics.query("model == 'half'").set_index(["perturbation", "metric"])["value"]
    assert list(ours.sort_index().index) == list(plain.index)
    np.testing.assert_allclose(ours.sort_index(), plain, rtol=0, atol=1e-8)


def test_competition_score_is_the_engines(folder, result):
    bundle, scored = folder / "bundle", folder / "scored.csv"
    observed = anndata.read_h5ad(folder / "observed.h5ad")
    labels = {"pert_col": "perturbation", "control": CONTROL}
    profile = generic_response_profile(observed, **labels)
    build_baseline_prediction(profile, observed, **labels).write_h5ad(folder / "baseline.h5ad")
    command = ["prep-real-bundle", "--real", str(folder / "observed.h5ad"), "-o", str(bundle)]
    command += ["--baseline", str(folder / "baseline.h5ad")]
    command += ["--preset", "vcc2026", "--pert-col", "perturbation", "--control", CONTROL]
    cell_eval2_command([*command, "--set", "de.backend=pdex", "--set", "device=cpu"])
    official(folder, "half")
    command = ["score", "--real-bundle", str(bundle), "-o", str(scored)]
    cell_eval2_command([*command, "--user-agg", str(folder / "plain_half" / "agg_results.csv")])
    table = pl.read_csv(scored).to_pandas().set_index("metric")["from_replicate"]
    ours = result.scores.competition["half"]["c"]
    assert ours.reason is None
    for metric in competition_members():
        assert ours.members[metric] == pytest.approx(float(table[metric]), abs=1e-6)
    assert ours.score == pytest.approx(float(table["avg_score"]), abs=1e-6)


def test_observed_beats_half_of_the_effects_and_that_beats_none(result):
    score = {name: of["c"].score for name, of in result.scores.competition.items()}
    assert score["model"] > score["half"] > score["none"]
    assert score["model"] > 0.9
    effects = result.effects  # of the model, which predicts what was observed
    np.testing.assert_allclose(effects["observed_effect"], effects["predicted_effect"], atol=1e-6)


def test_effects_of_counts_are_of_log1p_values(folder, result):
    observed = anndata.read_h5ad(folder / "observed.h5ad")
    counts = observed.X.toarray()
    logged = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    labels = observed.obs["perturbation"].astype(str).to_numpy()
    expected = logged[labels == "G03"].mean(axis=0) - logged[labels == CONTROL].mean(axis=0)
    found = result.effects.query("perturbation == 'G03'")["observed_effect"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_scales_that_differ_are_named(folder, tmp_path):
    cells = anndata.read_h5ad(folder / "half.h5ad")
    cells.uns = {"stateline": {"control": CONTROL, "scale": "log1p"}}
    cells.write_h5ad(tmp_path / "log1p.h5ad")
    observed = folder / "observed.h5ad"
    with pytest.raises(DataError, match="values are log1p in the first and counts in the second"):
        evaluate(observed, {"model": tmp_path / "log1p.h5ad"}, SETTINGS, tell=len)
    with pytest.raises(DataError, match=r"its values are counts.*input_type is lognorm"):
        evaluate(observed, {"model": folder / "half.h5ad"}, EvaluationSettings(), tell=len)


def test_a_ratio_of_sums_without_an_observed_effect_is_refused_alone(tmp_path):
    labels = np.repeat([CONTROL, "G01", "G02", "G03"], [60, 30, 30, 30])
    obs = pd.DataFrame({"perturbation": labels, "context": "c"})
    obs.index = [f"cell{n}" for n in range(len(obs))]
    genes = pd.DataFrame(index=[f"G{n:02d}" for n in range(40)])
    # All cells are alike. With these draws, the sum that is divided by is below 0.
    counts = np.random.default_rng(7).poisson(20.0, (150, 40)).astype(np.float32)
    AnnData(csr_matrix(counts), obs, genes, uns=UNS).write_h5ad(tmp_path / "alike.h5ad")
    files = {"model": tmp_path / "alike.h5ad"}
    result = evaluate(tmp_path / "alike.h5ad", files, SETTINGS, resamples=0, tell=len)
    (refusal,) = result.scores.refused
    assert refusal.metric == "expr_mse_unbiased_capped_norm"
    assert "not positive" in refusal.reason
    assert result.scores.overall["model"]["pds_cosine"] == 1.0
    assert result.documents == {"c": None}


def test_other_presets_give_no_competition_score(folder):
    settings = EvaluationSettings("v2", "pds", (), "counts")
    files = {"model": folder / "half.h5ad"}
    scores = evaluate(folder / "observed.h5ad", files, settings, resamples=0, tell=len).scores
    assert scores.competition is None
    assert json.dumps(scores.settings["input_type"]) == '"counts"'
    assert EvalConfig.from_preset("vcc2026").input_type == "counts"
