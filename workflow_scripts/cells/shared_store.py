"""The store of packed cells that all runs on the same files share; light, where it is packed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.cache.digests import stamp
from workflow_scripts.cache.identity import IdentityFolder
from workflow_scripts.cache.records import KnownDigests
from workflow_scripts.cells.manifest import KNOWN_DIGESTS, Manifest, write_manifest
from workflow_scripts.errors import DataError
from workflow_scripts.settings.slices import Slice
from workflow_scripts.settings.stages import identity_of


def shared_store(cell_files: Mapping[str, Any], parent: Path) -> Path:
    """Return the folder of packed cells; pack them, unless an earlier packing is as it was.

    Parameters
    ----------
    cell_files
        Files of the cells, and how to read them, as `cells_json` gives them.
    parent
        Folder of stores.
    """
    known = KnownDigests(parent / KNOWN_DIGESTS)
    sources = {
        f"{dataset}/{label}": _look_at(Path(path), known)
        for dataset, files in cell_files["datasets"].items()
        for label, path in files.items()
    }
    digests = {name: source["sha256"] for name, source in sources.items()}
    work = IdentityFolder(parent, identity_of("cells", cell_files["identity"], digests))
    # Without the lock first: a finished store may lie where this process can't write.
    if not _faults(work):
        print(f"packed before: {work.path}")
        return work.path
    # Several invocations may share the cache: one packs, the others wait and find it done.
    with work.lock():
        if faults := _faults(work):
            print(*(f"packing the cells: {fault}" for fault in faults), sep="\n", flush=True)
            _pack(cell_files, sources, work)
        else:
            print(f"packed by another process: {work.path}")
    return work.path


def _look_at(path: Path, known: KnownDigests) -> dict[str, Any]:
    """Return what tells a source from another file; its digest is known if it was read before."""
    size, time, _ = stamp(path)
    return {"bytes": size, "mtime_ns": time, "sha256": known.of(path)}


def _faults(work: IdentityFolder) -> list[str]:
    """Return why an earlier packing can't serve; nothing where it is as it was packed."""
    if not work.has_finished("manifest.json"):
        return [f"{work.path} has no finished packing of them"]
    try:
        return list(Manifest.read(work.path / "manifest.json").faults())
    except DataError as error:
        return [str(error)]


def _pack(
    cell_files: Mapping[str, Any], sources: Mapping[str, Mapping[str, Any]], work: IdentityFolder
) -> None:
    # Only now: cells that are already packed return without these seconds.
    from workflow_scripts.cells.cell_settings import CellSettings
    from workflow_scripts.cells.packing import pack_cells

    settings = CellSettings.from_slice(Slice(cell_files["identity"], {}))
    # Written beside and moved into place, so that a store is whole or absent.
    beside = work.path / "unfinished"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        manifest = pack_cells(cell_files["datasets"], settings, beside)
        for source in manifest["sources"]:
            source |= sources[f"{source['dataset']}/{source['label']}"]
            if stamp(Path(source["file"]))[:2] != [source["bytes"], source["mtime_ns"]]:
                raise DataError(
                    f"{source['file']}: was changed while it was packed; start again once nothing "
                    "writes to it"
                )
        manifest["folder"] = "."
        write_manifest(manifest, beside / "manifest.json")
        for name in (*manifest["files"], "manifest.json"):
            os.replace(beside / name, work.path / name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    known = KnownDigests(work.path / KNOWN_DIGESTS)
    known.learn({work.path / name: file["sha256"] for name, file in manifest["files"].items()})
    work.finish("manifest.json")  # which knows the other files
    size = sum(entry["bytes"] for entry in manifest["files"].values())
    print(f"packed {manifest['n_cells']} cells x {manifest['n_genes']} genes, {size / 1e6:.1f} MB")
