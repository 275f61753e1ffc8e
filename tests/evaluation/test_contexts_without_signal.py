"""Scores where a context says nothing: its replicate is as far from the truth as the mean."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workflow_scripts import anchors, evaluate
from workflow_scripts.cells.results import ALL
from workflow_scripts.evaluation.engine import EvaluationSettings

SEED = 8
"""Of cells without an effect whose halves happen to be told apart a little beyond chance."""

FILES = ("metrics", "scores", "effects", "per-perturbation", "genes", "results")


@pytest.fixture
def scored(
    screen, draw_screen, write, tmp_path
) -> tuple[pd.DataFrame, dict[str, dict[str, dict[str, float]]]]:
    """Return metrics.tsv, and the ends of the scale by context, of a screen with one such context.

    The model predicts what was observed.
    """
    noise = np.flatnonzero(screen.obs["context"] == "right")
    controls = draw_screen(("G01",), ("right",), n_controls=len(noise), seed=SEED)
    values = screen.values.copy()
    values[noise] = controls.values[controls.is_control()]
    observed = write("observed", screen, values)
    known = vars(EvaluationSettings())
    settings = {f"evaluation.{key}": value for key, value in known.items()}
    settings |= {"evaluation.extra_metrics": [*known["extra_metrics"]], "evaluation.resamples": 0}
    settings |= {"evaluation.rival_known": "denoised", "evaluation.rival_unseen": "ridge"}
    settings |= {"splits.contexts_are": None}
    settings |= {"evaluation.profile": "pds", "prediction.output": "log1p"}
    settings |= {"prediction.baselines": [], "prediction.negative_controls": []}
    stage = tmp_path / "stage.json"
    stage.write_text(json.dumps({"identity": settings, "extent": {}}))
    inputs = ("--settings", str(stage), "--observed", str(observed))
    ends, shared = str(tmp_path / "ends.json"), str(tmp_path / "shared")
    anchors.anchors([*inputs, "--out", ends, "--work-dir", shared])
    evaluate.evaluate(
        [
            *inputs,
            *("--predictions", str(write("model", screen, values))),
            *("--anchors", ends, "--shared-dir", shared),
            *("--work-dir", str(tmp_path / "finished")),
            *(f"--{name}={tmp_path / name}" for name in FILES),
        ]
    )
    table = pd.read_csv(tmp_path / "metrics", sep="\t")
    return table, json.loads(Path(ends).read_text())["contexts"]


def without_signal(found: dict[str, dict[str, float]]) -> set[str]:
    """Return the metrics whose scale is shorter than what chance does to a replicate."""
    sds, low, high = (found[name] for name in ("replicate_sd", "mean_response", "replicate"))
    return {metric for metric in sds.keys() & low if abs(high[metric] - low[metric]) < sds[metric]}


def test_a_context_without_signal_has_no_scale(scored):
    table, ends = scored
    assert {"pds_cosine", "pds_l1"} <= without_signal(ends["right"])
    assert not without_signal(ends["left"]) & {"pds_cosine", "pds_l1"}
    here = table[table["context"] == "right"]
    assert here.loc[here["metric"].isin(without_signal(ends["right"])), "scaled"].isna().all()
    there = table[(table["context"] == "left") & (table["metric"] == "pds_cosine")]
    assert there["scaled"].notna().all()


def test_numbers_of_a_row_agree_on_where_a_score_stands(scored):
    """0.722 between 0.500 and 0.744 isn't 3.571 of the way."""
    table, ends = scored
    whole = table[(table["context"] == ALL) & table["metric"].isin(without_signal(ends["right"]))]
    whole = whole[~whole["metric"].isin(without_signal(ends["left"]))]
    assert {"pds_cosine", "pds_l1"} <= {*whole["metric"]}
    place = (whole["raw"] - whole["baseline"]) / (whole["ceiling"] - whole["baseline"])
    np.testing.assert_allclose(whole["scaled"], place, atol=0.02)
