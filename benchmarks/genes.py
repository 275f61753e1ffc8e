"""Choosing genes: memory and time by the number of cells that are looked at.

Example:

    python benchmarks/genes.py

The screen has 18,080 genes and 4,000 raw counts a cell. Each number of cells is a process of its
own: its peak resident memory, and the seconds from the opened store to the selection. What reading
the chosen genes costs is in benchmarks/cells.py.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cells import N_GENES, ROOT, pack
from screens import write_screen

from workflow_scripts.command import command_parser

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
    """Make the data, measure, print a table."""
    parser = command_parser("python benchmarks/genes.py", __doc__)
    parser.add_argument("--cells", type=int, default=25_000, help="cells of the screen")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="genes-"))
    try:
        write_screen(folder / "screen.h5ad", given.cells, 4_000, logged=False, n_genes=N_GENES)
        store = pack(folder / "screen.h5ad", folder / "store")
        print(f"\n| cells looked at, {N_GENES:,} genes | peak memory | seconds |\n|---|---|---|")
        for sample_cells in (1_000, 5_000, 10_000, 20_000):
            command = [sys.executable, "-W", "ignore", "-c", CHOOSE, str(store.path)]
            done = subprocess.run(
                [*command, str(sample_cells)], capture_output=True, text=True, cwd=ROOT, check=False
            )
            if done.returncode:
                raise SystemExit(done.stderr)
            print(done.stdout.strip())
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
