"""What a person asks to predict, in place of the test split: a table, or the cells of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class TargetSettings:
    """What is asked for, and how its columns are called.

    Attributes
    ----------
    table
        The list; None: the perturbed cells of the file that is predicted from.
    adata
        That file; None: the cells of the run.
    cells_per_target
        Cells of each target and context, where the list doesn't say; None: it has to.
    pert_col, context_col
        What else the columns perturbation and context may be called.
    control
        Label of the control.
    submission
        What is handed in (`CHALLENGES`); None: nothing is.
    """

    table: str | None
    adata: str | None
    cells_per_target: int | None
    pert_col: str
    context_col: str
    control: str
    submission: str | None = None

    @classmethod
    def from_slice(cls, settings: Slice) -> TargetSettings:
        """Take the settings out of the targets slice."""
        return cls(
            settings[KEY],
            settings["prediction.adata"],
            settings["prediction.cells_per_target"],
            settings["data.kwargs.pert_col"],
            settings["prediction.context_col"] or settings["data.kwargs.cell_type_key"],
            settings["data.kwargs.control_pert"],
            settings[SUBMISSION],
        )


def resolve_targets(
    settings: TargetSettings, groups: pd.DataFrame
) -> tuple[pd.DataFrame, list[Finding]]:
    """Hold what is asked for to the cells that there are.

    Parameters
    ----------
    settings
        What is asked for.
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
    if settings.table is None:
        return _of_file(settings, groups)
    try:
        table, findings = _of_list(settings, _read(settings.table), groups)
    except DataError as error:
        table, findings = None, [Finding("error", "target-list", str(error))]
    return (pd.DataFrame(columns=list(COLUMNS)) if table is None else table), findings


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


def _of_file(settings: TargetSettings, groups: pd.DataFrame) -> tuple[pd.DataFrame, list[Finding]]:
    controls = groups["perturbation"].astype(str) == settings.control
    table = groups.assign(split=controls.map({True: "control", False: "test"}).astype(str))
    if len(groups) and controls.all():
        text = (
            f"{settings.adata} (prediction.adata): it has control cells alone; say with {KEY} what "
            "to predict from them"
        )
        return table.iloc[:0], [Finding("error", "no-targets", text)]
    return table, []


def _read(path: str) -> pd.DataFrame:
    separator = _SEPARATORS.get(Path(path).suffix.lower())
    where = f"{path} ({KEY})"
    if separator is None:
        raise DataError(f"{where}: its name ends in none of {', '.join(_SEPARATORS)}; rename it")
    try:
        return pd.read_csv(
            path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig"
        )
    except FileNotFoundError:
        raise DataError(
            f"{where}: no such file; relative paths start at the working directory"
        ) from None
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise DataError(f"{where}: no table that can be read ({error})") from error


def _of_list(
    settings: TargetSettings, read: pd.DataFrame, groups: pd.DataFrame
) -> tuple[pd.DataFrame | None, list[Finding]]:
    where = f"{settings.table} ({KEY})"
    read = read.rename(columns=lambda name: str(name).strip()).apply(lambda one: one.str.strip())
    perturbation = _column(read, "perturbation", settings.pert_col)
    context = _column(read, "context", settings.context_col)
    if perturbation is None:
        there = listing(read.columns, 8)
        text = (
            f"{where}: no column perturbation or {settings.pert_col}; it has {there}. The first "
            "line names the columns"
        )
        return None, [Finding("error", "target-column", text)]
    if not len(read):
        return None, [Finding("error", "no-targets", f"{where}: it lists nothing to predict")]
    counts, findings = _counts(settings, read, where)
    controls = groups.loc[groups["perturbation"].astype(str) == settings.control, "context"]
    known = sorted(set(controls.astype(str)))
    names = perturbation.map(lambda label: canonical(label, settings.control))
    table = pd.DataFrame({"perturbation": names, "n_cells": counts})
    if context is None:
        table = table.merge(pd.DataFrame({"context": known}), how="cross")
    else:
        table["context"] = context
    table = table[list(COLUMNS)].reset_index(drop=True)
    findings += [
        *_unnamed(table, where),
        *_contexts(table, known, settings, where),
        *_controls_asked(table, settings, where),
        *_repeated(table, where),
        *_handed_in(table, settings, where),
    ]
    if findings:
        return None, findings
    return table.astype({"n_cells": "int64"}), [
        *audit_spellings(set(perturbation), settings.control, f"{where}: ")
    ]


