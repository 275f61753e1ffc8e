r"""Choose the genes that a run reads of its packed cells, and write down how they were chosen.

Highly variable genes are found on training cells alone, controls that train among them.

Example:

    python -m workflow_scripts.select_genes --settings results/mine/stages/genes.json \
        --cells cache/cells/…/manifest.json --splits results/mine/splits.parquet \
        --genes genes.json --table genes.tsv
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.cache.writing import publish_text, publishing
from workflow_scripts.cells.gene_choice import GeneChoice
from workflow_scripts.command import command_parser, run_command
from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.slices import read_settings


def main(arguments: Sequence[str]) -> None:
    """Choose the genes; write the selection and the table of all genes."""
    parser = command_parser("python -m workflow_scripts.select_genes", __doc__)
    parser.add_argument("--settings", type=Path, required=True, help="stage file of genes")
    parser.add_argument(
        "--cells", type=Path, required=True, help="manifest of the packed cells (JSON)"
    )
    parser.add_argument("--splits", type=Path, required=True, help="split of each group (Parquet)")
    parser.add_argument("--genes", type=Path, required=True, help="chosen genes, to write (JSON)")
    parser.add_argument(
        "--table", type=Path, required=True, help="what is known of all genes, to write (TSV)"
    )
    given = parser.parse_args(arguments)
    # Only now: --help and mistyped options needn't wait for these.
    import pandas as pd

    from workflow_scripts.cells.gene_selection import select_listed, select_variable
    from workflow_scripts.cells.store import CellStore

    settings = read_settings(given.settings)
    choice, flavor = GeneChoice.from_slice(settings), settings["genes.flavor"]
    sample_cells = settings["genes.sample_cells"]
    store = CellStore.open(given.cells)
    if choice.select == "list":
        selection = select_listed(store, choice)
    elif choice.select == "hvg":
        splits = pd.read_parquet(given.splits)
        selection = select_variable(store, splits, choice, flavor=flavor, sample_cells=sample_cells)
    else:
        raise ConfigError("genes.select is all: there is nothing to choose; set hvg or list")
    with publishing(given.table) as beside:
        selection.table.to_csv(beside, sep="\t", index=False)
    publish_text(given.genes, json.dumps(selection.record, indent=1) + "\n")
    print(selection.record["sentence"])


if __name__ == "__main__":
    run_command(main)
