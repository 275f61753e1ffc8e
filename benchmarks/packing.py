"""Packing h5ad files: speed beside a plain copy of the same bytes, peak memory, size.

Example:

    python benchmarks/packing.py

Each packing is a process of its own, which tells the largest resident memory that the kernel saw.
The h5ad files are uncompressed and in the system's cache, as they were just written.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from screens import write_screen

from workflow_scripts.command import command_parser

ROOT = Path(__file__).resolve().parents[1]

PACK = """
import json, resource, sys, time
from pathlib import Path
import workflow_scripts.cells.packing as packing
from workflow_scripts.cells.annotations import Columns
from workflow_scripts.cells.cell_settings import CellSettings
settings = CellSettings(Columns("gene", "cell_type", "gem_group"), "control", "auto", 1e4)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
manifest = packing.pack_cells({"screen": {"s": sys.argv[1]}}, settings, Path(sys.argv[2]))
print(json.dumps({
    "seconds": time.perf_counter() - start,
    "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    "imports": before * 1024,
    "bytes": sum(entry["bytes"] for entry in manifest["files"].values()),
}))
"""


def main() -> None:
    """Make each file, copy it, pack it, print a row."""
    parser = command_parser("python benchmarks/packing.py", __doc__)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="part of the cells; a small one tries the code out"
    )
    given = parser.parse_args()
    print("| cells | values | | h5ad, MB | store, MB | seconds | MB/s | copy, MB/s | peak memory |")
    print("|---|---|---|---|---|---|---|---|---|")
    folder = Path(tempfile.mkdtemp(prefix="packing-"))
    try:
        for n_cells, n_values in ((100_000, 4_000), (1_000_000, 500)):
            for logged in (False, True):
                _row(folder, round(n_cells * given.scale), n_values, logged=logged)
    finally:
        shutil.rmtree(folder)


def _row(folder: Path, n_cells: int, n_values: int, *, logged: bool) -> None:
    path, store = folder / "screen.h5ad", folder / "store"
    write_screen(path, n_cells, n_values, logged=logged)
    start = time.perf_counter()
    shutil.copyfile(path, folder / "copy")
    copied = time.perf_counter() - start
    (folder / "copy").unlink()
    done = subprocess.run(
        [sys.executable, "-c", PACK, str(path), str(store)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    found = json.loads(done.stdout.splitlines()[-1])
    size = path.stat().st_size
    print(
        f"| {n_cells:,} | {n_values:,} | {'log1p' if logged else 'counts'} | {size / 1e6:,.0f} | "
        f"{found['bytes'] / 1e6:,.0f} | {found['seconds']:.1f} | "
        f"{size / found['seconds'] / 1e6:.0f} | {size / copied / 1e6:,.0f} | "
        f"{found['peak'] / 1e9:.2f} GB ({found['imports'] / 1e9:.2f} imports) |",
        flush=True,
    )
    shutil.rmtree(store)
    path.unlink()


if __name__ == "__main__":
    main()
