"""Choosing genes and reading the chosen ones, beside reading all of them.

Usage: python benchmarks/genes.py [--cells 25000]

The screen is that of benchmarks/cells.py: 18,080 genes, 4,000 values a cell, raw counts. Reading:
pairs of cells a second, one process, sets of 128 cells, 16 sets a step, medians of five rounds in
which all and 2,000 genes take turns. Choosing: each number of cells in a process of its own, its
peak resident memory and the seconds from the opened store to the selection.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from cells import N_GENES, SET_SIZE, SETS, pack, read_steps, sampler_of, write_screen

CHOOSE = """
import resource, sys, time
from pathlib import Path
from workflow_scripts.cells.gene_choice import GeneChoice
from workflow_scripts.cells.gene_selection import select_variable
from workflow_scripts.cells.store import CellStore
store = CellStore.open(Path(sys.argv[1]))
keys = ["dataset", "file", "context", "perturbation"]
splits = store.cells[keys].drop_duplicates().assign(split="train")
start = time.perf_counter()
choice = GeneChoice("hvg", 2000, True, None)
select_variable(store, splits, choice, flavor="seurat", sample_cells=int(sys.argv[2]))
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(f"| {int(sys.argv[2]):,} | {peak:.2f} GB | {seconds:.1f} |")
"""


def main() -> None:
    """Make the data, measure, print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=25_000)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="genes-"))
    try:
        _measure(folder, given.cells)
    finally:
        shutil.rmtree(folder)


def _measure(folder: Path, n_cells: int) -> None:
    write_screen(folder / "screen.h5ad", n_cells, 4_000, logged=False)
    store = pack(folder / "screen.h5ad", folder / "store")
    chosen = np.random.default_rng(0).permutation(store.genes)[:2_000]
    stores = {"all genes": store, "2,000 genes": store.select(list(chosen))}
    sampler, rates = sampler_of(store), {name: [] for name in stores}
    buffers = {
        name: np.zeros((2 * SETS * SET_SIZE, view.n_genes), dtype=np.float32)
        for name, view in stores.items()
    }
    for turn in range(6):  # the first one warms up
        for name, view in stores.items():
            rate = read_steps(view, sampler, buffers[name], range(turn * 4, turn * 4 + 4))
            if turn:
                rates[name].append(rate)
    print("| reading | pairs/s | bytes of a dense pair |\n|---|---|---|")
    for name, view in stores.items():
        print(f"| {name} | {statistics.median(rates[name]):,.0f} | {8 * view.n_genes:,} |")
    print(f"\n| cells looked at, {N_GENES:,} genes | peak memory | seconds |\n|---|---|---|")
    for sample_cells in (1_000, 5_000, 10_000, 20_000):
        command = [sys.executable, "-W", "ignore", "-c", CHOOSE, str(folder / "store")]
        command[-1] += "/manifest.json"
        done = subprocess.run(
            [*command, str(sample_cells)], capture_output=True, text=True, check=True
        )
        print(done.stdout.strip())


if __name__ == "__main__":
    main()
