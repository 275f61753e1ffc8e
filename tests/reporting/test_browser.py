"""The page in a real browser: nothing complains, tables sort and search."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reporting.run_files import write_run
from tests.reporting.screen import Screen
from workflow_scripts import compare

CHROMIUM = next(
    filter(
        None,
        map(
            shutil.which, ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
        ),
    ),
    None,
)
SCREENSHOTS = Path(__file__).parents[2] / "screenshots"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium or chrome on the PATH")

# Played inside the page, as a person would: the answers end up in the title.
ACT = """
addEventListener("error", (event) => console.error(event.message));
const table = document.getElementById("per-perturbation");
const column = (n) => Array.from(table.tBodies[0].rows, (row) => row.cells[n].textContent.trim());
const click = (n) => table.tHead.rows[0].cells[n].querySelector("button").click();
const seen = { searchable: document.querySelector(".search").checkVisibility() };
click(4); seen.ascending = column(4);
click(4); seen.descending = column(4);
seen.sort = table.tHead.rows[0].cells[4].getAttribute("aria-sort");
click(0); seen.names = column(0);
const field = document.querySelector("input[data-filters]");
field.value = "gene1"; field.dispatchEvent(new Event("input"));
seen.found = Array.from(table.tBodies[0].rows).filter((row) => row.checkVisibility())
  .map((row) => row.cells[0].textContent.trim());
field.value = "unseen"; field.dispatchEvent(new Event("input"));
seen.kind = document.querySelector(".found").textContent;
field.value = "0."; field.dispatchEvent(new Event("input"));
seen.number = document.querySelector(".found").textContent;
field.value = "gene1"; field.dispatchEvent(new Event("input"));
seen.count = document.querySelector(".found").textContent;
seen.loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
seen.wide = document.documentElement.scrollWidth > innerWidth;
const rows = document.querySelector("table.scores").tBodies[0].rows;
const score = document.querySelector("table.scores").tHead.rows[0].cells[5];
score.querySelector("button").click();
seen.last = rows[rows.length - 1].cells[5].textContent.trim();
document.title = JSON.stringify(seen);
"""


def with_script(html: str, script: str) -> str:
    """Return a page with one more script, which its policy allows."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = html.replace("script-src ", f"script-src 'sha256-{digest}' ")
    return allowed.replace("</body>", f"<script>{script}</script></body>")


