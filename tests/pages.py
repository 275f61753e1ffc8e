"""What stands in the documents, for tests that hold it to the code."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def section(page: str, heading: str) -> str:
    """Return the text under a heading of a page of docs/, up to the next one of its depth."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,2}} |\Z)", text, re.M | re.S)
    assert found, f"{page} has no heading {heading!r}"
    return found[2]


def table(page: str, heading: str) -> list[list[str]]:
    """Return the rows of the tables under a heading, without their heads, cell by cell."""
    lines = [line for line in section(page, heading).split("\n") if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    heads = {at - 1 for at, line in enumerate(lines) if line.startswith("|---")}
    return [
        row for at, row in enumerate(rows) if at not in heads and not lines[at].startswith("|---")
    ]


def quoted(cell: str) -> list[str]:
    """Return what stands between backticks, remarks in parentheses left out."""
    return re.findall(r"`([^`]+)`", re.sub(r"\([^()]*\)", "", cell))
