"""What the page says of scores, and how sure they are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.reporting.page_parser import Page, rows
from workflow_scripts.cells.results import CompetitionScore
from workflow_scripts.reporting.files import InputPaths
from workflow_scripts.reporting.inputs import read_run
from workflow_scripts.reporting.page import SCORE_SECTIONS, render_report
from workflow_scripts.reporting.words import how_predicted, in_competition
from workflow_scripts.settings.choices import NEGATIVE_CONTROLS

Render = Callable[..., str]


def test_baselines_stand_beside_the_model(render: Render) -> None:
    page = Page(render())
    heading = rows(page, "Metric")[0]
    assert heading[:4] == ["Metric", "Model", "Mean response", "Perturbation mean effect"]
    assert heading[4:] == ["Additive effect", "Control"]
    discrimination = rows(page, "Discrimination, cosine")[0]
    assert discrimination[2].startswith("0.500")
    assert "★" in discrimination[1]
    verdict = " ".join(page.text["verdict"].split())
    assert re.search(r"for the mean response, 0\.\d{3} for the perturbation mean effect, ", verdict)
    assert "for the additive effect, its rival (won), 0.500 for the control." in verdict


def test_rival_that_the_run_lacks_is_said_and_nothing_else_takes_its_place(render: Render) -> None:
    verdict = " ".join(Page(render(rivals=("ridge",))).text["verdict"].split())
    assert "Not judged: the ridge on features, the rival for this claim, has no score" in verdict
    assert "its rival (" not in verdict
    assert "✓ won" not in verdict


def test_an_unknown_baseline_and_metric_are_shown_under_their_own_names(render: Render) -> None:
    page = Page(render(models=("model", "nearest_neighbour")))
    assert rows(page, "Metric")[0] == ["Metric", "Model", "Nearest neighbour"]


@pytest.mark.parametrize("simulated", [False, True])
@pytest.mark.parametrize("stand_in", [False, True])
def test_every_scored_section_carries_the_badges_that_apply(
    render: Render, simulated: bool, stand_in: bool
) -> None:
    page = Page(render(simulated=simulated, stand_in=stand_in))
    for section in SCORE_SECTIONS:
        assert ("SIMULATED DATA" in page.text[section]) is simulated
        assert ("STAND-IN FEATURES" in page.text[section]) is stand_in
    assert "badge" not in page.classes["inputs"]


def test_scores_and_differences_have_intervals(render: Render) -> None:
    page = Page(render())
    assert re.search(
        r"★ best 0\.\d{3}0\.\d{3} – 0\.\d{3}0\.\d{3} of 1$",
        rows(page, "Discrimination, cosine")[0][1],
    )
    text = " ".join(page.text["scores"].split())
    assert "perturbations are drawn anew (200 times), each with its values in all contexts" in text
    assert "Holm" not in text
    (against,) = [
        row for row in rows(page, "Discrimination, cosine ↑ higher is better") if "Control" in row
    ]
    assert re.fullmatch(r"\+0\.\d{3}\+0\.\d{3} – \+0\.\d{3}", against[2])
    assert int(against[3]) == 8


@pytest.mark.parametrize(
    ("place", "words", "verdict"),
    [(2.0, "2.000 of 1", "it stands at 2.000 ("), (3.571, "off scale", "it is off scale.")],
)
def test_a_score_far_from_both_ends_is_off_scale(
    write_files: Callable[..., InputPaths], place: float, words: str, verdict: str
) -> None:
    paths = write_files()
    scores = json.loads(paths.scores.read_text())
    scores["scaled"]["model"] = {"pds_cosine": place, "expr_mse": -1.1}
    paths.scores.write_text(json.dumps(scores))
    page = Page(render_report(read_run(paths)))
    assert rows(page, "Discrimination, cosine")[0][1].endswith(words)
    assert rows(page, "Expression error, squared")[0][1].endswith("off scale")
    assert verdict in " ".join(page.text["verdict"].split())


def test_contexts_get_tables_of_their_own_only_when_there_are_several(render: Render) -> None:
    assert [row[1] for row in rows(Page(render()), "Metric")].count("Model") == 1
    page = Page(render(contexts=("a", "b", "c")))
    assert [row[1] for row in rows(page, "Metric")].count("Model") == 4
    assert "3 contexts, 24 scored perturbations" in page.text["scores"]


def test_a_refused_metric_is_shown_as_refused_with_its_reason(render: Render) -> None:
    refusal = {"context": "rep_3", "reason": "no predicted effect varies"}
    page = Page(
        render(
            refused=(
                {"model": "control", "metric": "delta_pearson", **refusal},
                {"model": None, "metric": "de_wilcoxon_sig_recall", **refusal, "reason": "too few"},
            )
        )
    )
    assert rows(page, "Effect correlation")[0][-1] == "refused1"
    assert rows(page, "DE gene recall")[0][1:] == ["refused2"] * 5
    assert "rep_3: no predicted effect varies" in page.text["scores"]


def test_what_predictions_rest_on_stands_beside_the_baseline(render: Render) -> None:
    names = [f"nearest trained on: G{number}" for number in range(5)]
    found = {
        "ridge": {"features predict nothing": 8},
        "nearest_neighbour": {**dict.fromkeys(names, 1), "trained on": 3},
    }
    models = ("model", "ridge", "nearest_neighbour")
    text = " ".join(Page(render(models=models, notes=found)).text["scores"].split())
    assert "8 of 8: features predict nothing" in text
    assert f"3 of 8: trained on1 of 8: {names[0]}1 of 8: {names[1]}3 other remarks" in text
    assert names[2] not in text


def test_per_perturbation_table_is_complete_without_the_script(render: Render) -> None:
    page = Page(render(contexts=("a", "b")))
    shown = [row for row in rows(page, "GENE") if len(row) > 5]
    assert [(row[1], row[0]) for row in shown] == [
        (context, f"GENE{i}") for context in ("a", "b") for i in range(8)
    ]
    headings = next(row for row in rows(page, "Perturbation") if row[1:2] == ["Context"])
    assert headings[2:4] == ["Training had seen", "Looks like"]
    assert headings[-4:-1] == ["Its own place", "Cells", "Distance to training"]
    assert headings[-1] == "Observed effect size"
    # Nobody counted them, so there is no column of dashes.
    assert "DE genes" not in headings
    assert shown[0][3] == "itself"
    assert shown[3][3] == "GENE0"
    assert shown[3][-4:-1] == ["4", "43", "0.250"]


def test_verdict_warns_of_what_weakens_it(render: Render) -> None:
    plain = " ".join(Page(render()).text["verdict"].split())
    assert "▲" not in plain
    warning = {"severity": "warning", "code": "c", "message": "m"}
    page = Page(render(collapse_index=0.02, findings=(warning, warning), unseen_context=True))
    told = " ".join(page.text["verdict"].split())
    assert "▲ In rep_3 the predictions are nearly one profile for all perturbations" in told
    assert "by 0.020 of what the observed effects do" in told
    assert "▲ Controls of the contexts that were held out trained with the others" in told
    assert "▲ The inputs gave cause for 2 warnings: see Findings." in told


def test_an_evaluation_that_refused_everything_says_why(render: Render) -> None:
    refusal = {"model": None, "context": None, "metric": None, "reason": "no measured target"}
    page = Page(render(scored=False, has_effects=False, refused=(refusal,)))
    assert "Why: no measured target." in " ".join(page.text["verdict"].split())
    assert "no measured target" in page.text["scores"]


def test_every_score_stands_beside_what_it_can_be_evidence_of(render: Render) -> None:
    text = Page(render()).text
    for section in SCORE_SECTIONS:
        assert "known perturbations in known contexts" in text[section], section
        assert "what was held out" not in text[section], section


def controls(*, matches: bool | None, difference: float = 0.2) -> dict[str, Any]:
    pair = {"difference": difference, "low": None, "high": None, "n": 8, "matches": matches}
    return {way: {"pds_cosine": pair, "expr_mse": pair} for way in NEGATIVE_CONTROLS}


def test_run_that_is_matched_by_what_knows_nothing_is_marked(render: Render) -> None:
    page = Page(render(negative_controls=controls(matches=True)))
    text = " ".join(page.text["verdict"].split())
    for sentence in (
        "With the features of other perturbations the model is not measurably worse",
        "With random features the model is not measurably worse",
        "The same predicted cells for all perturbations are not measurably worse",
        "Twice the variance between predicted cells is not measurably worse on any metric",
    ):
        assert sentence in text
    assert page.text["scores"].count("no better") > len(NEGATIVE_CONTROLS)


@pytest.mark.parametrize(
    ("matches", "words"), [(False, "better"), (None, "too few perturbations to tell")]
)
def test_run_that_is_not_matched_has_no_mark(
    render: Render, matches: bool | None, words: str
) -> None:
    page = Page(render(negative_controls=controls(matches=matches)))
    assert "NEGATIVE CONTROL" not in " ".join(page.text["verdict"].split())
    assert sum(row[-1].strip() == words for row in page.cells if row) == len(NEGATIVE_CONTROLS)


def test_variance_that_no_metric_sees_is_not_called(render: Render) -> None:
    page = Page(render(negative_controls=controls(matches=True, difference=0.0)))
    assert "Twice the variance between predicted cells is" not in " ".join(
        page.text["verdict"].split()
    )


def test_what_was_made_of_the_models_output_is_said() -> None:
    plain = {"scale": "log1p", "amplitude": 1.0, "controls": "observed"}
    assert how_predicted(plain) == ""
    counts = {**plain, "scale": "counts", "amplitude": 1.234567, "controls": "predicted"}
    said = how_predicted(counts)
    assert "multiplied by 1.23 (prediction.amplitude)" in said
    assert "integer counts with the library sizes of the controls" in said
    assert "controls that the model predicted itself" in said


def test_score_of_a_competition_is_said() -> None:
    assert in_competition(None) == ""
    of_context = CompetitionScore(0.25, {})
    assert "gets 0.375" in in_competition(
        {"model": {"a": of_context, "b": CompetitionScore(0.5, {})}}
    )
    none = CompetitionScore(None, {}, "pds_cosine: replicate missing")
    assert "no score in b: pds_cosine: replicate missing." in in_competition(
        {"model": {"a": of_context, "b": none}}
    )


def test_kinds_of_perturbations_are_scored_apart(render: Render) -> None:
    assert "For which perturbations" not in render()
    parts = [
        {"range": "1 to 2", "n": 3, "scores": {"model": {"pds_cosine": 0.25}}},
        {
            "range": "4 to 8",
            "n": 5,
            "scores": {"model": {"pds_cosine": 0.75}, "control": {"pds_cosine": 0.5}},
        },
    ]
    page = Page(render(strata={"n_cells": parts}))
    first, second = rows(page, "Observed cells")
    assert first[1:4] == ["1 to 2", "3", "0.250"]
    assert second[1:4] == ["4 to 8", "5", "★ best 0.750"]


def test_perturbations_whose_genes_the_scorer_keeps_are_named(render: Render) -> None:
    text = " ".join(Page(render(targets_outside_panel=("ABSENT", "G2+G3"))).text["scores"].split())
    assert "It finds none for 2 perturbations" in text
    assert "several genes were perturbed: ABSENT, G2+G3." in text
    assert "It finds none" not in Page(render()).text["scores"]
