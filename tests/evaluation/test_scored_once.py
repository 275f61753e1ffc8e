"""Runs with the same observed cells score a baseline once, with the values that each would get."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.evaluation.engine import EvaluationSettings
from workflow_scripts.evaluation.scoring import Evaluation, evaluate

SETTINGS = EvaluationSettings(profile="pds")


@pytest.fixture
def files(draw_screen, write) -> dict[str, Path]:
    screen = draw_screen(("G01", "G02", "G03"), ("left", "right"))
    noise = np.random.default_rng(0).normal(0, 0.3, screen.values.shape)
    return {
        "observed": write("observed", screen),
        "first": write("first", screen, np.maximum(screen.values + noise, 0).astype("float32")),
        "second": write("second", screen, screen.one_profile()),
        "control": write("control", screen, screen.effects_removed()),
    }


@pytest.fixture
def score(files, tmp_path) -> Callable[..., tuple[Evaluation, list[str]]]:
    def score(model: str, folder: str | None) -> tuple[Evaluation, list[str]]:
        shared = None if folder is None else tmp_path / folder
        lines: list[str] = []
        result = evaluate(
            files["observed"],
            {"model": files[model], "control": files["control"]},
            SETTINGS,
            derived=["same_cells"],
            shared=shared,
            tell=lines.append,
        )
        return result, [line.partition(":")[0] for line in lines]

    return score


def test_second_run_scores_its_model_alone(score):
    _, lines = score("first", "shared")
    assert lines == [
        *("model in left", "same_cells in left", "control in left"),
        *("model in right", "same_cells in right", "control in right"),
    ]
    shared, lines = score("second", "shared")
    assert lines == [
        *("model in left", "same_cells in left", "model in right", "same_cells in right")
    ]
    alone, _ = score("second", None)
    pd.testing.assert_frame_equal(shared.table, alone.table, check_exact=True)
    assert shared.scores == alone.scores
    assert shared.documents == alone.documents
    again, lines = score("second", "shared")
    assert lines == []
    pd.testing.assert_frame_equal(again.table, alone.table, check_exact=True)


def test_another_baseline_file_is_scored_anew(score, files, draw_screen, write):
    score("first", "shared")
    screen = draw_screen(("G01", "G02", "G03"), ("left", "right"))
    write("control", screen, np.flip(screen.effects_removed(), axis=1).copy())
    changed, lines = score("first", "shared")
    assert lines == ["control in left", "control in right"]
    assert changed.scores == score("first", None)[0].scores
