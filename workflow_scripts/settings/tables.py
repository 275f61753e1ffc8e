"""A small table, written for a terminal, a page, a spreadsheet or another program."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FORMATS = ("text", "markdown", "tsv", "json")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text, under the heading of each column by its name in JSON and TSV."""

    headings: Mapping[str, str]
    rows: Sequence[Sequence[str]]

    def render(self, form: str) -> str:
        """Write the table in one of ``FORMATS``; headings for people, names for programs."""
        if form == "json":
            records = [dict(zip(self.headings, row, strict=True)) for row in self.rows]
            return json.dumps(records, ensure_ascii=False, indent=1) + "\n"
        if form == "tsv":
            out = io.StringIO()
            rows = [[*self.headings], *self.rows]
            csv.writer(out, delimiter="\t", lineterminator="\n").writerows(rows)
            return out.getvalue()
        from tabulate import tabulate  # only now: the workflow itself needs the TSV alone

        rows, style = [*self.rows], "simple"
        if form == "markdown":
            style = "github"
            rows = [[c.replace("|", "\\|").replace("\n", "<br>") for c in row] for row in rows]
        return tabulate(rows, [*self.headings.values()], style, disable_numparse=True) + "\n"
