"""Read names and vectors from a text table, strictly: no value is dropped, moved or guessed."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from workflow_scripts.errors import DataError
from workflow_scripts.features.table_files import Entry
from workflow_scripts.settings.findings import listing

_SEPARATORS = (",", ";", "\t")
_BLOCK = 1 << 24
"""Bytes that are read at once. A line must fit; one of 5,120 numbers has about 100,000."""
_NO_NUMBER = re.compile(r"In CSV column #(\d+): .*invalid value '(.*)'", re.DOTALL)


@dataclass(frozen=True)
class _Opening:
    """How a table begins.

    Attributes
    ----------
    separator
        What stands between its values.
    labels
        Of its columns, one for the names too.
    n_lines
        Lines before the first vector.
    """

    separator: str
    labels: tuple[str, ...]
    n_lines: int


def read_text_table(path: Path, separator: str) -> list[Entry]:
    """Read a table with a header: names in the first column, numbers in the others.

    A name such as ``NA`` stays a name, an empty cell is NaN. The header may have a field less than
    the lines below it, as R writes it, and all lines a separator at their end.

    Parameters
    ----------
    path
        The file, in UTF-8.
    separator
        What stands between values, unless the header has none of it, but another usual one.

    Raises
    ------
    DataError
        Where the file is no such table: another encoding, no header, lines of another length, or
        something other than a number, each with its place.
    """
    try:
        opening = _open(path, separator)
        table = _read(path, opening)
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise DataError(
            f"{path}: not a readable table: {_first_line(error)}; it must be UTF-8 text with a "
            "header, names in the first column and a column for each dimension"
        ) from error
    width = table.num_columns
    if not opening.labels[-1] and table.column(width - 1).null_count == table.num_rows:
        width -= 1
    matrix = np.empty((table.num_rows, width - 1), dtype=np.float32)
    with np.errstate(over="ignore"):  # infinite then, which the checks find
        for at in range(width - 1):
            matrix[:, at] = table.column(at + 1).to_numpy()
    return list(zip(table.column(0).to_pylist(), matrix, strict=True))


def _open(path: Path, usual: str) -> _Opening:
    with path.open(newline="", encoding="utf-8-sig") as file:
        filled = ((number, line) for number, line in enumerate(file, 1) if line.strip())
        number, header = next(filled, (0, ""))
        _, following = next(filled, (0, ""))
    separator = usual
    if usual not in header:
        separator = next((other for other in _SEPARATORS if other in header), usual)
    labels = _fields(header, separator)
    first = _fields(following, separator)
    if len(first) == len(labels) + 1:
        # Either the lines end in a separator, or the names' column has no label.
        if not first[-1]:
            labels = [*labels, ""]
        elif len(labels) > 1 and len({label.rstrip("0123456789") for label in labels}) == 1:
            labels = ["", *labels]
    if len(labels) < 2:
        raise DataError(
            f"{path}: not a readable table: its header {header.strip()[:40]!r} has one column; "
            "there must be names in the first column and a column for each dimension"
        )
    if _is_vector(labels[1:]):
        raise DataError(
            f"{path}: has no header: its first line is a vector already "
            f"({listing(labels, 3)}); write a line of column names above it"
        )
    return _Opening(separator, tuple(labels), number)


def _fields(line: str, separator: str) -> list[str]:
    return [field.strip() for field in next(csv.reader([line], delimiter=separator), [])]


def _is_vector(labels: Sequence[str]) -> bool:
    """Tell a vector from a header, whose labels may be numbers too, but those that count."""
    try:
        values = [float(label) for label in labels if label]
    except ValueError:
        return False
    return bool(values) and values != [values[0] + at for at in range(len(values))]


def _read(path: Path, opening: _Opening) -> Any:
    """Return the Arrow table of the lines below the header: text, then float64."""
    columns = [str(at) for at in range(len(opening.labels))]
    types = {column: pa.float64() if column != "0" else pa.string() for column in columns}
    odd: list[str] = []

    def keep(row: Any) -> str:
        name = row.text.split(opening.separator)[0][:40]
        odd.append(f"{name} ({row.actual_columns})")
        return "skip"

    try:
        table = pyarrow.csv.read_csv(
            path,
            pyarrow.csv.ReadOptions(
                skip_rows=opening.n_lines, column_names=columns, block_size=_BLOCK
            ),
            pyarrow.csv.ParseOptions(delimiter=opening.separator, invalid_row_handler=keep),
            pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        if found := _NO_NUMBER.search(str(error)):
            label, value = opening.labels[int(found[1])], found[2][:40]
            comma = re.fullmatch(r"[-+]?\d+,\d+", value.strip())
            raise DataError(
                f"{path}: the column {label!r} holds {value!r}, which is no number"
                + ("; numbers have a decimal point, and nothing between thousands" if comma else "")
                + "; names belong in the first column, and all other columns are dimensions"
            ) from error
        raise
    if odd:
        raise DataError(
            f"{path}: not a readable table: its header has {len(columns)} fields, these lines have "
            f"another number: {listing(odd, 8)}"
        )
    return table


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0][:200]