def _column(table: pd.DataFrame, *names: str) -> pd.Series[str] | None:
    return next((table[name] for name in names if name in table), None)


def _counts(
    settings: TargetSettings, read: pd.DataFrame, where: str
) -> tuple[pd.Series[float], list[Finding]]:
    given, per_target = _column(read, "n_cells"), settings.cells_per_target
    if given is None:
        given = pd.Series("", index=read.index)
    blank = given == ""
    if per_target is None and blank.any():
        what = "no column n_cells" if "n_cells" not in read else f"{int(blank.sum())} empty n_cells"
        text = f"{where}: {what}; say there how many cells, or set prediction.cells_per_target"
        return pd.Series(0.0, index=read.index), [Finding("error", "target-cells", text)]
    counts = pd.to_numeric(given.mask(blank, str(per_target)), errors="coerce")
    wrong = ~(counts.between(1, _MOST_CELLS) & (counts % 1 == 0))
    if wrong.any():
        lines = [f"line {at + 2}: {given[at]!r}" for at in counts.index[wrong]]
        text = f"{where}: n_cells has to be a whole number from 1: {listing(lines, 5)}"
        return counts, [Finding("error", "target-cells", text)]
    return counts, []


def _unnamed(table: pd.DataFrame, where: str) -> list[Finding]:
    empty = table.index[(table[["perturbation", "context"]] == "").any(axis=1)]
    if not len(empty):
        return []
    lines = listing((at + 2 for at in empty), 8)
    text = f"{where}: lines without a perturbation or a context: {lines}"
    return [Finding("error", "target-unnamed", text)]


def _contexts(
    table: pd.DataFrame, known: Sequence[str], settings: TargetSettings, where: str
) -> list[Finding]:
    cells = settings.adata or "the cells of the run"
    if not known:
        text = f"{where}: no context of {cells} has control cells to predict from"
        return [Finding("error", "target-contexts", text)]
    asked = [name for name in dict.fromkeys(table["context"]) if name]
    if not (lacking := [name for name in asked if name not in known]):
        return []
    shown = [f"{name!r}{nearest(name, known)}" for name in lacking[:5]]
    text = (
        f"{where}: {len(lacking)} of {len(asked)} contexts have no control cells in {cells}: "
        f"{'; '.join(shown)}; name a file that has them with prediction.adata, or correct them"
    )
    return [Finding("error", "target-contexts", text, tuple(lacking))]


def _controls_asked(table: pd.DataFrame, settings: TargetSettings, where: str) -> list[Finding]:
    if not (table["perturbation"] == settings.control).any():
        return []
    text = (
        f"{where}: it lists the control {settings.control!r}, of which nothing is predicted; take "
        "it out: the observed controls stand beside the predictions"
    )
    return [Finding("error", "target-control", text)]


def _repeated(table: pd.DataFrame, where: str) -> list[Finding]:
    twice = table[table.duplicated(["perturbation", "context"])]
    if twice.empty:
        return []
    pairs = zip(twice["context"], twice["perturbation"], strict=True)
    names = listing((f"{context}/{name}" for context, name in pairs), 8)
    text = f"{where}: {len(twice)} targets are listed twice: {names}; list each once"
    return [Finding("error", "targets-twice", text)]


def _handed_in(table: pd.DataFrame, settings: TargetSettings, where: str) -> list[Finding]:
    """Hold the numbers of cells to those that a competition takes."""
    challenge = CHALLENGES.get(str(settings.submission))
    if challenge is None or (each := challenge.cells_per_target) is None:
        return []
    wrong = table.index[table["n_cells"] != each]
    if not len(wrong):
        return []
    rows = table.loc[wrong, ["perturbation", "context", "n_cells"]].itertuples(index=False)
    found = listing((f"{name} in {context}: {n:.0f}" for name, context, n in rows), 5)
    text = (
        f"{where}: {challenge.name} takes {each} cells of each target and context; {found}; leave "
        f"n_cells out, and set prediction.cells_per_target={each}"
    )
    return [Finding("error", "target-cells", text)]
