r"""Pack the h5ad files of a run into one memory-mapped store that all runs on them share.

The store lies in a folder that any number of working directories may share; the manifest, which
says where, is each one's own.

Example, with the settings that `snakemake --printshellcmds` shows:

    python -m workflow_scripts.pack_cells \
        --settings '{"identity": {…}, "extent": {…}, "datasets": {"screen": {…}}}' \
        --audit cache/cells/…/cells_audit.json --store /scratch/cache/cells/… \
        --manifest cache/cells/…/manifest.json
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.cache.digests import file_digest, stamp
from workflow_scripts.cache.identity import IdentityFolder
from workflow_scripts.cache.records import KnownDigests
from workflow_scripts.cache.writing import note_digest
from workflow_scripts.cells.manifest import KNOWN_DIGESTS, Manifest, write_manifest
from workflow_scripts.command import command_parser, json_with, run_command
from workflow_scripts.errors import DataError
from workflow_scripts.settings.findings import from_dicts, has_errors, render
from workflow_scripts.settings.slices import Slice
from workflow_scripts.settings.stages import identity_of


def main(arguments: Sequence[str]) -> None:
    """Pack the cells, or link what an earlier packing of the same content left."""
    parser = command_parser("python -m workflow_scripts.pack_cells", __doc__)
    parser.add_argument(
        "--settings",
        type=json_with("identity", "extent", "datasets"),
        required=True,
        metavar="JSON",
        help="files of the cells, and how to read them",
    )
    parser.add_argument("--audit", type=Path, required=True, help="audit of the cells (JSON)")
    parser.add_argument(
        "--manifest", type=Path, required=True, help="where the store is and what, to write (JSON)"
    )
    parser.add_argument("--store", type=Path, help="folder of stores; the manifest's if not given")
    given = parser.parse_args(arguments)

    findings = from_dicts(json.loads(given.audit.read_text())["findings"])
    if has_errors(findings):
        raise DataError(f"{given.audit}: the cells can't be packed\n{render(findings)}")
    datasets = given.settings["datasets"]
    store = given.manifest.parent if given.store is None else given.store
    known = KnownDigests(store / KNOWN_DIGESTS)
    sources = {
        f"{dataset}/{label}": _look_at(Path(path), known)
        for dataset, files in datasets.items()
        for label, path in files.items()
    }
    settings = given.settings["identity"]
    digests = {name: source["sha256"] for name, source in sources.items()}
    work = IdentityFolder(store, identity_of("cells", settings, digests))
    # Without the lock first: a finished store may lie where this process can't write.
    if _faults(work):
        # Several invocations may share the cache: one packs, the others wait and find it done.
        with work.lock():
            if faults := _faults(work):
                print(*(f"packing the cells: {fault}" for fault in faults), sep="\n", flush=True)
                _pack(datasets, settings, sources, work)
            else:
                print(f"packed by another process: {work.path}")
    else:
        print(f"packed before: {work.path}")
    packed = Manifest.read(work.path / "manifest.json").content
    beside = work.path.parent.resolve() == given.manifest.parent.resolve()
    write_manifest(
        {**packed, "folder": work.identity if beside else str(work.path.resolve())}, given.manifest
    )
    note_digest(given.manifest, file_digest(given.manifest))


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
    datasets: Mapping[str, Mapping[str, str]],
    settings: Mapping[str, Any],
    sources: Mapping[str, Mapping[str, Any]],
    work: IdentityFolder,
) -> None:
    # Only now: cells that are already packed return without these seconds.
    from workflow_scripts.cells.cell_settings import CellSettings
    from workflow_scripts.cells.packing import pack_cells

    # Written beside and moved into place, so that a store is whole or absent.
    beside = work.path / "unfinished"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        manifest = pack_cells(datasets, CellSettings.from_slice(Slice(settings, {})), beside)
        for source in manifest["sources"]:
            source |= sources[f"{source['dataset']}/{source['label']}"]
            if stamp(Path(source["file"]))[:2] != [source["bytes"], source["mtime_ns"]]:
                raise DataError(
                    f"{source['file']}: was changed while it was packed; start again once nothing "
                    "writes to it"
                )
        manifest["folder"] = "."
        write_manifest(manifest, beside / "manifest.json")
        names = [*manifest["files"], "manifest.json"]
        for name in names:
            os.replace(beside / name, work.path / name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    known = KnownDigests(work.path / KNOWN_DIGESTS)
    known.learn({work.path / name: file["sha256"] for name, file in manifest["files"].items()})
    work.finish(["manifest.json"])  # which knows the other files
    size = sum(entry["bytes"] for entry in manifest["files"].values())
    print(f"packed {manifest['n_cells']} cells x {manifest['n_genes']} genes, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_command(main)
