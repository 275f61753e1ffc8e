"""Find what is odd about genes: names that repeat or are of two kinds, targets not measured."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse

from workflow_scripts.cells.annotations import duplicates
from workflow_scripts.settings.findings import Finding, listing
from workflow_scripts.settings.labels import targets_of

_ENSEMBL = re.compile(r"ENS[A-Z]{0,4}G\d{11}(\.\d+)?")

PSEUDOCOUNT = 0.1
"""Added to both means of a fold change, in counts of a cell scaled to ``cells.target_sum``."""


def is_ensembl(name: str) -> bool:
    """Tell whether a name is an Ensembl gene id, with or without its version."""
    return _ENSEMBL.fullmatch(name) is not None


def _without_version(name: str) -> str:
    return name.partition(".")[0] if is_ensembl(name) else name


def audit_gene_names(genes: np.ndarray, path: str) -> list[Finding]:
    """Find genes without a name or with one twice, and ids among symbols."""
    findings = []
    if repeated := duplicates(genes):
        findings.append(
            Finding(
                "error",
                "duplicate-genes",
                f"{path}: {len(repeated)} gene names occur more than once "
                f"({listing(repeated, 5)}); make them unique (anndata's var_names_make_unique), or "
                "name another column of var with cells.gene_names (index: its index)",
                tuple(repeated),
            )
        )
    if nameless := sum(not str(gene).strip() or str(gene) == "nan" for gene in genes):
        findings.append(
            Finding(
                "error",
                "nameless-genes",
                f"{path}: {nameless} genes have no name; fill them in, or name another column of "
                "var with cells.gene_names",
            )
        )
    return findings


def compare_genes(
    genes: np.ndarray, path: str, first: np.ndarray, first_path: str, policy: str
) -> list[Finding]:
    """Compare a file's genes with those of the first file.

    Parameters
    ----------
    policy
        ``cells.genes``: same, or intersection.
    """
    if np.array_equal(genes, first):
        return []
    here, there = sorted(set(genes) - set(first)), sorted(set(first) - set(genes))
    if not here and not there:
        text = f"{path}: the same genes as {first_path} in another order; aligned by name"
        return [Finding("note", "gene-order", text)]
    differ = (
        f"{len(here)} are only here ({listing(here, 5)}), {len(there)} only there "
        f"({listing(there, 5)})"
    )
    common = len(set(genes) & set(first))
    kinds = [sum(map(is_ensembl, names)) > len(names) / 2 for names in (genes, first)]
    if kinds[0] != kinds[1]:
        words = ["Ensembl ids" if kind else "symbols" for kind in kinds]
        text = (
            f"{path}: its genes are {words[0]}, those of {first_path} are {words[1]}; name the "
            "column of var that holds the same kind in all files with cells.gene_names"
        )
        return [Finding("error", "gene-ids-and-symbols", text)]
    if policy == "intersection" and common:
        text = (
            f"{path}: its genes are not those of {first_path}: {differ}; what isn't in every file "
            "is left out (cells.genes=intersection)"
        )
        return [Finding("note", "genes-dropped", text, (*here, *there))]
    way = "bring the files to the same genes"
    if common:
        way += f", or keep the {common} that both have with cells.genes=intersection"
    text = f"{path}: its genes are not those of {first_path}: {differ}; {way}"
    return [Finding("error", "genes-differ", text, (*here, *there))]


def audit_targets(targets: Collection[str], genes: np.ndarray) -> list[Finding]:
    """Say how many perturbed genes are measured; the scorers leave out metrics where none is."""
    lacking = sorted(set(targets) - set(genes))
    bare = {_without_version(str(gene)): str(gene) for gene in genes}
    if meant := {name: bare[key] for name in lacking if (key := _without_version(name)) in bare}:
        text = (
            f"{len(meant)} of {len(targets)} targets are measured genes but for the version of "
            f"the Ensembl id: {listing((f'{name} ({gene})' for name, gene in meant.items()), 5)}; "
            "write both alike, or name another column of var with cells.gene_names"
        )
        return [Finding("warning", "targets-versioned", text, tuple(meant))]
    if len(lacking) < len(targets):
        text = (
            f"{len(lacking)} of {len(targets)} targets are no measured gene: {listing(lacking, 8)}"
        )
        return [Finding("note", "targets-not-measured", text, tuple(lacking))] if lacking else []
    ids = np.mean([is_ensembl(str(gene)) for gene in genes]) if len(genes) else 0.0
    if ids > 0.5 and targets and not any(map(is_ensembl, targets)):
        text = (
            "genes are Ensembl ids and perturbations are not, so that no target is found among "
            "them; name the column of var that holds symbols with cells.gene_names"
        )
        return [Finding("warning", "targets-are-no-genes", text)]
    return []


def knockdowns(
    matrix: scipy.sparse.csr_matrix,
    labels: pd.DataFrame,
    genes: np.ndarray,
    control: str,
    values: str,
    target_sum: float,
) -> list[dict[str, Any]]:
    """Return the fold change of each measured target in the cells where it was perturbed.

    log2 of (mean in those cells + `PSEUDOCOUNT`) over (mean in the controls of the context +
    `PSEUDOCOUNT`), of counts scaled to ``target_sum`` a cell.

    Parameters
    ----------
    matrix
        Rows as the file has them [rows, genes].
    labels
        Their context and perturbation.
    values
        What the matrix holds: counts or log1p.
    """
    column = {str(gene): at for at, gene in enumerate(genes)}
    by_label = targets_of([str(name) for name in labels["perturbation"].unique()], control)
    pairs = [(name, t) for name, targets in by_label.items() for t in targets if t in column]
    if not pairs:
        return []
    wanted = {target: at for at, target in enumerate(dict.fromkeys(t for _, t in pairs))}
    scaled = matrix[:, [column[t] for t in wanted]].astype(np.float64)
    if values == "counts":
        totals = np.asarray(matrix.sum(axis=1, dtype=np.float64)).ravel()
        scaled = scipy.sparse.diags(target_sum / np.maximum(totals, 1.0)) @ scaled
    else:
        scaled.data = np.expm1(scaled.data)
    groups = labels.groupby(["context", "perturbation"], observed=True)
    numbers = groups.ngroup().to_numpy()
    names = groups.size().index.to_frame(index=False).astype(str)
    group_of = {
        pair: at
        for at, pair in enumerate(zip(names["context"], names["perturbation"], strict=True))
    }
    members = (np.ones(len(numbers)), (numbers, np.arange(len(numbers))))
    sums = scipy.sparse.csr_matrix(members, shape=(len(group_of), len(numbers))) @ scaled
    sizes = np.bincount(numbers)
    table = []
    for context in dict.fromkeys(context for context, _ in group_of):
        controls = group_of.get((context, control))
        for name, target in pairs:
            cells, at = group_of.get((context, name)), wanted[target]
            if controls is None or cells is None:
                continue
            control_mean = float(sums[controls, at] / sizes[controls])
            mean = float(sums[cells, at] / sizes[cells])
            change = np.log2((mean + PSEUDOCOUNT) / (control_mean + PSEUDOCOUNT))
            table.append(
                {
                    "context": context,
                    "perturbation": name,
                    "target": target,
                    "n_cells": int(sizes[cells]),
                    "n_controls": int(sizes[controls]),
                    "control_mean": control_mean,
                    "log2_fold_change": float(change),
                }
            )
    return table
