"""Choose the genes that a run reads, of those that are packed."""

from __future__ import annotations

import json
from pathlib import Path

from workflow_scripts.cells.gene_choice import GeneChoice
from workflow_scripts.command import run_command
from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.slices import Slice
from workflow_scripts.stage import Cells, Output, stage


@stage("genes")
def select_genes(settings: Slice, cells: Cells, splits: Path, genes: Output, table: Output) -> None:
    """Choose the genes that a run reads, and write what is known of all genes.

    Parameters
    ----------
    cells
        Manifest of the packed cells (JSON).
    splits
        Split of each group (Parquet).
    genes
        Chosen genes, to write (JSON).
    table
        What is known of all genes, to write (TSV).
    """
    import pandas as pd

    from workflow_scripts.cells.gene_selection import select_listed, select_variable
    from workflow_scripts.cells.store import CellStore

    choice, flavor = GeneChoice.from_slice(settings), settings["genes.flavor"]
    sample_cells = settings["genes.sample_cells"]
    store = CellStore.open(cells)
    if choice.select == "list":
        selection = select_listed(store, choice)
    elif choice.select == "hvg":
        groups = pd.read_parquet(splits)
        selection = select_variable(store, groups, choice, flavor=flavor, sample_cells=sample_cells)
    else:
        raise ConfigError("genes.select is all: there is nothing to choose; set hvg or list")
    selection.table.to_csv(table, sep="\t", index=False)
    genes.write_text(json.dumps(selection.record, indent=1) + "\n", encoding="utf-8")
    print(selection.record["sentence"])


if __name__ == "__main__":
    run_command(select_genes)
