"""What the page says of the targets' expression where they were perturbed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from tests.reporting.page_parser import Page
from workflow_scripts.reporting.files import InputPaths
from workflow_scripts.reporting.inputs import read_run
from workflow_scripts.reporting.page import render_report


@pytest.fixture
def said(write_files: Callable[..., InputPaths]) -> Callable[[float], str]:
    """Return a function that gives the page's words on targets that all changed alike."""

    def words(log2_fold_change: float) -> str:
        paths = write_files()
        audit = json.loads(paths.cells_audit.read_text())
        for row in audit["knockdowns"]:
            row["log2_fold_change"] = log2_fold_change
        paths.cells_audit.write_text(json.dumps(audit))
        text = "".join(Page(render_report(read_run(paths))).text.values())
        (sentence,) = re.findall(r"the median one[^\n]*", text)
        return sentence

    return words


def test_targets_of_an_interference_screen_lose_expression(said: Callable[[float], str]) -> None:
    assert "lost 75 %" in said(-2.0)
    assert "less than" not in said(-2.0)
    assert "8 of 8" in said(-0.5)


def test_targets_of_an_activation_screen_lose_no_negative_share(
    said: Callable[[float], str],
) -> None:
    sentence = said(3.2)
    assert "lost" not in sentence
    assert "819 %" in sentence
    assert "less than" not in sentence
    assert "8 of 8" in said(0.2)
