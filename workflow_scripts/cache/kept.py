"""What a run keeps under its identities, and how many bytes go if some of it goes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.cache.identity import NOTES, noted
from workflow_scripts.cache.writing import ASIDE, left_behind

PARENTS = ("checkpoints", "finished")
"""Folders of a run that hold identities."""

SHARED = ("anchors", "baselines")
"""Folders of the cache in which runs share what is computed of the same cells."""

ANCHORS = "anchors.json"
"""What a run has of the first."""


@dataclass(frozen=True)
class Kept:
    """A folder of finished work.

    Attributes
    ----------
    folder
        Where it lies.
    holds
        What is in it, for people.
    state
        Who needs it, for people.
    needed
        Whether something may need it; what nothing needs can be removed.
    """

    folder: Path
    holds: str
    state: str
    needed: bool


def kept_by_run(run: Path) -> Iterator[Kept]:
    """Yield the identities' folders of a run; one that no stage has noted counts as needed."""
    for parent in (run / name for name in PARENTS):
        notes = {path.name.removesuffix(NOTES): noted(path) for path in parent.glob(f"*{NOTES}")}
        for folder in identity_folders(parent):
            stages = [stage for stage, names in notes.items() if folder.name in names]
            current = any(notes[stage][0] == folder.name for stage in stages)
            state = "current" if current else "superseded" if stages else "unknown"
            holds = ", ".join(sorted(stages)) or "of a version that noted no stage"
            yield Kept(folder, holds, state, needed=state != "superseded")


def kept_shared(cache: Path) -> Iterator[Kept]:
    """Yield what runs share in a cache beside the packed cells.

    Work that no run links to is not needed: a run that asks for it again computes it again.
    """
    for name in SHARED:
        for folder in identity_folders(cache / name):
            used = any(status.st_nlink > 1 for status in _files(folder))
            state = "used by a run" if used else "used by no run"
            yield Kept(folder, name, state, needed=used)


def left_over(places: Iterable[Path]) -> Iterator[Kept]:
    """Yield what killed processes had begun to write, and damaged files that lie aside."""
    for folder in {Path(name) for place in places for name, _, _ in os.walk(place)}:
        for path in left_behind(folder):
            yield Kept(path, "unfinished file", "its process is dead", needed=False)
        for path in folder.glob(f"*{ASIDE}"):
            yield Kept(path, "damaged file", "another one takes its place", needed=False)


def identity_folders(parent: Path) -> list[Path]:
    """Return the folders that are named by an identity."""
    return sorted(
        path
        for path in parent.glob("*")
        if re.fullmatch("[0-9a-f]{32}", path.name) and path.is_dir() and not path.is_symlink()
    )


def bytes_of(folder: Path) -> int:
    """Return the size of a folder's files, each counted once."""
    return sum({(s.st_dev, s.st_ino): s.st_size for s in _files(folder)}.values())


def bytes_freed(folders: Sequence[Path]) -> list[int]:
    """Return what each folder frees if all of them go.

    A file that has another name elsewhere (an output that was published) frees nothing; one with
    names in several of the folders is counted for the first of them.
    """
    links: dict[tuple[int, int], int] = {}
    first: dict[tuple[int, int], tuple[int, os.stat_result]] = {}
    for at, folder in enumerate(folders):
        for status in _files(folder):
            key = status.st_dev, status.st_ino
            links[key] = links.get(key, 0) + 1
            first.setdefault(key, (at, status))
    freed = [0] * len(folders)
    for key, (at, status) in first.items():
        if links[key] >= status.st_nlink:
            freed[at] += status.st_size
    return freed


def _files(folder: Path) -> Iterator[os.stat_result]:
    if folder.is_file():
        yield os.lstat(folder)
    for inside, _, names in os.walk(folder):
        for name in names:
            try:
                yield os.lstat(os.path.join(inside, name))
            except FileNotFoundError:
                continue
