"""Choose the genes that a run reads: a list, or the most variable ones of its training cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import scipy.sparse
from jaxtyping import Int64

from workflow_scripts.cache.digests import canonical_json, text_digest
from workflow_scripts.cells.gene_choice import KEY, GeneChoice
from workflow_scripts.cells.gene_names import check_genes
from workflow_scripts.cells.splits import used_targets
from workflow_scripts.cells.store import CellStore
from workflow_scripts.errors import DataError

TRAINING = ("train", "control")
"""Splits whose cells train: what is held out may not decide which genes there are."""

_KEYS = ["dataset", "file", "context", "perturbation"]
_BLOCK = 1024
"""Cells read at once: what reading needs beside the matrix stays small."""


@dataclass(frozen=True)
class GeneSelection:
    """Genes that were chosen, and how.

    Attributes
    ----------
    record
        JSON: ``genes`` (their names, in the store's order), ``digest`` of the names, ``sentence``,
        and how they were chosen.
    table
        One row a gene of the store: gene, chosen (listed, highly variable, target, or empty), and
        scanpy's statistics where it looked at them.
    """

    record: dict[str, Any]
    table: pd.DataFrame


def select_listed(store: CellStore, choice: GeneChoice) -> GeneSelection:
    """Take the genes of ``choice.file``.

    Raises
    ------
    DataError
        Where the file can't be read, or isn't a selection of the store's genes.
    """
    names = choice.listed()
    check_genes(names, store.genes, f"{choice.file} ({KEY})")
    chosen = np.where(pd.Index(store.genes).isin(names), "listed", "")
    file = Path(choice.file or "").name
    return _selection(store, chosen, f"the list {file}", {"select": "list", "file": file})


def select_variable(
    store: CellStore, splits: pd.DataFrame, choice: GeneChoice, *, flavor: str, sample_cells: int
) -> GeneSelection:
    """Find the genes that vary most over the training cells, as scanpy ranks them.

    Parameters
    ----------
    store, splits
        Packed cells, and the split of each group.
    choice
        How many, and whether measured targets are added: those of held-out perturbations too, by
        their names alone.
    flavor
        Of ``scanpy.pp.highly_variable_genes``.
    sample_cells
        Cells that it looks at, at most. Beyond it every so many-th training cell in the store's
        order is taken: alike from all groups, and the same ones every time.

    Raises
    ------
    DataError
        Where nothing trains, or scanpy can't rank the genes.
    """
    rows = training_rows(store.cells, splits)
    looked_at = rows
    if len(rows) > sample_cells:
        looked_at = rows[np.linspace(0, len(rows) - 1, sample_cells).astype(np.int64)]
    statistics = _rank(store, looked_at, choice.n_top, flavor)
    variable = statistics.pop("highly_variable").to_numpy(dtype=bool)
    targets = np.zeros(store.n_genes, dtype=bool)
    if choice.keep_targets:
        targets = pd.Index(store.genes).isin(used_targets(splits, store.manifest["control"]))
    chosen = np.where(variable, "highly variable", np.where(targets, "target", ""))
    added = [str(gene) for gene in store.genes[targets & ~variable]]
    of = f" of {len(rows):,}" if len(looked_at) < len(rows) else ""
    how = (
        f"{variable.sum():,} highly variable in {len(looked_at):,}{of} training cells "
        f"(scanpy, {flavor})"
    )
    if choice.keep_targets:
        how += f", {len(added):,} other targets added"
    record = {
        "select": "hvg",
        "n_top": choice.n_top,
        "flavor": flavor,
        "scanpy": version("scanpy"),
        "n_highly_variable": int(variable.sum()),
        "n_cells_looked_at": len(looked_at),
        "n_training_cells": len(rows),
        "keep_targets": choice.keep_targets,
        "targets_added": added,
    }
    return _selection(store, chosen, how, record, statistics)


def training_rows(cells: pd.DataFrame, splits: pd.DataFrame) -> Int64[np.ndarray, " rows"]:
    """Return the rows of the store whose cells train, controls that train among them."""
    number = cells.groupby(_KEYS, observed=True, sort=False).ngroup().to_numpy()
    groups = cells[_KEYS].drop_duplicates().astype(str)  # in the order of their numbers
    named = groups.merge(
        splits[[*_KEYS, "split"]].astype(str), on=_KEYS, how="left", validate="one_to_one"
    )
    return np.flatnonzero(named["split"].isin(TRAINING).to_numpy()[number])


def _rank(
    store: CellStore, rows: Int64[np.ndarray, " rows"], n_top: int, flavor: str
) -> pd.DataFrame:
    """Return scanpy's statistics of every gene, and which genes are highly variable."""
    if len(rows) < 2:
        raise DataError(
            "genes.select=hvg: fewer than two cells train, so that no gene varies; see "
            "splits_audit.json of the run"
        )
    # Only here: it takes seconds, and a list needs none of it.
    import scanpy

    blocks = [store.sparse(rows[at : at + _BLOCK]) for at in range(0, len(rows), _BLOCK)]
    matrix = scipy.sparse.vstack(blocks, format="csr")
    del blocks
    adata = anndata.AnnData(matrix, var=pd.DataFrame(index=pd.Index(store.genes.astype(str))))
    try:
        table: pd.DataFrame = scanpy.pp.highly_variable_genes(
            adata, n_top_genes=n_top, flavor=flavor, inplace=False
        )
    except (ValueError, IndexError) as error:
        idle = int((matrix.getnnz(axis=0) == 0).sum())
        reason = str(error).partition(":")[0]
        raise DataError(
            f"genes.flavor={flavor}: scanpy can't rank the genes ({reason}); {idle:,} of "
            f"{store.n_genes:,} have no count in the {len(rows):,} training cells it looked at, "
            "and cell_ranger can't make its bins of many such: choose seurat"
        ) from error
    return table[["highly_variable", "means", "dispersions", "dispersions_norm"]].reset_index(
        drop=True
    )


def _selection(
    store: CellStore,
    chosen: Sequence[str] | np.ndarray,
    how: str,
    record: dict[str, Any],
    statistics: pd.DataFrame | None = None,
) -> GeneSelection:
    table = pd.DataFrame({"gene": store.genes.astype(str), "chosen": chosen})
    names = table.loc[table["chosen"] != "", "gene"].tolist()
    if statistics is not None:
        table = pd.concat([table, statistics], axis=1)
    whole = {
        "digest": text_digest(canonical_json(names)),
        "sentence": f"{len(names):,} of {store.n_genes:,} genes: {how}",
        "n_genes": len(names),
        "n_measured": store.n_genes,
        **record,
        "genes": names,
    }
    return GeneSelection(whole, table)
