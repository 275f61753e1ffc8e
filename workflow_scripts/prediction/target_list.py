"""What a person asks to predict, in place of the test split: a table, or the cells of a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.cells.label_audit import audit_spellings
from workflow_scripts.errors import DataError
from workflow_scripts.settings.choices import CHALLENGES, SUBMISSION
from workflow_scripts.settings.findings import Finding, listing
from workflow_scripts.settings.labels import canonical
from workflow_scripts.settings.slices import Slice
from workflow_scripts.settings.suggestions import nearest

KEY = "prediction.targets"
COLUMNS = ("perturbation", "context", "n_cells")
"""Columns of a resolved list."""

_SEPARATORS: Mapping[str, str] = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_MOST_CELLS = 10**9


def resolve_targets(settings: Slice, groups: pd.DataFrame) -> tuple[pd.DataFrame, list[Finding]]:
    """Compare what is asked for with the cells that there are.

    Parameters
    ----------
    settings
        Slice of the stage.
    groups
        Groups of the cells that are predicted from: ``context``, ``perturbation``, ``n_cells``, and
        for those of a file also ``dataset`` and ``file``.

    Returns
    -------
    table
        Of a list: `COLUMNS`, a row a target and context, in the list's order. Of a file: its groups
        with the split that each belongs to (``test``, ``control``), as `splits.parquet` has them.
    findings
        What is wrong with it; the table is empty where something is.
    """
    controls = groups["perturbation"].astype(str) == settings["data.kwargs.control_pert"]
    if settings[KEY] is not None:
        known = sorted(set(groups.loc[controls, "context"].astype(str)))
        return _resolve_list(settings, known)
    table = groups.assign(split=np.where(controls, "control", "test"))
    if not controls.all() or groups.empty:
        return table, []
    text = (
        f"{settings['prediction.adata']} (prediction.adata): it has control cells alone; say with "
        f"{KEY} what to predict from them"
    )
    return table.iloc[:0], [Finding("error", "no-targets", text)]


def genes_lacking(adata: str, known: Sequence[str], wanted: Sequence[str]) -> list[Finding]:
    """Find the genes that a model reads and the cells to predict from lack."""
    there = set(known)
    if not (lacking := [gene for gene in wanted if gene not in there]):
        return []
    text = (
        f"{adata} (prediction.adata): it lacks {len(lacking)} of the {len(wanted)} genes that are "
        f"read of the run's cells: {listing(lacking, 8)}; train on genes that both have "
        "(genes.select=list, genes.file), or name another file"
    )
    return [Finding("error", "prediction-genes", text, tuple(lacking))]


def _resolve_list(settings: Slice, known: Sequence[str]) -> tuple[pd.DataFrame, list[Finding]]:
    """Resolve a list; ``known`` are the contexts that have control cells."""
    where, nothing = f"{settings[KEY]} ({KEY})", pd.DataFrame(columns=list(COLUMNS))
    try:
        read = _read(settings[KEY], where)
    except DataError as error:
        return nothing, [Finding("error", "target-list", str(error))]
    pert_col = settings["data.kwargs.pert_col"]
    context_col = settings["prediction.context_col"] or settings["data.kwargs.cell_type_key"]
    perturbation = _column(read, "perturbation", pert_col)
    if perturbation is None:
        text = (
            f"{where}: no column perturbation or {pert_col}; it has {listing(read.columns, 8)}. "
            "The first line names the columns"
        )
        return nothing, [Finding("error", "target-column", text)]
    if read.empty:
        return nothing, [Finding("error", "no-targets", f"{where}: it lists nothing to predict")]
    control = settings["data.kwargs.control_pert"]
    per_target = str(settings["prediction.cells_per_target"])
    n_cells = read.get("n_cells", pd.Series("", index=read.index))
    table = pd.DataFrame(
        {
            "perturbation": perturbation.map(lambda label: canonical(label, control)),
            "n_cells": pd.to_numeric(n_cells.mask(n_cells == "", per_target), errors="coerce"),
            "given": n_cells,
            "line": read.index + 2,
        }
    )
    context = _column(read, "context", context_col)
    if context is None:
        table = table.merge(pd.DataFrame({"context": known}), how="cross")
    else:
        table["context"] = context
    faults = [
        Finding("error", code, f"{where}: {text}", names)
        for code, text, names in _faults(settings, table, known)
    ]
    if faults:
        return nothing, faults
    spellings = audit_spellings(set(perturbation), control, f"{where}: ")
    return table[list(COLUMNS)].astype({"n_cells": "int64"}), spellings


def _read(path: str, where: str) -> pd.DataFrame:
    """Read a table as text, without spaces around names and values."""
    separator = _SEPARATORS.get(Path(path).suffix.lower())
    if separator is None:
        raise DataError(f"{where}: its name ends in none of {', '.join(_SEPARATORS)}; rename it")
    try:
        read = pd.read_csv(
            path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig"
        )
    except FileNotFoundError:
        raise DataError(
            f"{where}: no such file; relative paths start at the working directory"
        ) from None
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise DataError(f"{where}: no table that can be read ({error})") from error
    read.columns = read.columns.str.strip()
    stripped: pd.DataFrame = read.apply(lambda column: column.str.strip())
    return stripped


def _column(table: pd.DataFrame, *names: str) -> pd.Series[str] | None:
    return next((table[name] for name in names if name in table), None)


def _faults(
    settings: Slice, table: pd.DataFrame, known: Sequence[str]
) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield what is wrong with a list: a code, a text, and all the names concerned.

    ``table`` has a row a target and context, with the line that it is ``given`` in.
    """
    rows = table.drop_duplicates("line")
    blank, whole = rows["given"] == "", rows["n_cells"].between(1, _MOST_CELLS)
    whole &= rows["n_cells"] % 1 == 0
    if blank.any() and settings["prediction.cells_per_target"] is None:
        text = (
            f"{int(blank.sum())} lines without n_cells; say there how many cells, or set "
            "prediction.cells_per_target"
        )
        yield "target-cells", text, ()
    elif not whole.all():
        wrong = rows[~whole]
        lines = map("line {}: {!r}".format, wrong["line"], wrong["given"])
        text = f"n_cells has to be a whole number from 1: {listing(lines, 5)}"
        yield "target-cells", text, ()

    unnamed = rows.loc[(rows[["perturbation", "context"]] == "").any(axis=1), "line"]
    if len(unnamed):
        text = f"lines without a perturbation or a context: {listing(unnamed, 8)}"
        yield "target-unnamed", text, ()

    cells = settings["prediction.adata"] or "the cells of the run"
    asked = [name for name in table["context"].unique() if name]
    if not known:
        text = f"no context of {cells} has control cells to predict from"
        yield "target-contexts", text, ()
    elif lacking := [name for name in asked if name not in known]:
        shown = "; ".join(f"{name!r}{nearest(name, known)}" for name in lacking[:5])
        text = (
            f"{len(lacking)} of {len(asked)} contexts have no control cells in {cells}: {shown}; "
            "name a file that has them with prediction.adata, or correct them"
        )
        yield "target-contexts", text, tuple(lacking)

    control = settings["data.kwargs.control_pert"]
    if (table["perturbation"] == control).any():
        text = (
            f"it lists the control {control!r}, of which nothing is predicted; take it out: the "
            "observed controls stand beside the predictions"
        )
        yield "target-control", text, ()

    twice = table[table.duplicated(["perturbation", "context"])]
    if len(twice):
        names = listing(twice["context"] + "/" + twice["perturbation"], 8)
        yield "targets-twice", f"{len(twice)} targets are listed twice: {names}; list each once", ()

    challenge = CHALLENGES.get(str(settings[SUBMISSION]))
    each = challenge and challenge.cells_per_target
    wrong = table[table["n_cells"].notna() & (table["n_cells"] != each)]
    if challenge and each and len(wrong):
        found = map("{} in {}: {:.0f}".format, *(wrong[name] for name in COLUMNS))
        text = (
            f"{challenge.name} takes {each} cells of each target and context; {listing(found, 5)}; "
            f"leave n_cells out, and set prediction.cells_per_target={each}"
        )
        yield "target-cells", text, ()
