"""Audit the cells of a run in seconds: labels and genes whole, values by a sample."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
import pandas as pd

from workflow_scripts.cells.annotations import (
    Columns,
    duplicates,
    matrix_encoding,
    matrix_shape,
    open_h5ad,
    read_barcodes,
    read_column,
    read_genes,
)
from workflow_scripts.cells.values import ValueSummary, decide_values
from workflow_scripts.settings.errors import DataError
from workflow_scripts.settings.findings import Finding, listing
from workflow_scripts.settings.slices import Slice

SAMPLED_CELLS = 512
"""Cells of a file whose values are looked at before packing, which looks at all of them."""

GROUP_COLUMNS = ("dataset", "file", "context", "perturbation", "is_control", "n_cells")


@dataclass(frozen=True)
class CellSettings:
    """How cells are read.

    Attributes
    ----------
    columns
        Which obs column holds what.
    control
        Label of the unperturbed cells.
    values
        counts, log1p or auto.
    target_sum
        Counts that a raw cell is scaled to before log1p.
    """

    columns: Columns
    control: str
    values: str
    target_sum: float

    @classmethod
    def from_slice(cls, settings: Slice) -> CellSettings:
        """Take the settings out of the cells slice."""
        return cls(
            Columns(
                settings["data.kwargs.pert_col"],
                settings["data.kwargs.cell_type_key"],
                settings["data.kwargs.batch_col"],
            ),
            settings["data.kwargs.control_pert"],
            settings["cells.values"],
            float(settings["cells.target_sum"]),
        )


@dataclass
class CellAudit:
    """What the audit found, and the groups of cells that there are.

    Attributes
    ----------
    groups
        One row a (dataset, file, context, perturbation), columns `GROUP_COLUMNS`.
    report
        JSON: files, counts by context, whether the cells say that they are simulated, findings.
    """

    groups: pd.DataFrame
    report: dict[str, Any]


@dataclass
class _Seen:
    genes: np.ndarray | None = None
    genes_of: str = ""
    values: set[str] = field(default_factory=set)
    simulated: bool = False
    findings: list[Finding] = field(default_factory=list)

    def error(self, code: str, message: str) -> None:
        self.findings.append(Finding("error", code, message))


def audit_cells(
    datasets: Mapping[str, Mapping[str, str]],
    settings: CellSettings,
    unreadable: str | None = None,
) -> CellAudit:
    """Look at every file of every dataset; problems become findings, never exceptions.

    Parameters
    ----------
    datasets
        Dataset name to its h5ad files, by label.
    settings
        How cells are read.
    unreadable
        Why the datasets are not known, where the file that names them can't be read.
    """
    seen = _Seen()
    owners: dict[str, str] = {}
    entries: dict[str, list[dict[str, Any]]] = {}
    tables = []
    if unreadable is not None:
        seen.error("split-file", unreadable)
    elif not datasets:
        seen.error(
            "no-datasets",
            "no dataset is named: neither by [datasets] of the split file "
            "(data.kwargs.toml_config_path) nor by cells.datasets; name the h5ad files there",
        )
    for dataset, files in datasets.items():
        entries[dataset] = []
        if not files:
            seen.error(
                "no-files",
                f"dataset {dataset}: its folder or pattern matches no file; "
                "mend [datasets] of the split file (paths are relative to the working directory)",
            )
        for label, path in files.items():
            owner = owners.setdefault(os.path.realpath(path), dataset)
            if owner != dataset:
                seen.error(
                    "file-in-two-datasets",
                    f"{path}: belongs to dataset {owner} and to dataset {dataset}; name it in "
                    "one, or what one holds out the other trains on",
                )
                continue
            try:
                entry, table = _audit_file(dataset, label, path, settings, seen)
            except DataError as error:
                seen.error("file", str(error))
                continue
            entries[dataset].append(entry)
            tables.append(table)
    if len(seen.values) > 1:
        seen.error(
            "mixed-values",
            "some files hold raw counts and others log1p values; make them the same",
        )
    groups = pd.concat(tables) if tables else pd.DataFrame({c: [] for c in GROUP_COLUMNS})
    groups = groups.sort_values(list(GROUP_COLUMNS[:4]), ignore_index=True)
    _audit_controls(groups, settings.control, seen)
    return CellAudit(groups, _report(groups, entries, seen, settings))


def _audit_file(
    dataset: str, label: str, path: str, settings: CellSettings, seen: _Seen
) -> tuple[dict[str, Any], pd.DataFrame]:
    with open_h5ad(path) as file:
        n_cells, n_genes = matrix_shape(file)
        if n_cells == 0 or n_genes == 0:
            raise DataError(f"{path}: X is empty ({n_cells} cells, {n_genes} genes)")
        _audit_genes(file, seen)
        if repeated := duplicates(read_barcodes(file)):
            seen.findings.append(
                Finding(
                    "warning",
                    "duplicate-barcodes",
                    f"{path}: {len(repeated)} cell names occur more than once "
                    f"({listing(repeated, 5)}); make them unique to trace predictions to cells",
                )
            )
        try:
            values = decide_values(_sample(file, n_cells), settings.values, path)
            seen.values.add(values)
        except DataError as error:
            values = None
            seen.error("values", str(error))
        labels = {}
        for meaning, key, column in settings.columns.items():
            try:
                labels[meaning] = read_column(file, key, column)
            except DataError as error:
                seen.error("column", str(error))
        simulated = "uns" in file and "simulated" in file["uns"]
    seen.simulated = seen.simulated or simulated
    entry = {"file": path, "n_cells": n_cells, "n_genes": n_genes, "values": values}
    if {"context", "perturbation"} - labels.keys():
        return entry, pd.DataFrame({column: [] for column in GROUP_COLUMNS})
    table = pd.DataFrame(labels).groupby(["context", "perturbation"]).size()
    groups = table.reset_index(name="n_cells").assign(dataset=dataset, file=label)
    groups["is_control"] = groups["perturbation"] == settings.control
    return entry, groups[list(GROUP_COLUMNS)]


def _audit_genes(file: h5py.File, seen: _Seen) -> None:
    path = file.filename
    genes = read_genes(file)
    if repeated := duplicates(genes):
        seen.error(
            "duplicate-genes",
            f"{path}: {len(repeated)} gene names occur more than once ({listing(repeated, 5)}); "
            "make them unique (anndata's var_names_make_unique), or remove var['gene_name']",
        )
    if seen.genes is None:
        seen.genes, seen.genes_of = genes, path
        return
    if np.array_equal(genes, seen.genes):
        return
    if set(genes) == set(seen.genes):
        seen.findings.append(
            Finding(
                "note",
                "gene-order",
                f"{path}: the same genes as {seen.genes_of} in another order; aligned by name",
            )
        )
        return
    here, there = sorted(set(genes) - set(seen.genes)), sorted(set(seen.genes) - set(genes))
    seen.error(
        "genes-differ",
        f"{path}: its genes are not those of {seen.genes_of}: {len(here)} are only here "
        f"({listing(here, 5)}), {len(there)} only there ({listing(there, 5)}); "
        "bring the files to the same genes",
    )


def _sample(file: h5py.File, n_cells: int) -> ValueSummary:
    """Look at the values of some rows, spread evenly over the file (columns, for CSC)."""
    matrix, summary = file["X"], ValueSummary()
    encoding = matrix_encoding(file)
    if encoding == "dense":
        rows = np.unique(np.linspace(0, n_cells - 1, SAMPLED_CELLS).astype(np.int64))
        for row in rows:
            summary.add(np.asarray(matrix[int(row)]).ravel())
        return summary
    indptr = matrix["indptr"]
    spans = np.unique(np.linspace(0, indptr.shape[0] - 2, SAMPLED_CELLS).astype(np.int64))
    for span in spans:
        start, stop = indptr[int(span) : int(span) + 2]
        summary.add(np.asarray(matrix["data"][int(start) : int(stop)]))
    return summary


def _audit_labels(labels: list[str], seen: _Seen) -> None:
    """Find labels that a person would read as one, and that the workflow would not."""
    if any(not label.strip() for label in labels):
        seen.error("empty-label", "some cells have an empty perturbation label; label them")
    alike: dict[str, list[str]] = {}
    for label in labels:
        alike.setdefault(label.strip().casefold(), []).append(label)
    for same in alike.values():
        if len(same) > 1:
            names = listing(repr(label) for label in same)
            blank = len({label.strip() for label in same}) < len(same)
            seen.findings.append(
                Finding(
                    "error" if blank else "warning",
                    "labels-alike",
                    f"perturbations that differ only by {'blanks' if blank else 'case'}: {names}; "
                    "make them one, or one of them trains when the other is held out",
                )
            )


def _audit_controls(groups: pd.DataFrame, control: str, seen: _Seen) -> None:
    if groups.empty:
        return
    labels = sorted(groups["perturbation"].unique())
    _audit_labels(labels, seen)
    if control not in labels:
        close = difflib.get_close_matches(control, labels, n=3, cutoff=0.4)
        hint = f" (near it: {', '.join(close)})" if close else f" (there are {listing(labels, 8)})"
        seen.error(
            "no-control",
            f"no cell is labelled {control!r}, the control{hint}; set data.kwargs.control_pert",
        )
        return
    by_context = groups.groupby(["dataset", "file", "context"])["is_control"].any()
    for dataset, label, context in by_context[~by_context].index:
        seen.error(
            "no-control-in-context",
            f"{label}: context {context!r} (dataset {dataset}) has no cell labelled {control!r}; "
            "every context needs controls in its own file",
        )


def _report(
    groups: pd.DataFrame,
    entries: Mapping[str, list[dict[str, Any]]],
    seen: _Seen,
    settings: CellSettings,
) -> dict[str, Any]:
    contexts = {
        str(context): {
            "n_cells": int(part["n_cells"].sum()),
            "n_control_cells": int(part.loc[part["is_control"].astype(bool), "n_cells"].sum()),
            "n_perturbations": int(
                part.loc[~part["is_control"].astype(bool), "perturbation"].nunique()
            ),
        }
        for context, part in groups.groupby("context")
    }
    perturbed = groups.loc[~groups["is_control"].astype(bool), "perturbation"]
    return {
        "datasets": entries,
        "control": settings.control,
        "n_cells": int(groups["n_cells"].sum()),
        "n_genes": 0 if seen.genes is None else len(seen.genes),
        "n_perturbations": int(perturbed.nunique()),
        "contexts": contexts,
        "simulated": seen.simulated,
        "findings": [finding.to_dict() for finding in seen.findings],
    }
