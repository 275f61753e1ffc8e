"""A mean is one number wherever it is shown: within a context first, then over contexts."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from tests.reporting import run_files
from workflow_scripts.reporting.files import InputPaths
from workflow_scripts.reporting.inputs import read_run
from workflow_scripts.reporting.page import render_report

METRIC = "pds_cosine"


def mean_drawn(html: str, values: pd.Series) -> float:
    """Return where the bar of the model's dots stands, on the scale of the dots."""
    svg = next(one for one in re.findall(r"<svg.*?</svg>", html, re.S) if "iscrimination" in one)
    dots, bar = [], None
    for group in ElementTree.fromstring(svg).iter():
        style = group.get("style", "")
        if "fill-opacity" in style:
            dots += [float(use.get("x", "nan")) for use in group if use.tag.endswith("use")]
        if "stroke-width: 2.2" in style:
            bar = float(group.get("d", "").split()[1])
    assert len(dots) == len(values)
    assert bar is not None
    return float(np.interp(bar, [min(dots), max(dots)], [values.min(), values.max()]))


def test_bar_of_a_figure_is_the_score_where_contexts_differ_in_size(
    write_files: Callable[..., InputPaths], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run_files.metrics_of

    def uneven(screen: object) -> pd.DataFrame:
        metrics = plain(screen)
        return metrics[(metrics["context"] == "a") | (metrics["perturbation"] == "GENE0")]

    monkeypatch.setattr(run_files, "metrics_of", uneven)
    paths = write_files(contexts=("a", "b"), models=("model",))
    metrics = pd.read_csv(paths.metrics, sep="\t")
    values = metrics[metrics["metric"] == METRIC].set_index("context")["raw"]
    by_context = values.groupby("context").mean()
    assert abs(by_context.mean() - values.mean()) > 0.01
    html = render_report(read_run(paths))
    assert mean_drawn(html, values) == pytest.approx(by_context.mean(), abs=2e-3)
