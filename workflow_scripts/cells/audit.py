"""Audit the cells of a run in seconds, file by file and then all together."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.cells.cell_settings import CellSettings
from workflow_scripts.cells.embeddings import check_widths
from workflow_scripts.cells.file_audit import (
    BATCH_COLUMNS,
    GROUP_COLUMNS,
    FileAudit,
    audit_file,
    digest_namesakes,
)
from workflow_scripts.cells.gene_audit import audit_targets, compare_genes
from workflow_scripts.cells.label_audit import (
    audit_contexts,
    audit_controls,
    audit_labels,
    audit_left_out,
    audit_spellings,
)
from workflow_scripts.cells.leakage import describe_twins, find_twins, namesakes
from workflow_scripts.cells.values import compare_sums
from workflow_scripts.errors import DataError
from workflow_scripts.settings.findings import Finding
from workflow_scripts.settings.labels import names_no_perturbation, targets_of
from workflow_scripts.settings.slices import Slice


@dataclass
class CellAudit:
    """What the audit found, and the groups of cells that there are.

    Attributes
    ----------
    groups
        One row a (dataset, file, context, perturbation), columns `GROUP_COLUMNS`.
    batches
        The same by technical batch, columns `BATCH_COLUMNS`.
    twins
        Cells whose content another cell has too, among the cells that were looked at: columns
        `leakage.TWIN_COLUMNS`.
    genes
        Names of the genes that every file has, in the first file's order: those of the store.
    report
        JSON: files, counts by context, sums that cells were normalised to, knockdowns, the width
        of the embedding where one is asked for, whether the cells say that they are simulated,
        findings.
    """

    groups: pd.DataFrame
    batches: pd.DataFrame
    twins: pd.DataFrame
    genes: tuple[str, ...]
    report: dict[str, Any]


def audit_cells(
    datasets: Mapping[str, Mapping[str, str]],
    settings: CellSettings,
    unreadable: str | None = None,
    matched_nothing: Mapping[str, Sequence[str]] | None = None,
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
    matched_nothing
        Folders and patterns that name the files of a dataset, of each that has no file.
    """
    findings = _audit_datasets(datasets, unreadable, matched_nothing or {})
    audits: dict[str, FileAudit] = {}
    for dataset, files in datasets.items():
        for label, path in files.items():
            if any(os.path.realpath(path) == os.path.realpath(known) for known in audits):
                continue  # in two datasets, which has been said
            try:
                audits[path] = audit_file(dataset, label, path, settings)
            except DataError as error:
                findings.append(Finding("error", "file", str(error)))
                continue
            findings += audits[path].findings
    files_there = list(audits.values())
    findings += _audit_together(files_there, settings)
    groups = _together([file.groups(settings.control) for file in files_there], GROUP_COLUMNS)
    batches = _together([file.batches() for file in files_there], BATCH_COLUMNS)
    if len(groups):
        findings += audit_controls(groups, settings.control)
        groups, left_out = _without_left_out(groups, settings.control)
        findings += audit_left_out(left_out, settings.control)
        findings += _audit_groups(groups, files_there, settings)
        batches, _ = _without_left_out(batches, settings.control)
    twins = _find_twins(audits, settings)
    findings += [*_copied_files(files_there, twins), *describe_twins(twins)]
    entries = {
        dataset: [audits[path].entry() for path in files.values() if path in audits]
        for dataset, files in datasets.items()
    }
    genes = _common_genes(files_there)
    report = _report(groups, entries, files_there, settings, findings)
    return CellAudit(groups, batches, twins, genes, {**report, "n_genes": len(genes)})


def audit_slice(content: Mapping[str, Any]) -> CellAudit:
    """Look at the files of a cells slice, as `Run.cells_json` gives it; see `audit_cells`."""
    settings = CellSettings.from_slice(Slice(content["identity"], content["extent"]))
    said = (content.get(name) for name in ("unreadable", "matched_nothing"))
    return audit_cells(content["datasets"], settings, *said)


def _audit_datasets(
    datasets: Mapping[str, Mapping[str, str]],
    unreadable: str | None,
    matched_nothing: Mapping[str, Sequence[str]],
) -> list[Finding]:
    if unreadable is not None:
        return [Finding("error", "split-file", unreadable)]
    if not datasets:
        text = (
            "no dataset is named: neither by [datasets] of the split file "
            "(data.kwargs.toml_config_path) nor by cells.datasets; name the h5ad files there"
        )
        return [Finding("error", "no-datasets", text)]
    findings = []
    owners: dict[str, str] = {}
    for dataset, files in datasets.items():
        if not files:
            named = ", ".join(matched_nothing.get(dataset, ["what names its files"]))
            text = (
                f"dataset {dataset}: {named} matches no file; fix [datasets] of the split file, "
                "cells.datasets or prediction.adata (paths are relative to the working directory)"
            )
            findings.append(Finding("error", "no-files", text))
        for path in files.values():
            owner = owners.setdefault(os.path.realpath(path), dataset)
            if owner != dataset:
                text = (
                    f"{path}: belongs to dataset {owner} and to dataset {dataset}; name it in "
                    "one, or what one holds out the other trains on"
                )
                findings.append(Finding("error", "file-in-two-datasets", text))
    return findings


