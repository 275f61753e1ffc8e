"""Files that are whole or absent, and published files whose damage is noticed."""

from __future__ import annotations

import functools
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from workflow_scripts.cache.digests import file_digest
from workflow_scripts.errors import DataError

DIGESTS = ".digests"
"""Folder beside published files, with a file of the same name for each: its SHA-256."""

ASIDE = ".damaged"
"""Ending of what was published, was damaged and lies aside."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name beside ``path`` to write to; what was written takes its place at the end.

    So ``path`` is whole or as it was, whatever happens meanwhile.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_behind(path.parent)
    beside = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def left_behind(folder: Path) -> Iterator[Path]:
    """Yield what `replacing` wrote to in a folder for processes of this machine that are dead."""
    for path in folder.glob(".*"):
        owner = re.fullmatch(rf"\..+\.{re.escape(socket.gethostname())}\.(\d{{1,7}})", path.name)
        if owner and path.is_file():
            try:
                os.kill(int(owner[1]), 0)
            except ProcessLookupError:
                yield path
            except PermissionError:  # another user's process
                continue


@functools.cache
def _remove_left_behind(folder: Path) -> None:
    """Remove such files, once in the life of this process."""
    for path in left_behind(folder):
        path.unlink(missing_ok=True)


@contextmanager
def publishing(path: Path) -> Iterator[Path]:
    """Do as `replacing`, and note the digest of what was written, for `refuse_damaged`."""
    with replacing(path) as beside:
        yield beside
        note_digest(path, file_digest(beside))


def publish_text(path: Path, text: str) -> None:
    """Write a text file as `publishing` does."""
    with publishing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def publish_file(source: Path, path: Path) -> None:
    """Link a file to where it is published, and note its digest."""
    note_digest(path, file_digest(source))
    link(source, path)


def note_digest(path: Path, digest: str) -> None:
    """Note beside a published file what its digest is."""
    write_atomically(path.parent / DIGESTS / path.name, digest)


def is_damaged(path: Path) -> bool:
    """Tell whether a file, or one of a folder's, is missing or another than was published.

    What has no digest noted is taken as it is.
    """
    if path.is_dir():
        names = [noted.name for noted in path.glob(f"{DIGESTS}/[!.]*")]
        return any(not (path / name).exists() or is_damaged(path / name) for name in names)
    noted = path.parent / DIGESTS / path.name
    return noted.exists() and path.exists() and noted.read_bytes() != file_digest(path).encode()


def refuse_damaged(path: Path) -> None:
    """Refuse a published file or folder that is damaged.

    Raises
    ------
    DataError
        Where it is; it is out of the way then, so that the next start makes it again.
    """
    if is_damaged(path):
        aside = path.with_name(path.name + ASIDE)
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(OSError):
            os.replace(path, aside)
        done = (
            f"Delete it: {path.parent} can't be written to"
            if path.exists()
            else f"It was moved to {aside}"
        )
        raise DataError(
            f"{path}: damaged or edited: its SHA-256 is not the one it was written with. {done}; "
            "the next start makes it again"
        )


def link(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``, atomically; a copy across file systems."""
    # rename(2) does nothing when both names are links to one file; `replacing` then removes one.
    with replacing(target) as beside:
        beside.unlink(missing_ok=True)
        try:
            os.link(source, beside)
        except OSError:
            shutil.copy2(source, beside)
        # The declared output must not be older than the inputs of its rule.
        os.utime(beside)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file that is whole or absent, whatever happens meanwhile."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")
