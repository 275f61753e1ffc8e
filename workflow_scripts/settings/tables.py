"""A small table, written for a terminal, a page, a spreadsheet or another program."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass

FORMATS = ("text", "markdown", "tsv", "json")


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name in JSON and TSV, and its heading for people."""

    name: str
    heading: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under columns."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]

    def render(self, form: str) -> str:
        """Write the table in one of ``FORMATS``; headings for people, names for programs."""
        names = [column.name for column in self.columns]
        if form == "json":
            records = [dict(zip(names, row, strict=True)) for row in self.rows]
            return json.dumps(records, ensure_ascii=False, indent=1) + "\n"
        if form == "tsv":
            out = io.StringIO()
            csv.writer(out, delimiter="\t", lineterminator="\n").writerows([names, *self.rows])
            return out.getvalue()
        from tabulate import tabulate  # only now: the workflow itself needs the TSV alone

        headings = [column.heading for column in self.columns]
        rows = self.rows
        if form == "markdown":
            rows = tuple(tuple(_cell_of_page(cell) for cell in row) for row in rows)
        style = "github" if form == "markdown" else "simple"
        return tabulate(rows, headings, style, disable_numparse=True) + "\n"


def _cell_of_page(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", "<br>")