def _audit_together(files: Sequence[FileAudit], settings: CellSettings) -> list[Finding]:
    """Compare the genes and the values of the files with one another."""
    findings = []
    for file in files[1:]:
        first = files[0]
        findings += compare_genes(file.genes, file.path, first.genes, first.path, settings.genes)
    kinds = {file.values: file.path for file in files if file.values is not None}
    if len(kinds) > 1:
        text = (
            f"some files hold raw counts ({kinds['counts']}) and others log1p values "
            f"({kinds['log1p']}); make them the same"
        )
        findings.append(Finding("error", "mixed-values", text))
    else:
        findings += compare_sums(_sums(files), settings.values)
    if settings.embedding is not None:
        widths = {file.path: file.embedding_dim for file in files}
        try:
            check_widths({p: w for p, w in widths.items() if w is not None}, settings.embedding)
        except DataError as error:
            findings.append(Finding("error", "embedding-widths", str(error)))
    return findings


def _sums(files: Sequence[FileAudit]) -> dict[str, float]:
    return {f"{f.path} ({context})": total for f in files for context, total in f.sums.items()}


def _audit_groups(
    groups: pd.DataFrame, files: Sequence[FileAudit], settings: CellSettings
) -> list[Finding]:
    labels = sorted(groups["perturbation"].unique())
    targets = {
        target for parts in targets_of(labels, settings.control).values() for target in parts
    }
    return [
        *audit_labels(labels),
        *audit_spellings({label for file in files for label in file.written}, settings.control),
        *audit_contexts(groups),
        *audit_targets(targets, files[0].genes),
    ]


def _without_left_out(table: pd.DataFrame, control: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Part the groups that are used from those whose label names no perturbation."""
    out = [names_no_perturbation(label, control) for label in table["perturbation"]]
    mask = np.array(out, dtype=bool)
    return table[~mask].reset_index(drop=True), table[mask]


def _find_twins(audits: Mapping[str, FileAudit], settings: CellSettings) -> pd.DataFrame:
    rows = namesakes([audit.names for audit in audits.values()])
    more = digest_namesakes(audits, dict(zip(audits, rows, strict=True)), settings)
    looked_at = [audit.digests for audit in audits.values() if audit.digests is not None]
    return find_twins([*looked_at, *more])


def _copied_files(files: Sequence[FileAudit], twins: pd.DataFrame) -> list[Finding]:
    """Find files that hold the cells of an earlier one, under the same names."""
    places = pd.Series([*zip(twins["dataset"], twins["file"], strict=True)], dtype=object)
    by_name = places.groupby(twins["barcode"].to_numpy(), sort=False).agg(set)
    findings = []
    for second, first in ((b, a) for at, b in enumerate(files) for a in files[:at]):
        pair = {(file.dataset, file.label) for file in (first, second)}
        equal = any(pair <= both for both in by_name)
        if equal and np.array_equal(np.sort(first.barcodes), np.sort(second.barcodes)):
            text = f"{second.path} is a copy of {first.path} (same cell names); name only one"
            findings.append(Finding("error", "copied-file", text))
    return findings


def _common_genes(files: Sequence[FileAudit]) -> tuple[str, ...]:
    if not files:
        return ()
    common = set(files[0].genes).intersection(*(file.genes for file in files))
    return tuple(str(gene) for gene in dict.fromkeys(files[0].genes) if gene in common)


def _together(tables: Sequence[pd.DataFrame], columns: tuple[str, ...]) -> pd.DataFrame:
    full = [table for table in tables if len(table)]
    table = pd.concat(full) if full else pd.DataFrame({column: [] for column in columns})
    by = [column for column in columns if column not in ("is_control", "n_cells")]
    return table[list(columns)].sort_values(by, ignore_index=True)


def _report(
    groups: pd.DataFrame,
    entries: Mapping[str, list[dict[str, Any]]],
    files: Sequence[FileAudit],
    settings: CellSettings,
    findings: Sequence[Finding],
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
        "n_values": sum(file.n_values for file in files),
        "embedding_dim": next((file.embedding_dim for file in files), None),
        "n_perturbations": int(perturbed.nunique()),
        "contexts": contexts,
        "sums": _sums(files),
        "simulated": any(file.simulated for file in files),
        "n_looked_at": sum(file.n_looked_at for file in files),
        "knockdowns": [row for file in files for row in file.knockdowns],
        "findings": [finding.to_dict() for finding in findings],
    }
