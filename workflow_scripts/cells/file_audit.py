"""Look at one h5ad file in seconds: its labels and genes whole, its values by a sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
import pandas as pd
import scipy.sparse

from workflow_scripts.cells.annotations import (
    duplicates,
    open_h5ad,
    read_barcodes,
    read_column,
    with_canonical_names,
)
from workflow_scripts.cells.cell_settings import CellSettings
from workflow_scripts.cells.embeddings import audit_embedding, find_embedding
from workflow_scripts.cells.gene_audit import audit_gene_names, knockdowns
from workflow_scripts.cells.label_audit import audit_batches
from workflow_scripts.cells.leakage import CellNames, cell_names, digests_of
from workflow_scripts.cells.matrices import Matrix, find_matrix, other_matrices
from workflow_scripts.cells.sampled import (
    SAMPLED_CELLS,
    SampledRows,
    read_rows,
    sample_rows,
    stored_lengths,
)
from workflow_scripts.cells.values import (
    Values,
    ValueSummary,
    against_log1p,
    decide_values,
    one_sum,
)
from workflow_scripts.errors import DataError
from workflow_scripts.settings.findings import Finding, Severity, listing

GROUP_COLUMNS = ("dataset", "file", "context", "perturbation", "is_control", "n_cells")
BATCH_COLUMNS = ("dataset", "file", "context", "perturbation", "batch", "n_cells")


@dataclass
class FileAudit:
    """What one file holds.

    Attributes
    ----------
    path, dataset, label
        Which file.
    n_cells, n_genes, n_values
        Size of its matrix; values that it stores.
    genes
        Their names [n_genes].
    values
        counts or log1p; None where they can't be used.
    sums
        Normalised counts of a cell, by context, where all cells of it have as many; what counts
        will be scaled to.
    labels
        One row a cell: those of context, perturbation and batch that could be read.
    written
        Its labels of perturbations, as they are written.
    barcodes
        Names of the cells [n_cells].
    looked_at
        Rows whose values were read.
    whole
        Whether these are all.
    knockdowns
        Fold changes of targets in their own cells.
    digests
        Of the cells that were looked at.
    names
        What tells which cells may be copies.
    simulated
        The file says that nobody measured its cells.
    embedding_dim
        Width of its embedding; None where none is asked for, or it can't be used.
    """

    path: str
    dataset: str
    label: str
    n_cells: int
    n_genes: int
    n_values: int
    genes: np.ndarray
    values: Values | None
    labels: pd.DataFrame
    written: tuple[str, ...]
    barcodes: np.ndarray
    n_looked_at: int
    whole: bool
    names: CellNames
    simulated: bool
    embedding_dim: int | None = None
    sums: dict[str, float] = field(default_factory=dict)
    knockdowns: list[dict[str, Any]] = field(default_factory=list)
    digests: pd.DataFrame | None = None
    findings: list[Finding] = field(default_factory=list)

    def found(self, severity: Severity, code: str, message: str) -> None:
        """Record a finding."""
        self.findings.append(Finding(severity, code, message))

    @property
    def has_groups(self) -> bool:
        """Whether it is known of each cell what was done to it, and where."""
        return {"context", "perturbation"} <= set(self.labels)

    def groups(self, control: str) -> pd.DataFrame:
        """Return its groups of cells, columns `GROUP_COLUMNS`."""
        table = self._count("context", "perturbation")
        return table.assign(is_control=table["perturbation"] == control)[list(GROUP_COLUMNS)]

    def batches(self) -> pd.DataFrame:
        """Return its cells by group and technical batch, columns `BATCH_COLUMNS`."""
        return self._count("context", "perturbation", "batch")[list(BATCH_COLUMNS)]

    def entry(self) -> dict[str, Any]:
        """Return what a report says of the file, as JSON types."""
        return {
            "file": self.path,
            "n_cells": self.n_cells,
            "n_genes": self.n_genes,
            "n_values": self.n_values,
            "values": self.values,
            "n_looked_at": self.n_looked_at,
        }

    def digest(
        self, matrix: scipy.sparse.csr_matrix, rows: np.ndarray, genes: np.ndarray
    ) -> pd.DataFrame:
        """Return the digests of some of its rows, beside what names them."""
        named = self.labels.iloc[rows][["context", "perturbation"]].astype(object)
        named = named.assign(
            dataset=self.dataset, file=self.label, barcode=self.barcodes[rows], source_row=rows
        )
        return digests_of(matrix, genes, named)

    def _count(self, *columns: str) -> pd.DataFrame:
        if not set(columns) <= set(self.labels):
            empty: list[str] = []
            return pd.DataFrame(dict.fromkeys((*GROUP_COLUMNS, *BATCH_COLUMNS), empty))
        sizes = self.labels.groupby(list(columns), observed=True).size()
        table = sizes.reset_index(name="n_cells").astype(dict.fromkeys(columns, object))
        return table.assign(dataset=self.dataset, file=self.label)


def audit_file(dataset: str, label: str, path: str, settings: CellSettings) -> FileAudit:
    """Look at one file; what is wrong with it becomes findings.

    Raises
    ------
    DataError
        Where the file can't be read at all, or has no such matrix.
    """
    with open_h5ad(path) as file:
        matrix = find_matrix(file, settings.matrix)
        elsewhere = other_matrices(file, matrix.place)
        labels: dict[str, pd.Categorical] = {}
        problems = []
        for meaning, key, column in settings.columns.items():
            try:
                labels[meaning] = read_column(file, key, column)
            except DataError as error:
                problems.append(Finding("error", "column", str(error)))
        written: tuple[str, ...] = ()
        if "perturbation" in labels:
            written = tuple(labels["perturbation"].categories)
            labels["perturbation"] = with_canonical_names(labels["perturbation"], settings.control)
        known = pd.DataFrame(labels, index=range(matrix.n_cells))
        barcodes = read_barcodes(file)
        base = _base_of_logarithm(file)
        groups = known.groupby(list(known), observed=True).ngroup() if labels else None
        numbers = np.zeros(matrix.n_cells, np.int64) if groups is None else groups.to_numpy()
        sample = sample_rows(matrix, numbers)
        audit = FileAudit(
            path=path,
            dataset=dataset,
            label=label,
            n_cells=matrix.n_cells,
            n_genes=matrix.n_genes,
            n_values=sample.n_values,
            genes=matrix.genes,
            values=None,
            labels=known,
            written=written,
            barcodes=barcodes,
            n_looked_at=len(sample.rows),
            whole=sample.whole,
            names=cell_names(barcodes, stored_lengths(matrix)),
            simulated="uns" in file and "simulated" in file["uns"],
            findings=[*audit_gene_names(matrix.genes, path), *problems],
        )
        if settings.embedding is not None:
            try:
                embedding = find_embedding(file, settings.embedding, matrix.n_cells)
                audit.embedding_dim = embedding.n_genes
                audit_embedding(embedding, numbers)
            except DataError as error:
                audit.found("error", "embedding", str(error))
    if repeated := duplicates(barcodes):
        audit.found(
            "warning",
            "duplicate-barcodes",
            f"{path}: {len(repeated)} cell names occur more than once ({listing(repeated, 5)}); "
            "make them unique to trace predictions to cells",
        )
    audit.values = _audit_values(sample, matrix, settings, audit, elsewhere)
    if audit.values == "counts" and "context" in known:
        audit.sums = dict.fromkeys(map(str, known["context"].unique()), settings.target_sum)
    elif audit.values == "log1p":
        _audit_scale(sample, matrix.place, base, settings, audit)
    if audit.has_groups:
        _audit_groups(sample, settings, audit)
    return audit


def digest_namesakes(
    audits: Mapping[str, FileAudit], rows: Mapping[str, np.ndarray], settings: CellSettings
) -> list[pd.DataFrame]:
    """Return digests of cells that may be copies, of files that were not read whole.

    Parameters
    ----------
    audits
        By path.
    rows
        Rows to read, by path.
    settings
        How cells are read.
    """
    found = []
    for path, audit in audits.items():
        if audit.whole or not len(rows[path]) or not audit.has_groups:
            continue
        with open_h5ad(path) as file:
            matrix = find_matrix(file, settings.matrix)
            read = read_rows(matrix, rows[path])
            found.append(audit.digest(read, rows[path], matrix.genes))
    return found


def _audit_values(
    sample: SampledRows,
    matrix: Matrix,
    settings: CellSettings,
    audit: FileAudit,
    elsewhere: str,
) -> Values | None:
    if sample.n_empty:
        audit.found(
            "error",
            "empty-cells",
            f"{audit.path}: {sample.n_empty} cells have no count in any gene; remove them",
        )
    if sample.whole and (idle := int((sample.matrix.getnnz(axis=0) == 0).sum())):
        text = f"{audit.path}: {idle} of {matrix.n_genes} genes have no count in any cell"
        audit.found("note", "empty-genes", text)
    summary = ValueSummary()
    summary.add_rows(sample.matrix)
    where = f"{audit.path}: {matrix.place}"
    try:
        return decide_values(
            summary, settings.values, where, all_genes=settings.matrix.obsm is None
        )
    except DataError as error:
        audit.found("error", "values", f"{error}{elsewhere}")
        return None


def _base_of_logarithm(file: h5py.File) -> float | None:
    """Return the base that scanpy noted, where it was given one."""
    base = file.get("uns/log1p/base")
    known = isinstance(base, h5py.Dataset) and base.shape == () and base.dtype.kind in "fiu"
    return float(base[()]) if known else None


def _audit_scale(
    sample: SampledRows, place: str, base: float | None, settings: CellSettings, audit: FileAudit
) -> None:
    """Look whether what is taken for log1p of normalised counts can be that."""
    rows = sample.matrix[:: len(sample.rows) // SAMPLED_CELLS + 1]
    if (found := against_log1p(rows, base)) is not None:
        text, certain = found
        refused = certain and settings.values == "auto"
        way = "; give log1p values, or set cells.values=log1p to use them as they are"
        audit.found(
            "error" if refused else "warning",
            "scale",
            f"{audit.path}: {place} {text}{way if refused else ''}",
        )
    elif "context" in audit.labels:
        sums = np.asarray(sample.matrix.expm1().sum(axis=1, dtype=np.float64)).ravel()
        contexts = audit.labels["context"].iloc[sample.rows].reset_index(drop=True)
        for context, at in contexts.groupby(contexts, observed=True).indices.items():
            if (total := one_sum(sums[at])) is not None:
                audit.sums[str(context)] = total


def _audit_groups(sample: SampledRows, settings: CellSettings, audit: FileAudit) -> None:
    """Look at what cells were labelled as, beside what they hold."""
    if "batch" in audit.labels:
        audit.findings += audit_batches(audit.batches(), settings.control, audit.path)
    if audit.values is None or not len(sample.rows):
        return
    looked_at = audit.labels.iloc[sample.rows].reset_index(drop=True)
    audit.knockdowns = [
        {"dataset": audit.dataset, "file": audit.label, **row}
        for row in knockdowns(
            sample.matrix,
            looked_at,
            audit.genes,
            settings.control,
            audit.values,
            settings.target_sum,
        )
    ]
    audit.digests = audit.digest(sample.matrix, sample.rows, audit.genes)
