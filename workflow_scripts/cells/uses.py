"""Which runs use a store: each registers itself, and counts for as long as it is there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.cache.digests import canonical_json, text_digest
from workflow_scripts.cache.kept import Kept, identity_folders
from workflow_scripts.cache.writing import write_atomically
from workflow_scripts.cells.manifest import KNOWN_DIGESTS, Manifest
from workflow_scripts.errors import DataError
from workflow_scripts.settings.findings import listing

RUNS = "runs"
"""Folder, beside a store's identities, of the runs that took it."""


@dataclass(frozen=True)
class Registered:
    """A run that took a store, and the manifest through which it opens it."""

    run: Path
    manifest: Path

    @property
    def packing(self) -> Path | None:
        """Folder of the packing that the manifest names; None where there is no manifest."""
        try:
            return Manifest.read(self.manifest).folder.resolve()
        except DataError:
            return None


def register_run(store: Path, run: Path, manifest: Path) -> None:
    """Note beside a store's packings that a run takes it."""
    place = os.path.abspath(run)
    content = {"run": place, "manifest": os.path.abspath(manifest)}
    try:
        write_atomically(store / RUNS / f"{text_digest(place)[:16]}.json", canonical_json(content))
    except OSError as error:
        print(f"{store}: can't be told of this run ({error.strerror}), which may use it anyway")


def kept_in_cache(cache: Path, runs: Sequence[Path]) -> Iterator[Kept]:
    """Yield the packings of a cache.

    Parameters
    ----------
    cache
        Folder of packed cells (cache_dir).
    runs
        Runs that count as well where they took the cells, registered or not: they may have been
        moved since.
    """
    for store in sorted((cache / "cells").glob("*")):
        registered = _registered(store)
        using = [] if registered is None else _using(store, registered)
        known = {os.path.abspath(one.run) for one, _ in using}
        moved = [
            run for run in runs if store.name in cells_of(run) and os.path.abspath(run) not in known
        ]
        for folder in identity_folders(store):
            users = [
                one.run for one, packing in using if packing in (None, folder.resolve())
            ] + moved
            if users:
                state = f"used by {listing(map(_shown, users), 5)}"
            elif not registered:
                state = "unknown: no run has registered"
            else:
                state = "superseded" if using else "no run"
            yield Kept(folder, _content(folder), state, needed=bool(users) or not registered)


def forget(folder: Path) -> None:
    """Remove what pointed to a packing that is gone: manifests, and, with the last, the store's."""
    store = folder.parent
    registered = _registered(store) or []
    beside = Registered(store, store / "manifest.json")
    for one in (*registered, beside):
        if one.packing == folder.resolve():
            # So that the workflow packs anew where these cells are asked for again.
            one.manifest.unlink(missing_ok=True)
    if identity_folders(store) or _using(store, registered):
        return
    for path in (*(store / RUNS).glob("*.json"), store / KNOWN_DIGESTS):
        path.unlink(missing_ok=True)
    for place in (store / RUNS, store):
        with suppress(OSError):  # something else lies there
            place.rmdir()


def cells_of(run: Path) -> set[str]:
    """Return the names of the stores that a run took last; none where it doesn't say."""
    names = set()
    for audit in ("splits_audit.json", "targets_audit.json"):
        try:
            content = json.loads((run / audit).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and "cells" in content:
            names.add(str(content["cells"]))
    return names


def _registered(store: Path) -> list[Registered] | None:
    """Return the runs that took a store; None where that can't be known."""
    found = []
    for path in sorted((store / RUNS).glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            found.append(Registered(Path(content["run"]), Path(content["manifest"])))
        except (OSError, ValueError, KeyError, TypeError):
            return None
    return found or None


def _using(store: Path, registered: Sequence[Registered]) -> list[tuple[Registered, Path | None]]:
    """Return those that are there and didn't move on, with the packing that each opens."""
    using = []
    for one in registered:
        # A run that says nothing of its cells is at work, or was stopped: it counts.
        if not one.run.is_dir() or store.name not in (cells_of(one.run) or {store.name}):
            continue
        packing = one.packing
        if packing is None or packing.parent == store.resolve():
            using.append((one, packing))
    return using


def _content(folder: Path) -> str:
    try:
        content = Manifest.read(folder / "manifest.json").content
    except DataError:
        return "a packing that isn't finished, or of another version"
    names = dict.fromkeys(source["dataset"] for source in content["sources"])
    return f"{listing(names, 5)}: {content['n_cells']:,} cells x {content['n_genes']:,} genes"


def _shown(run: Path) -> str:
    """Return a run's path, without the working directory where it lies in it."""
    return os.path.relpath(run) if Path.cwd() in Path(run).absolute().parents else str(run)
