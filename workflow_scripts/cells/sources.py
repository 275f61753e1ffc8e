"""Read of every h5ad file what packing needs to know before its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.cells.annotations import open_h5ad, read_barcodes, read_labels
from workflow_scripts.cells.blocks import CellBlocks
from workflow_scripts.cells.cell_settings import CellSettings
from workflow_scripts.cells.embeddings import check_widths, find_embedding
from workflow_scripts.cells.matrices import find_matrix
from workflow_scripts.cells.sampled import sample_rows
from workflow_scripts.cells.values import Values, ValueSummary, decide_values
from workflow_scripts.errors import DataError
from workflow_scripts.settings.findings import listing


@dataclass
class Source:
    """A file, and where its cells stand in it.

    Attributes
    ----------
    dataset, label, path
        Which file.
    order
        Columns of its matrix, in the order of the store's genes.
    values
        counts or log1p, as a sample of them says.
    lengths
        Values stored of each cell, at most [n_cells].
    cells
        Labels and names, one row a cell.
    embedding_dim
        Width of its embedding; 0 where none is asked for.
    dealt_bytes
        What reading it by cells takes of the disk meanwhile.
    total, digest
        Sum and content digest of each cell, filled while it is written [n_cells].
    """

    dataset: str
    label: str
    path: str
    order: np.ndarray
    values: Values
    lengths: np.ndarray
    cells: pd.DataFrame
    embedding_dim: int
    dealt_bytes: int
    total: np.ndarray
    digest: np.ndarray

    @property
    def n_cells(self) -> int:
        """Number of its cells."""
        return len(self.cells)


def plan_sources(
    datasets: Mapping[str, Mapping[str, str]], settings: CellSettings, folder: Path
) -> tuple[list[Source], np.ndarray]:
    """Read of every file what isn't its values; return the sources and the store's genes."""
    genes = _common_genes(datasets, settings)
    sources: list[Source] = []
    for dataset, files in datasets.items():
        for label, path in files.items():
            sources.append(_plan_file(dataset, label, path, genes, settings, folder))
            print(f"{path}: {sources[-1].n_cells} cells of {sources[-1].values}", flush=True)
    if len({source.values for source in sources}) > 1:
        counts = listing(source.path for source in sources if source.values == "counts")
        raise DataError(
            f"raw counts in {counts}, and log1p values in the other files; make them the same"
        )
    if settings.embedding is not None:
        check_widths({source.path: source.embedding_dim for source in sources}, settings.embedding)
    return sources, genes


def _common_genes(datasets: Mapping[str, Mapping[str, str]], settings: CellSettings) -> np.ndarray:
    """Return the store's genes: the first file's, or those of them that every file has."""
    names = []
    for files in datasets.values():
        for path in files.values():
            with open_h5ad(path) as file:
                names.append(find_matrix(file, settings.matrix).genes)
    if not names:
        raise DataError("no file to pack; see cells_audit.json of the run")
    if len(names[0]) > np.iinfo(np.int32).max:
        raise DataError(f"{len(names[0])} genes: the store numbers them with 31 bits")
    if settings.genes == "same":
        return names[0]
    common = set(names[0]).intersection(*names[1:])
    kept: np.ndarray = names[0][[name in common for name in names[0]]]
    return kept


def _plan_file(
    dataset: str, label: str, path: str, genes: np.ndarray, settings: CellSettings, folder: Path
) -> Source:
    with open_h5ad(path) as file:
        matrix = find_matrix(file, settings.matrix)
        own = matrix.genes
        wider = settings.genes == "intersection"
        fits = set(genes) <= set(own) if wider else set(own) == set(genes)
        if not fits or len(set(own)) != len(own):
            raise DataError(
                f"{path}: its genes are not those of the first file; see cells_audit.json"
            )
        position = {gene: at for at, gene in enumerate(own)}
        labels = read_labels(file, settings.columns, settings.control).astype(object)
        cells = labels.assign(
            dataset=dataset,
            file=label,
            is_control=labels["perturbation"] == settings.control,
            barcode=read_barcodes(file),
            source_row=np.arange(matrix.n_cells, dtype=np.int64),
        )
        # What a sample says is settled by all values once they have been read.
        sample = sample_rows(matrix, np.zeros(matrix.n_cells, dtype=np.int64))
        summary = ValueSummary()
        summary.add(sample.matrix.data)
        blocks = CellBlocks(matrix, folder / "dealt")
        width = 0
        if settings.embedding is not None:
            width = find_embedding(file, settings.embedding, matrix.n_cells).n_genes
    return Source(
        dataset,
        label,
        path,
        np.array([position[gene] for gene in genes], dtype=np.int64),
        decide(summary, path, settings),
        blocks.lengths,
        cells,
        width,
        blocks.dealt_bytes,
        np.zeros(len(cells)),
        np.zeros(len(cells), dtype=np.uint64),
    )


def decide(summary: ValueSummary, path: str, settings: CellSettings) -> Values:
    """Return what the values of a file are; DataError where they can't be used."""
    where, all_genes = f"{path}: {settings.matrix.place}", settings.matrix.obsm is None
    return decide_values(summary, settings.values, where, all_genes=all_genes)
