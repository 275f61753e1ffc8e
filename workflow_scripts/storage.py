"""Show what is kept of finished work, who needs it, and remove what nothing needs.

Example, for one run; with --remove behind it, what nothing needs is removed:

    python -m workflow_scripts.storage results/demo

Superseded work is what a run was asked for before its settings or inputs changed: asked for again,
it is there at once while it is kept. Nothing is removed that a process works on, that no run has
registered for, or that isn't known here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from workflow_scripts.cache.identity import is_locked, remove_identity
from workflow_scripts.cache.kept import (
    Kept,
    bytes_freed,
    bytes_of,
    kept_by_run,
    kept_shared,
    left_over,
)
from workflow_scripts.cache.writing import DIGESTS, is_damaged
from workflow_scripts.cells.manifest import Manifest
from workflow_scripts.cells.uses import forget, kept_in_cache
from workflow_scripts.command import BY_HAND as CONFIG
from workflow_scripts.command import command_parser, run_command
from workflow_scripts.errors import DataError
from workflow_scripts.reporting.words import counted
from workflow_scripts.settings.findings import size
from workflow_scripts.settings.stages import find_runs, home_folder
from workflow_scripts.settings.tables import Table
from workflow_scripts.settings.yaml_files import read_yaml


def main(arguments: Sequence[str]) -> None:
    """List what is kept, or verify it, or remove what nothing needs."""
    parser = command_parser("python -m workflow_scripts.storage", __doc__)
    parser.add_argument(
        "runs",
        nargs="*",
        type=Path,
        metavar="RUN_FOLDER",
        help="run folders, or folders that hold them; results if none is given",
    )
    parser.add_argument(
        "--cache", type=Path, help="packed cells; cache_dir of config/workflow.yaml if not given"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--remove", action="store_true", help="remove what nothing needs, and say so")
    what.add_argument(
        "--verify",
        action="store_true",
        help="read packed cells and published files, compare digests",
    )
    given = parser.parse_args(arguments)

    cache = given.cache
    if cache is None:
        content = read_yaml(CONFIG / "workflow.yaml").values
        named = content.get("cache_dir") if isinstance(content, dict) else None
        cache = Path(str(named or "cache")).expanduser()
    for place in given.runs:
        if not place.is_dir():
            raise DataError(f"{place}: no such folder; name run folders, or what holds them")
    runs = find_runs(given.runs or [Path("results")])
    packings = list(kept_in_cache(cache, runs))
    if given.verify:
        _verify(cache, packings, runs)
        return
    folders = sorted({*runs, *map(home_folder, runs)})
    of_runs = [one for run in folders for one in kept_by_run(run)]
    # Rules declare what they say of cells in the working directory, wherever the cache is.
    others = left_over([*folders, cache, Path("cache/cells")])
    kept = [*packings, *kept_shared(cache), *of_runs, *others]
    idle = [one.folder for one in kept if not one.needed and not is_locked(one.folder)]
    frees = dict(zip(idle, bytes_freed(idle), strict=True))
    if not kept:
        print(f"nothing is kept in {cache} or in run folders here; name others, or --cache")
        return
    print(_table(kept, frees).render("text"), end="")
    if not frees:
        print("\nnothing to remove")
    elif given.remove:
        _remove(packings, frees)
    else:
        print(
            f"\n{counted(len(frees), 'folder')} that nothing needs; --remove would free "
            f"{size(sum(frees.values()))}"
        )


def _table(kept: Sequence[Kept], frees: Mapping[Path, int]) -> Table:
    headings = {
        "folder": "Folder",
        "holds": "Holds",
        "size": "Size",
        "state": "State",
        "frees": "Frees",
    }
    rows = []
    for one in kept:
        at_work = not one.needed and one.folder not in frees
        state = f"{one.state}, a process works on it" if at_work else one.state
        freed = size(frees[one.folder]) if one.folder in frees else ""
        rows.append((os.fspath(one.folder), one.holds, size(bytes_of(one.folder)), state, freed))
    return Table(headings, rows)


def _remove(packings: Sequence[Kept], frees: Mapping[Path, int]) -> None:
    total, of_cells = 0, {one.folder for one in packings}
    print()
    for folder, freed in frees.items():
        try:
            gone = remove_identity(folder)
            if gone and folder in of_cells:
                forget(folder)
        except OSError as error:
            print(f"kept {folder}, or some of it: {error.filename}: {error.strerror}")
            continue
        if not gone:
            print(f"kept {folder}: a process works on it by now")
            continue
        total += freed
        print(f"removed {folder}")
    print(f"freed {size(total)}")


def _verify(cache: Path, packings: Sequence[Kept], runs: Sequence[Path]) -> None:
    """Read every packed file, and all that stages published; a DataError names what has changed."""
    finished = [one.folder for one in packings if (one.folder / "finished.json").is_file()]
    faults: list[str] = []
    for folder in finished:
        print(f"reading {folder} ({size(bytes_of(folder))})", flush=True)
        try:
            faults += Manifest.read(folder / "manifest.json").faults(anew=True)
        except DataError as error:
            faults.append(str(error))
    if faults:
        listed = "\n".join(faults)
        raise DataError(
            f"{cache}: {counted(len(faults), 'file')} not as packed; delete the manifest.json of "
            f"these cells in cache/cells, and the workflow packs them anew\n{listed}"
        )
    print(f"{cache}: {counted(len(finished), 'packing')}, every file as it was packed")
    noted = [path for run in [*runs, cache] for path in sorted(run.rglob(f"{DIGESTS}/[!.]*"))]
    published = [path.parents[1] / path.name for path in noted]
    if changed := [os.fspath(path) for path in published if is_damaged(path)]:
        raise DataError(
            "not as they were written; delete them and start the workflow again, which makes them "
            "anew:\n" + "\n".join(changed)
        )
    print(f"{counted(len(published), 'published file')}, each as it was written")


if __name__ == "__main__":
    run_command(main)
