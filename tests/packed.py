"""The command pack_cells on a screen, as its rule calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SLICE = {
    "identity": {
        "data.kwargs.pert_col": "gene",
        "data.kwargs.cell_type_key": "cell_type",
        "data.kwargs.batch_col": "gem_group",
        "data.kwargs.control_pert": "control",
        "data.kwargs.embed_key": None,
        "cells.values": "auto",
        "cells.target_sum": 10_000.0,
        "cells.genes": "same",
        "cells.layer": None,
        "cells.gene_names": None,
    },
    "extent": {},
}


def pack_arguments(folder: Path, screen: Path, store: Path | None = None) -> list[str]:
    """Return the options that pack a screen; the manifest goes into ``folder``."""
    audit = folder.with_suffix(".json")
    audit.write_text('{"findings": []}')
    files = folder.with_name(f"{folder.name}-files.json")
    files.write_text(json.dumps({**SLICE, "datasets": {"d": {screen.name: str(screen)}}}))
    return [
        *("--cell-files", str(files), "--audit", str(audit)),
        *("--manifest", str(folder / "manifest.json"), "--store", str(store or folder)),
    ]


def start_packing(
    folder: Path, screen: Path, store: Path | None = None, *, log: Path = Path(os.devnull)
) -> subprocess.Popen[bytes]:
    """Start the packing of a screen in a process of its own."""
    arguments = pack_arguments(folder, screen, store)
    with log.open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "workflow_scripts.pack_cells", *arguments],
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
