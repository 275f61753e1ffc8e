"""The page as a file: complete without a script, without a network, whatever the run was."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from workflow_scripts.reporting.page import SCORE_SECTIONS, SECTIONS
from workflow_scripts.reporting.words import how_predicted, in_competition
from workflow_scripts.settings.schema.stages import UNMASKING

Render = Callable[..., str]
VOID = {"meta", "link", "input", "br", "img", "hr", "wbr"}
LOADS = {"src", "href", "xlink:href", "srcset", "data", "poster", "action", "background"}


class Page(HTMLParser):
    """What the tests ask of a page: ids, references, tags, and the text of each section."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[tuple[str, str, str]] = []
        self.values: list[str] = []
        self.tags: list[str] = []
        self.text: dict[str, str] = {}
        self.classes: dict[str, set[str]] = {}
        self.cells: list[list[str]] = []
        self.open: list[str] = []
        self._section = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        named = {name: value or "" for name, value in attrs}
        if tag == "section":
            self._section = named["id"]
            self.text[self._section] = ""
            self.classes[self._section] = set()
        if self._section:
            self.classes[self._section] |= set(named.get("class", "").split())
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th") and self.cells:
            self.cells[-1].append("")
        if "id" in named:
            self.ids.append(named["id"])
        self.references += [(tag, name, value) for name, value in named.items() if name in LOADS]
        self.values += named.values()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        if self._section:
            self.text[self._section] += data
        if self.open and {"td", "th"} & set(self.open):
            self.cells[-1][-1] += data


def rows(page: Page, heading: str) -> list[list[str]]:
    """Return the rows of the tables that begin with a heading, as words."""
    cleaned = [[" ".join(cell.split()) for cell in row] for row in page.cells]
    return [row for row in cleaned if row and row[0].startswith(heading)]


@pytest.mark.parametrize("simulated", [False, True])
def test_page_loads_nothing_from_outside(render: Render, simulated: bool) -> None:
    html = render(simulated=simulated, contexts=("a", "b"))
    page = Page(html)
    assert not page.open
    assert all(value.startswith("#") or value == "data:," for _, _, value in page.references), (
        page.references
    )
    assert all(url.startswith("#") for url in re.findall(r"url\(([^)]*)\)", html))
    assert "@import" not in html
    assert not {"img", "iframe", "object", "embed"} & set(page.tags)
    assert page.tags.count("script") == 1
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg\")", html)


def test_ids_are_unique_and_every_local_reference_leads_somewhere(render: Render) -> None:
    html = render(contexts=("a", "b"))
    page = Page(html)
    assert len(page.ids) == len(set(page.ids))
    wanted = {value[1:] for _, _, value in page.references if value.startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]*)\)", html))
    assert wanted <= set(page.ids)


def test_every_section_is_there_in_order(render: Render) -> None:
    page = Page(render())
    assert list(page.text) == list(SECTIONS)
    assert all(len(text.split()) > 3 for text in page.text.values())


def test_baselines_stand_beside_the_model(render: Render) -> None:
    page = Page(render())
    heading = rows(page, "Metric")[0]
    assert heading == ["Metric", "Model", "Mean response", "Perturbation mean effect", "Control"]
    discrimination = rows(page, "Discrimination, cosine")[0]
    assert discrimination[2].startswith("0.500")
    assert "★" in discrimination[1]
    assert "for the mean response (won)" in " ".join(page.text["verdict"].split())


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


def test_names_and_messages_are_escaped(render: Render) -> None:
    bad = "<script>alert('x')</script>"
    html = render(
        perturbations=(bad, "A&B", "$\\alpha$", "F", "G", "H"),
        contexts=(f"ctx{bad}",),
        config={"name": bad},
        settings={"report.title": bad, "report.top_perturbations": 3},
        provenance={"overrides": [bad], "run_file": bad},
        targets_outside_panel=(bad,),
        findings=({"severity": "warning", "code": bad, "message": bad},),
        refused=({"model": None, "context": None, "metric": "lfc_nmae", "reason": bad},),
    )
    page = Page(html)
    assert page.tags.count("script") == 1
    assert bad not in html
    for section in (*SECTIONS.keys() - {"verdict", "training"}, "config", "provenance"):
        assert bad in page.text[section], section
    assert "$\\alpha$" in page.text["effects"]


