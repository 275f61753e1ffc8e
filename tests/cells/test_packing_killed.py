"""A packing that is killed leaves no store, and the next one makes it whole."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workflow_scripts.cells.store import CellStore

ROOT = Path(__file__).parents[2]
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


def start(folder: Path, screen: Path) -> subprocess.Popen[bytes]:
    settings = json.dumps({**SLICE, "datasets": {"d": {screen.name: str(screen)}}})
    audit = folder.with_suffix(".json")
    audit.write_text('{"findings": []}')
    options = ["--settings", settings, "--audit", audit, "--manifest", folder / "manifest.json"]
    command = [sys.executable, "-m", "workflow_scripts.pack_cells", *map(str, options)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("file", ["values.npy", "cells.parquet"])
def test_killed_packing_leaves_nothing_that_could_be_taken_for_a_store(tmp_path, make_screen, file):
    screen = make_screen(genes=[f"g{number}" for number in range(3000)], cells_per_group=60)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert start(undisturbed, screen).wait() == 0
    process = start(killed, screen)
    while not list(killed.glob(f"*/unfinished/{file}")):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "manifest.json").exists()
    assert start(killed, screen).wait() == 0
    first, second = (CellStore.open(f / "manifest.json") for f in (undisturbed, killed))
    assert first.manifest["digest"] == second.manifest["digest"]
    (work,) = (path for path in killed.iterdir() if path.is_dir())
    assert not (work / "unfinished").exists()