def browse(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page without a window, in a profile of its own."""
    assert CHROMIUM is not None
    command = [
        CHROMIUM,
        "--headless",
        # A container's root has no sandbox; the page is our own.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--hide-scrollbars",
        "--enable-logging=stderr",
        f"--user-data-dir={page.parent / 'profile'}",
        *options,
        page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)


def complaints(log: str) -> list[str]:
    """Return what the page wrote to the console."""
    return [line for line in log.splitlines() if "CONSOLE" in line]


def test_page_sorts_searches_and_complains_of_nothing(
    render: Callable[..., str], tmp_path: Path
) -> None:
    page = tmp_path / "acted.html"
    page.write_text(with_script(render(contexts=("a", "b")), ACT))
    browsed = browse(page, "--dump-dom", "--window-size=700,900")
    assert complaints(browsed.stderr) == []
    title = re.search(r"<title>(.*?)</title>", browsed.stdout)
    assert title is not None
    seen = json.loads(title.group(1))
    numbers = [float(text) for text in seen["ascending"]]
    assert len(numbers) == 16
    assert numbers == sorted(numbers)
    assert [float(text) for text in seen["descending"]] == sorted(numbers, reverse=True)
    assert seen["sort"] == "descending"
    assert seen["names"] == sorted(seen["names"])
    assert seen["searchable"]
    assert seen["found"] == ["GENE1", "GENE1"]
    assert seen["count"] == "2 of 16"
    # Words are searched, numbers are not.
    assert (seen["kind"], seen["number"]) == ("16 of 16", "0 of 16")
    assert seen["loaded"] == []
    assert not seen["wide"], "at 700 px the page should not scroll sideways"
    assert seen["last"] == "–", "a missing number sorts last"


def test_an_outside_resource_would_be_noticed(render: Callable[..., str], tmp_path: Path) -> None:
    page = tmp_path / "leaky.html"
    leak = '<img src="http://localhost:9/x.png"></body>'
    page.write_text(render().replace("</body>", leak))
    assert any(
        "Content Security Policy" in line for line in complaints(browse(page, "--dump-dom").stderr)
    )


def test_a_script_that_is_not_the_pages_own_does_not_run(
    render: Callable[..., str], tmp_path: Path
) -> None:
    page = tmp_path / "injected.html"
    script = "<script>document.title = 'injected';</script></body>"
    page.write_text(render().replace("</body>", script))
    browsed = browse(page, "--dump-dom")
    assert "<title>injected" not in browsed.stdout
    assert any("Content Security Policy" in line for line in complaints(browsed.stderr))


def compared_page(folder: Path) -> Path:
    """Write three runs of a grid, and compare them."""
    runs = []
    for place, lr in enumerate((1e-4, 3e-4, 1e-3)):
        name = f"grid_lr-{lr:g}"
        config = {"name": name, "training": {"lr": lr, "train_seed": 42}}
        screen = Screen(config=config, contexts=("a",), n_steps=60 + 20 * place)
        paths = write_run(folder / "files" / name, screen)
        run = folder / name
        run.mkdir()
        for path, as_named in (
            (paths.config, "config.yaml"),
            (paths.scores, "scores.json"),
            (paths.metrics, "metrics.tsv"),
            (paths.training_metrics, "training.csv"),
        ):
            shutil.copy(path, run / as_named)
        (run / "anchors.json").write_text(
            json.dumps({"identity": "cells", "engine": {}, "contexts": {}})
        )
        (run / "report.html").write_text("report")
        runs.append(str(run))
    page = folder / "compare.html"
    compare.compare(["--runs", *runs, "--page", str(page), "--table", str(folder / "compare.tsv")])
    return page


COMPARE = """
const table = document.querySelector("#leaderboard table");
table.tHead.rows[0].cells[0].querySelector("button").click();
const seen = { runs: Array.from(table.tBodies[0].rows, (row) => row.cells[0].textContent.trim()) };
seen.links = Array.from(table.querySelectorAll("a"), (link) => link.getAttribute("href"));
seen.loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
seen.wide = document.documentElement.scrollWidth > innerWidth;
seen.figures = document.querySelectorAll("figure svg").length;
document.title = JSON.stringify(seen);
"""


def test_comparison_sorts_and_complains_of_nothing(tmp_path: Path) -> None:
    page = compared_page(tmp_path)
    acted = page.with_name("acted.html")
    acted.write_text(with_script(page.read_text(), COMPARE))
    browsed = browse(acted, "--dump-dom", "--window-size=700,900")
    assert complaints(browsed.stderr) == []
    title = re.search(r"<title>(.*?)</title>", browsed.stdout)
    assert title is not None
    seen = json.loads(title.group(1))
    runs = [name.split()[0] for name in seen["runs"] if name.startswith("grid")]
    assert runs == ["grid_lr-0.0001", "grid_lr-0.0003", "grid_lr-0.001"]
    assert len(seen["runs"]) == 3 + 4  # runs, and baselines
    assert all((page.parent / link).is_file() for link in seen["links"])
    assert seen["figures"] == 2
    assert seen["loaded"] == []
    assert not seen["wide"]
    SCREENSHOTS.mkdir(exist_ok=True)
    picture = SCREENSHOTS / "compare.png"
    picture.unlink(missing_ok=True)
    browse(page, f"--screenshot={picture}", "--window-size=1200,2200")
    assert picture.stat().st_size > 50_000
