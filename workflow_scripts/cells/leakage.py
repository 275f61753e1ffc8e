"""Find cells that stand in the data twice, and those that train under one of their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse

from workflow_scripts.cells.digests import LEAST_VALUES, gene_keys, row_digests
from workflow_scripts.cells.groups import Group, make_groups
from workflow_scripts.cells.store import CellStore
from workflow_scripts.errors import DataError
from workflow_scripts.settings.findings import Finding, listing

_GROUP = ["dataset", "file", "context", "perturbation"]
_CELL = [*_GROUP, "barcode", "source_row"]
TWIN_COLUMNS = [*_CELL, "digest"]

MOST_NAMESAKES = 2000
"""Names that occur more than once of which the cells are compared before packing."""

_ENDINGS = r"(?:[-_.]\d+)+$"
"""What concatenation appends to barcodes: AAAC-1, AAAC-1-0."""


@dataclass(frozen=True)
class CellNames:
    """Names of a file's cells, in the little room that a million of them may take.

    Attributes
    ----------
    names
        Hash of each barcode without its ending [n_cells], uint64.
    lengths
        Values stored of each cell [n_cells]; None where the format doesn't tell.
    """

    names: np.ndarray
    lengths: np.ndarray | None


def cell_names(barcodes: np.ndarray, lengths: np.ndarray | None) -> CellNames:
    """Return what tells which cells may be copies of one another."""
    stems = pd.Series(barcodes, dtype=object).str.replace(_ENDINGS, "", regex=True)
    return CellNames(pd.util.hash_array(stems.to_numpy(dtype=object)), lengths)


def namesakes(files: Sequence[CellNames]) -> list[np.ndarray]:
    """Return the rows of each file whose name occurs again, there or in another file.

    Barcodes come from lists of a few millions, so that some occur twice by chance: a cell is a
    namesake only where as many values are stored of it, if that is known of all files.
    """
    if not files:
        return []
    keys = [file.names.copy() for file in files]
    if all(file.lengths is not None for file in files):
        for key, file in zip(keys, files, strict=True):
            key ^= pd.util.hash_array(np.asarray(file.lengths, dtype=np.int64))
    table = pd.DataFrame(
        {
            "file": np.repeat(np.arange(len(keys)), [len(key) for key in keys]),
            "row": np.concatenate([np.arange(len(key)) for key in keys]),
            "key": np.concatenate(keys),
        }
    )
    table = table[table["key"].duplicated(keep=False)]
    chosen = np.unique(table["key"])[:MOST_NAMESAKES]
    table = table[table["key"].isin(chosen)]
    return [np.sort(table.loc[table["file"] == at, "row"].to_numpy()) for at in range(len(keys))]


def digests_of(
    matrix: scipy.sparse.csr_matrix, genes: np.ndarray, cells: pd.DataFrame
) -> pd.DataFrame:
    """Return cells (one row each, beside the matrix's) with their digests; sparse ones left out."""
    enough = np.diff(matrix.indptr) >= LEAST_VALUES
    digests: pd.DataFrame = cells.assign(digest=row_digests(matrix, gene_keys(genes)))[enough]
    return digests


def find_twins(digests: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the cells whose content occurs more than once, those of one content together.

    Parameters
    ----------
    digests
        What `digests_of` gave for each file, columns `TWIN_COLUMNS`; a cell may stand there twice.
    """
    if not digests:
        return pd.DataFrame({column: [] for column in TWIN_COLUMNS})
    cells = pd.concat(digests, ignore_index=True)[TWIN_COLUMNS]
    cells = cells.drop_duplicates(["dataset", "file", "source_row"])
    twins = cells[cells["digest"].duplicated(keep=False)]
    return twins.sort_values(
        ["digest", "dataset", "file", "source_row"], kind="stable", ignore_index=True
    )


def describe_twins(twins: pd.DataFrame) -> list[Finding]:
    """Warn of cells that have one content."""
    if twins.empty:
        return []
    by_digest = (twins["file"] + ":" + twins["barcode"]).groupby(twins["digest"], sort=False)
    shown = [" = ".join(names) for _, names in by_digest]
    text = (
        f"{len(twins)} cells have the very values of another one: {listing(shown, 5)}; remove the "
        "copies, or one trains while the other tests"
    )
    return [Finding("warning", "equal-cells", text, tuple(shown))]


def leaks(splits: pd.DataFrame, twins: pd.DataFrame) -> list[Finding]:
    """Find held-out cells whose content is among the training cells.

    Parameters
    ----------
    splits
        The split of every group.
    twins
        Cells whose content another cell has too, columns `TWIN_COLUMNS`.
    """
    if twins.empty:
        return []
    cells = twins.merge(splits[[*_GROUP, "split"]], on=_GROUP, how="left")
    # Whoever is held out must not be among those that train: controls train as well.
    trains = cells[cells["split"].isin(["train", "control"])]
    held_out = cells[cells["split"].isin(["val", "test"])]
    both = held_out.merge(trains, on="digest", suffixes=("", "_trained"))
    return _leaked(both.drop_duplicates(["dataset", "file", "source_row"]))


def refuse_leaks_of_others(
    trained_on: CellStore, splits: pd.DataFrame, store: CellStore, asked: pd.DataFrame
) -> None:
    """Refuse tested cells of another store that train under another context or perturbation.

    Those that train under their own names are no leak: what is claimed of them says it.

    Parameters
    ----------
    trained_on, splits
        The cells of the run, and the split of every group.
    store, asked
        The others, with the same genes, and the split of every group.

    Raises
    ------
    DataError
        Where there are such cells.
    """
    trains = make_groups(trained_on.cells, splits, "train", by_batch=False, controls=True)
    known = {(group.context, group.perturbation) for group in trains}
    tested = [
        group
        for group in make_groups(store.cells, asked, "test", by_batch=False, controls=False)
        if (group.context, group.perturbation) not in known
    ]
    held_out = _store_digests(store, tested)
    both = held_out.merge(
        _store_digests(trained_on, trains, held_out["digest"]),
        on="digest",
        suffixes=("", "_trained"),
    ).drop_duplicates("row")
    if len(both):
        for at, ending in ((store, ""), (trained_on, "_trained")):
            both["barcode" + ending] = at.barcodes[both["row" + ending]]
        raise DataError(_leaked(both.assign(split="test"))[0].message)


def _store_digests(
    store: CellStore, groups: Sequence[Group], wanted: pd.Series[int] | None = None
) -> pd.DataFrame:
    """Return the digests of cells of a store, of all or of those that are wanted."""
    rows = np.concatenate([np.empty(0, np.int64), *(group.rows for group in groups)])
    found = []
    for part in np.array_split(rows, len(rows) // 4096 + 1):
        cells = store.cells.iloc[part][["file", "context", "perturbation"]].assign(row=part)
        digests = digests_of(store.stored(part), store.genes, cells)
        found.append(digests if wanted is None else digests[digests["digest"].isin(wanted)])
    return pd.concat(found)


def _leaked(cells: pd.DataFrame) -> list[Finding]:
    named = [
        f"{row.file}:{row.barcode} ({row.context}/{row.perturbation}, {row.split}) = "
        f"{row.file_trained}:{row.barcode_trained} ({row.context_trained}/"
        f"{row.perturbation_trained})"
        for row in cells.itertuples()
    ]
    if not named:
        return []
    return [
        Finding(
            "error",
            "held-out-cells-train",
            f"{len(named)} held-out cells are among the training cells under another name: "
            f"{listing(named, 5)}; remove the copies from the files, or scores on them show "
            "nothing",
            tuple(named),
        )
    ]
