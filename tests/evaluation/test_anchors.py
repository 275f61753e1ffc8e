"""The two ends of the scale, and where scores of known predictions stand between them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from cell_eval2 import build_generic_baseline
from cell_eval2.anchor import compute_replicate_anchor
from cell_eval2.baseline import build_baseline_prediction, generic_response_profile

from workflow_scripts import anchors as command
from workflow_scripts import evaluate as evaluate_command
from workflow_scripts.cells.results import ALL, Anchors
from workflow_scripts.evaluation.anchors import compute_all, content_digest
from workflow_scripts.evaluation.engine import EvaluationSettings, engine_config
from workflow_scripts.evaluation.populations import open_population
from workflow_scripts.evaluation.scaling import Scale
from workflow_scripts.evaluation.scoring import evaluate

CONTROL = "non-targeting"
OPTIONS = ("metrics", "scores", "effects", "per-perturbation", "genes", "results")
SETTINGS = EvaluationSettings()


def mean_response(screen) -> np.ndarray:
    """Return what the engine predicts of a screen as its mean response."""
    values = screen.values.copy()
    genes = pd.DataFrame(index=list(screen.genes))
    names = {"pert_col": "perturbation", "control": CONTROL}
    for context in screen.obs["context"].unique():
        here = (screen.obs["context"] == context).to_numpy()
        cells = anndata.AnnData(screen.values[here], screen.obs[here].copy(), genes)
        profile = generic_response_profile(cells, **names)
        values[here] = build_baseline_prediction(profile, cells, emit="tile", **names).X
    return values


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("anchors")


@pytest.fixture(scope="module")
def files(screen, folder) -> dict[str, Path]:
    genes = pd.DataFrame(index=list(screen.genes))
    found = {}
    for name, values in {
        "observed": screen.values,
        "model": screen.values,
        "control": screen.effects_removed(),
        "mean_response": mean_response(screen),
    }.items():
        cells = anndata.AnnData(values, screen.obs, genes)
        cells.uns["stateline"] = {"control": CONTROL, "run": "known"}
        found[name] = folder / f"{name}.h5ad"
        cells.write_h5ad(found[name])
    return found


@pytest.fixture(scope="module")
def anchors(files, folder) -> dict[str, Anchors]:
    return compute_all(files["observed"], SETTINGS, folder / "shared", tell=lambda line: None)[0]


@pytest.fixture(scope="module")
def result(files, anchors, folder):
    predictions = {name: path for name, path in files.items() if name != "observed"}
    return evaluate(
        files["observed"],
        predictions,
        SETTINGS,
        anchors=anchors,
        shared=folder / "shared",
        resamples=200,
    )


def test_ends_are_those_of_the_engine_s_own_baseline_and_anchor(files, anchors):
    with open_population(files["observed"]) as observed:
        cells = observed.cells("right")
        config = engine_config(SETTINGS, CONTROL, observed.outside_panel("right"))
    right = anchors["right"]
    baseline = build_generic_baseline(cells, config=config, emit="tile", allow_degenerate=True)
    plain = baseline.agg.filter(baseline.agg["statistic"] == "mean").to_dicts()[0]
    for metric, value in right.mean_response.items():
        assert value == pytest.approx(plain[metric], abs=1e-8)
    _, anchor = compute_replicate_anchor(cells, config=config)
    for row in anchor.to_dicts():
        assert right.replicate[row["metric"]] == pytest.approx(row["replicate"], abs=1e-8)
        assert right.replicate_sd[row["metric"]] == pytest.approx(row["replicate_sd"], abs=1e-8)


def test_mean_response_is_zero_on_every_scale(result):
    scaled = result.scores.scaled["mean_response"]
    assert {"pds_cosine", "expr_mse", "delta_pearson"} <= scaled.keys()
    assert scaled == pytest.approx(dict.fromkeys(scaled, 0.0), abs=1e-6)


def test_what_was_observed_is_a_replicate_or_better_on_every_scale(result):
    scaled = result.scores.scaled["model"]
    assert scaled.keys() == result.scores.scaled["mean_response"].keys()
    assert min(scaled.values()) >= 1.0
    assert result.scores.scaled["control"]["delta_pearson"] < 0.0


def test_table_holds_rows_of_perturbations_contexts_and_all(result, anchors):
    table = result.table
    assert list(table.columns) == [
        *("run", "model", "context", "perturbation", "metric", "raw", "scaled"),
        *("baseline", "ceiling", "ci_low", "ci_high"),
    ]
    assert set(table["run"]) == {"known"}
    chosen = table[(table["model"] == "control") & (table["metric"] == "pds_l1")]
    rows = chosen.set_index(["context", "perturbation"])
    assert len(rows) == 2 * 8 + 2 + 1
    low, high = (getattr(anchors["left"], end)["pds_l1"] for end in ("mean_response", "replicate"))
    one = rows.loc[("left", "G03")]
    assert (one["baseline"], one["ceiling"]) == (low, high)
    assert one["scaled"] == pytest.approx((one["raw"] - low) / (high - low), abs=1e-12)
    assert np.isnan(one["ci_low"])
    left = rows.loc[("left", ALL)]
    of_left = rows.loc["left"].drop(ALL)["raw"]
    assert left["raw"] == pytest.approx(of_left.mean(), abs=1e-12)
    assert of_left.min() <= left["ci_low"] < left["raw"] < left["ci_high"] <= of_left.max()
    whole = rows.loc[(ALL, ALL)]
    both = rows.xs(ALL, level="perturbation").drop(ALL)
    for column in ("raw", "scaled", "baseline", "ceiling"):
        assert whole[column] == pytest.approx(both[column].mean(), abs=1e-12)
    assert whole["ci_low"] == result.scores.intervals["control"]["pds_l1"][0]


def test_difference_below_what_chance_does_to_a_replicate_is_noise(result, anchors):
    compared = result.scores.comparisons["control"]
    for metric, found in compared.items():
        sds = [found.replicate_sd[metric] for found in anchors.values()]
        assert found.noise == (abs(found.difference) < np.mean(sds))
    assert compared["delta_pearson"].noise is False


ANCHORS = Anchors({"up": 0.5, "down": 4.0, "flat": 1.0}, {"up": 0.9, "down": 1.0, "flat": 1.0}, {})


@pytest.mark.parametrize(
    ("metric", "better", "value", "expected"),
    [
        ("up", "higher", 0.7, 0.5),
        ("up", "higher", 0.3, -0.5),
        ("down", "lower", 1.0, 1.0),
        ("down", "lower", 0.0, 4 / 3),
        ("up", "lower", 0.7, None),  # a replicate would be the worse one
        ("flat", "higher", 1.0, None),
        ("up", "neither", 0.7, None),
        ("absent", "higher", 0.7, None),
        ("up", "higher", float("nan"), None),
    ],
)
def test_place_on_the_scale_by_hand(metric, better, value, expected):
    found = Scale.of([ANCHORS], metric, better).place(value)
    assert found == pytest.approx(np.nan if expected is None else expected, abs=1e-12, nan_ok=True)


def test_a_metric_without_a_scale_says_why():
    assert (
        "a replicate (0.9) is no better than the mean response (0.5)"
        in Scale.of([ANCHORS], "up", "lower").unscaled
    )
    refused = replace(ANCHORS, refused=(("mean_response", "absent", "too few cells"),))
    assert Scale.of([refused], "absent", "higher").unscaled == "no mean response: too few cells"
    assert Scale.of([ANCHORS], "up", "higher").unscaled is None


def test_one_perturbation_has_no_mean_response_and_no_ranks(draw_screen, write, tmp_path):
    screen = draw_screen(("G01",), ("left",))
    anchors, _ = compute_all(write("one", screen), SETTINGS, tmp_path, tell=lambda line: None)
    assert not anchors["left"].mean_response
    assert "expr_mse" in anchors["left"].replicate
    assert "pds_l1" not in anchors["left"].replicate
    assert "is its own mean response" in Scale.of([anchors["left"]], "expr_mse", "lower").unscaled


def test_cells_that_cannot_be_halved_refuse_the_replicate_alone(draw_screen, write, tmp_path):
    screen = draw_screen(cells_each=(1,), contexts=("left",))
    anchors, _ = compute_all(write("thin", screen), SETTINGS, tmp_path, tell=lambda line: None)
    assert not anchors["left"].replicate
    assert anchors["left"].mean_response["pds_cosine"] == pytest.approx(0.5)
    assert {end for end, _, _ in anchors["left"].refused} == {"replicate"}


def test_digest_is_of_the_cells_and_not_of_the_run(screen, write):
    def digest(name: str, values: np.ndarray | None = None, run: str = "a") -> str:
        path = write(name, screen, values, uns={"stateline": {"control": CONTROL, "run": run}})
        with open_population(path) as population:
            return content_digest(population)

    changed = screen.values.copy()
    changed[7, 3] += 1e-3
    assert digest("first") == digest("second", run="b") != digest("third", changed)


def test_runs_with_the_same_cells_share_the_work(screen, files, tmp_path, capsys):
    other = tmp_path / "other.h5ad"
    cells = anndata.read_h5ad(files["observed"])
    cells.uns["stateline"]["run"] = "another"
    cells.write_h5ad(other)
    settings = {f"evaluation.{key}": value for key, value in vars(SETTINGS).items()}
    settings["evaluation.extra_metrics"] = list(SETTINGS.extra_metrics)
    settings["prediction.output"] = "log1p"
    stage = tmp_path / "stage.json"
    stage.write_text(json.dumps({"identity": settings, "extent": {}}))

    def compute(observed: Path, out: str) -> str:
        command.anchors(
            [
                *("--settings", str(stage), "--observed", str(observed)),
                *("--out", str(tmp_path / out / "anchors.json")),
                *("--work-dir", str(tmp_path / "shared")),
            ]
        )
        return capsys.readouterr().out

    assert "split halves scored" in compute(files["observed"], "first")
    assert compute(other, "second").startswith("finished before")
    assert (tmp_path / "first/anchors.json").read_bytes() == (
        tmp_path / "second/anchors.json"
    ).read_bytes()

    # What the engine computed of the observed side is there for every scoring, and isn't changed.
    shared = {p: p.read_bytes() for p in (tmp_path / "shared").rglob("*") if p.is_file()}
    assert any("engine" in path.parts for path in shared)
    stage.write_text(
        json.dumps(
            {
                "identity": {
                    **settings,
                    "prediction.baselines": [],
                    "prediction.negative_controls": [],
                    "evaluation.resamples": 0,
                    "evaluation.rival_known": "denoised",
                    "evaluation.rival_unseen": "ridge",
                    "splits.contexts_are": None,
                },
                "extent": {},
            }
        )
    )
    evaluate_command.evaluate(
        [
            *("--settings", str(stage), "--observed", str(other)),
            *("--predictions", str(files["control"])),
            *("--anchors", str(tmp_path / "second/anchors.json")),
            *("--shared-dir", str(tmp_path / "shared"), "--work-dir", str(tmp_path / "done")),
            *(f"--{name}={tmp_path / name}" for name in OPTIONS),
        ]
    )
    scores = json.loads((tmp_path / "scores").read_text())
    assert scores["scaled"]["model"]["delta_pearson"] < 0.0
    assert {path: path.read_bytes() for path in shared} == shared
