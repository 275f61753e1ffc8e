"""Text tables are read strictly: nothing is dropped, moved or guessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from workflow_scripts.errors import DataError
from workflow_scripts.features.reading import read_entries

ROWS = [["A", "0.5", "-1e-3"], ["B", "2.5", "3"], ["NA", "4", "5.25"]]
MATRIX = np.array([[0.5, -1e-3], [2.5, 3], [4, 5.25]], np.float32)


def table(
    separator: str = ",",
    header: str | None = "gene,d0,d1",
    end: str = "\n",
    after: str = "",
    rows: list[list[str]] = ROWS,
) -> str:
    lines = [separator.join(row) + after for row in rows]
    top = [] if header is None else [header.replace(",", separator)]
    return end.join([*top, *lines, ""])


def read(path: Path, content: str, encoding: str = "utf-8") -> dict[object, object]:
    path.write_bytes(content.encode(encoding))
    return dict(read_entries(path))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.csv", table()),
        ("plain.tsv", table("\t")),
        ("semicolons.csv", table(";")),
        ("tabs.csv", table("\t")),
        ("commas.tsv", table()),
        ("windows.csv", table(end="\r\n")),
        ("old_mac.csv", table(end="\r")),
        ("blank_lines.csv", "\n" + table(end="\n\n")),
        ("mark.csv", "\ufeff" + table()),
        ("blanks.csv", table(", ")),
        ("numbered.csv", table(header=",0,1")),
        ("from_r.csv", table(header='"V1","V2"')),
        ("from_r_numbered.csv", table(header="1,2")),
        ("trailing.csv", table(header="gene,d0,d1,", after=",")),
        ("trailing_lines.csv", table(after=",")),
        ("quoted.csv", table().replace("B,", '"B",').replace("NA,", '"NA",')),
    ],
)
def test_all_usual_ways_to_write_a_table_are_read(tmp_path, name, content):
    entries = read(tmp_path / name, content)
    assert list(entries) == ["A", "B", "NA"]
    np.testing.assert_array_equal(np.stack([*entries.values()]), MATRIX)


def test_names_are_kept_as_they_are(tmp_path):
    names = ["NaN", "null", "1", "007", "A,1", " B", 'C"D', "\u03b2-actin", ""]
    rows = [[f'"{name.replace(chr(34), chr(34) * 2)}"', "1", "2"] for name in names]
    assert list(read(tmp_path / "f.csv", table(rows=rows))) == names


@pytest.mark.parametrize("cell", ["", "NA", "NaN", "#N/A"])
def test_a_cell_without_a_number_is_nan(tmp_path, cell):
    entries = read(tmp_path / "f.csv", table(rows=[["A", cell, "1"], ["B", "2", "3"]]))
    assert np.isnan(entries["A"][0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (table(header=None), r"has no header: its first line is a vector already \(A, 0.5, -1e-3"),
        (table(rows=[["A", "1"], *ROWS]), r"its header has 3 fields, .* another number: A \(2\)"),
        (table(rows=[*ROWS, ["C", "1", "2", "3"]]), r"another number: C \(4\)"),
        # One field more than the header in every line: which one is it?
        (table(after=",9"), r"another number: A \(4\), B \(4\), NA \(4\)"),
        (table(rows=[["A", "one", "2"]]), "the column 'd0' holds 'one', which is no number"),
        (table(rows=[*ROWS, ["C", "1", "True"]]), "the column 'd1' holds 'True'"),
        (table(rows=[["A", "E1", "2"]], header="gene,id,d0"), "the column 'id' holds 'E1'"),
        (table(";", rows=[["A", "0,5", "2"]]), "'0,5', .* numbers have a decimal point"),
        ("gene\nA\nB\n", "its header 'gene' has one column"),
        ("# by me\ngene,d0\nA,1\n", "its header '# by me' has one column"),
        (table("|"), "its header 'gene|d0|d1' has one column"),
        ('gene,d0\n"A,1\nB,2\n', "another number"),
        ("\n\n", "its header '' has one column"),
    ],
)
def test_other_tables_are_refused_with_the_place(tmp_path, content, message):
    with pytest.raises(DataError, match=f"f\\.csv: .*{message}".replace("|", r"\|")):
        read(tmp_path / "f.csv", content)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_other_encodings_are_refused(tmp_path, encoding):
    rows = [["A\u00e9", "1", "2"], *ROWS]
    with pytest.raises(DataError, match=r"not a readable table: .* must be UTF-8"):
        read(tmp_path / "f.csv", table(rows=rows), encoding)


def test_a_header_alone_is_a_table_without_vectors(tmp_path):
    assert read(tmp_path / "f.csv", "gene,d0,d1\n") == {}
