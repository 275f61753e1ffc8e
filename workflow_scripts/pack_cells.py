"""Pack the h5ad files of a run into one memory-mapped store that all runs on them share."""

from __future__ import annotations

import json
from pathlib import Path

from workflow_scripts.cells.manifest import Manifest, write_manifest
from workflow_scripts.cells.shared_store import shared_store
from workflow_scripts.command import run_command
from workflow_scripts.errors import DataError
from workflow_scripts.settings.findings import from_dicts, has_errors, render
from workflow_scripts.stage import Folder, Output, stage


@stage("cells", kept=False)
def pack_cells(cell_files: Path, audit: Path, store: Folder, manifest: Output) -> None:
    """Pack the h5ad files of a run into one memory-mapped store that all runs on them share.

    Parameters
    ----------
    cell_files
        Files of the cells, and how to read them (JSON).
    audit
        Audit of the cells (JSON).
    store
        Folder of stores, which any number of working directories may share.
    manifest
        Where the store is and what it holds, to write (JSON).
    """
    findings = from_dicts(json.loads(audit.read_text())["findings"])
    if has_errors(findings):
        raise DataError(f"{audit}: the cells can't be packed\n{render(findings)}")
    folder = shared_store(json.loads(cell_files.read_text()), store)
    packed = Manifest.read(folder / "manifest.json").content
    beside = store.resolve() == manifest.parent.resolve()
    place = folder.name if beside else str(folder.resolve())
    write_manifest({**packed, "folder": place}, manifest)


if __name__ == "__main__":
    run_command(pack_cells)