def test_scores_have_intervals_and_differences_their_tests(render: Render) -> None:
    page = Page(render())
    assert re.search(
        r"★ best 0\.\d{3}0\.\d{3} – 0\.\d{3}0\.\d{3} of 1$",
        rows(page, "Discrimination, cosine")[0][1],
    )
    assert "when perturbations are drawn anew within their context (200 times)" in " ".join(
        page.text["scores"].split()
    )
    (against,) = [
        row for row in rows(page, "Discrimination, cosine ↑ higher is better") if "Control" in row
    ]
    assert re.fullmatch(r"\+0\.\d{3}\+0\.\d{3} – \+0\.\d{3}", against[2])
    assert int(against[3]) == 8
    assert 0 < float(against[4]) < 0.05


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
    assert rows(page, "DE gene recall")[0][1:] == ["refused2"] * 4
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


def test_what_the_run_changed_stands_with_its_sources(render: Render) -> None:
    page = Page(render())
    assert rows(page, "model") == [
        ["model", "state_smconfig/runs/demo.yaml:5", "pertsetsconfig/config.yaml:6"]
    ]
    assert rows(page, "training.lr")[0][1].startswith("0.001override 'lr=1e-3'")
    assert not rows(page, "training.batch_size")


def test_starts_of_a_training_say_how_each_ended(render: Render) -> None:
    killed = {"to_step": None, "seconds": None, "ended": None}
    gpu = {"device": "NVIDIA H200", "processes": 2, "cuda": "13.0"}
    page = Page(
        render(
            starts=(
                {**gpu, **killed},
                {**gpu, "from_step": 20, "repeats": 7, "ended": "stopped", "to_step": 40},
                {**gpu, "from_step": 40},
            )
        )
    )
    told = [row[1:] for row in rows(page, "2026-01-")]
    where = "2 × NVIDIA H200 (node7)"
    assert told == [
        ["0 → ?", where, "was killed"],
        [
            "20 → 40, 7 steps of them for the second time",
            where,
            "was asked to stop, and kept its state",
        ],
        ["40 → 60", where, "reached its last step"],
    ]
    assert "Starts: 3" in page.text["training"]
    # Twice 90 seconds on two devices; how long the first one took is not known.
    cost = " ".join(page.text["provenance"].split())
    assert "3.9 h of CPU time" in cost
    assert "at least 6.0 min of GPU training over all starts" in cost
    assert "CUDA 13.0" in cost


def test_a_start_that_may_still_run_is_not_called_killed(render: Render) -> None:
    page = Page(render(starts=({"to_step": None, "seconds": None, "ended": None},)))
    assert rows(page, "2026-01-")[0][-1] == "has left no word of its end"
    assert "One start" in page.text["training"]


def test_costs_of_the_rules_come_longest_first(render: Render) -> None:
    page = Page(render())
    assert [rows(page, rule)[-1] for rule in ("train", "preflight")] == [
        ["train", "2.1 h", "3.9 h", "1.1 GB"],
        ["preflight", "0.2 s", "–", "–"],
    ]


def test_findings_come_errors_first(render: Render) -> None:
    entries = tuple(
        {"severity": severity, "code": severity, "message": f"about a {severity}"}
        for severity in ("note", "warning", "error")
    )
    text = Page(render(findings=entries)).text["findings"]
    places = [text.index(f"about a {severity}") for severity in ("error", "warning", "note")]
    assert places == sorted(places)
    assert text.count("Nothing to report.") == 3


def test_only_the_strongest_effects_get_a_plot(render: Render) -> None:
    html = render(settings={"report.top_perturbations": 2})
    assert "2 strongest of 8 observed effects" in html
    assert [i for i in range(8) if f'"effect-{i}-' in html] == [0, 1]


def test_the_same_run_gives_the_same_bytes(render: Render) -> None:
    assert render() == render()


