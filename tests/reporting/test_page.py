"""The page as a file: complete without a script, without a network, whatever the run was."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.reporting.page_parser import Page
from workflow_scripts.reporting.page import SECTIONS

Render = Callable[..., str]


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


def test_policy_allows_no_script_but_the_pages_own(render: Render) -> None:
    (policy,) = re.findall(r'Content-Security-Policy"\s+content="([^"]*)"', render())
    (scripts,) = re.findall(r"script-src ([^;]*)", policy)
    assert scripts.strip()
    assert "unsafe" not in scripts


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


def test_names_and_messages_are_escaped(render: Render) -> None:
    bad = "<script>alert('x')</script>"
    html = render(
        perturbations=(bad, "A&B", "$\\alpha$", "F", "G", "H"),
        contexts=(f"ctx{bad}",),
        config={"name": bad},
        settings={"report.title": bad, "report.top_perturbations": 6},
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
        ({"models": ("model",)}, "verdict", "Not judged: the additive effect, the rival"),
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