@pytest.mark.parametrize(
    ("changes", "section", "words"),
    [
        ({"perturbations": ("STAT1",)}, "verdict", "Too few perturbations to judge"),
        ({"perturbations": ("STAT1",)}, "effects", "The only perturbation"),
        ({"validates": False}, "training", "No validation was logged."),
        ({}, "training", "Highest discrimination, L1 in validation"),
        ({}, "training", "so they are no test"),
        ({"n_steps": 1}, "training", "Last logged step"),
        ({"n_steps": 0}, "training", "there is no curve"),
        ({"scored": False}, "verdict", "The evaluation was refused or scored nothing."),
        ({"scored": False}, "scores", "Nothing was scored."),
        ({"scored": False}, "perturbations", "No perturbation was scored."),
        ({"has_effects": False}, "effects", "There are no effects of the model to show."),
        ({"models": ("model",)}, "verdict", "No baseline was scored"),
        ({"models": ("control",)}, "verdict", "No verdict"),
        ({"n_genes": 1}, "effects", "slope –"),
        ({"n_genes": 1200}, "effects", "200 of 1,200 genes lie inside the shaded square."),
        ({"config": {"data": None, "model": {}}}, "config", "Steps"),
        ({"provenance": {"git_commit": None, "git_dirty": None}}, "config", "No git commit"),
        ({"provenance": {"run_file": None}}, "config", "runs=results/short/config.yaml"),
    ],
)
def test_empty_and_tiny_runs_are_said_in_words(
    render: Render, changes: dict[str, object], section: str, words: str
) -> None:
    page = Page(render(**changes))
    assert list(page.text) == list(SECTIONS)
    assert words in " ".join(page.text[section].split())


def test_an_evaluation_that_refused_everything_says_why(render: Render) -> None:
    refusal = {"model": None, "context": None, "metric": None, "reason": "no measured target"}
    page = Page(render(scored=False, has_effects=False, refused=(refusal,)))
    assert "Why: no measured target." in " ".join(page.text["verdict"].split())
    assert "no measured target" in page.text["scores"]


def test_every_score_stands_beside_what_the_split_allows_to_be_claimed(render: Render) -> None:
    text = Page(render()).text
    for section in SCORE_SECTIONS:
        assert "known perturbations in known contexts" in text[section], section


def unmasked(*, matches: bool | None, difference: float = 0.2) -> dict[str, Any]:
    pair = {"difference": difference, "p_holm": 0.01, "matches": matches}
    return {way: {"pds_cosine": pair, "expr_mse": pair} for way in UNMASKING}


def test_run_that_is_matched_by_what_knows_nothing_is_marked(render: Render) -> None:
    page = Page(render(unmasking=unmasked(matches=True)))
    text = " ".join(page.text["verdict"].split())
    for sentence in (
        "With the features of other perturbations the model is not measurably worse",
        "With random features the model is not measurably worse",
        "The same predicted cells for all perturbations are not measurably worse",
        "Twice the variance between predicted cells is not measurably worse on any metric",
    ):
        assert sentence in text
    assert page.text["scores"].count("no better") > len(UNMASKING)


@pytest.mark.parametrize(
    ("matches", "words"), [(False, "better"), (None, "too few perturbations to tell")]
)
def test_run_that_is_not_matched_has_no_mark(
    render: Render, matches: bool | None, words: str
) -> None:
    page = Page(render(unmasking=unmasked(matches=matches)))
    assert "UNMASKED" not in " ".join(page.text["verdict"].split())
    assert sum(row[-1].strip() == words for row in page.cells if row) == len(UNMASKING)


def test_variance_that_no_metric_sees_is_not_called(render: Render) -> None:
    page = Page(render(unmasking=unmasked(matches=True, difference=0.0)))
    assert "Twice the variance between predicted cells is" not in " ".join(
        page.text["verdict"].split()
    )


def test_what_was_made_of_the_models_output_is_said() -> None:
    plain = {"scale": "log1p", "amplitude": 1.0, "controls": "observed"}
    assert how_predicted(plain) == ""
    counts = {"scale": "counts", "count_distribution": "negative_binomial", "denoised": False}
    said = how_predicted({**plain, **counts, "amplitude": 1.234567, "controls": "predicted"})
    assert "multiplied by 1.23 (prediction.amplitude)" in said
    assert "each cell's profile (negative binomial)" in said
    assert "controls that the model predicted itself" in said


def test_score_of_a_competition_is_said() -> None:
    assert in_competition(None) == ""
    of_context = {"score": 0.25, "members": {}, "reason": None}
    assert "gets 0.375" in in_competition(
        {"model": {"a": of_context, "b": {**of_context, "score": 0.5}}}
    )
    none = {"score": None, "members": {}, "reason": "pds_cosine: replicate missing"}
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
