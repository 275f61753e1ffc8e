"""Digests of texts and files, and what tells one file from another."""

from __future__ import annotations

import functools
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

from workflow_scripts.errors import DataError

SMALL_BYTES = 1_000_000
"""Files up to this size are compared by content: those that Snakemake compares so as well."""


def canonical_json(value: Any) -> str:
    """Return JSON text that depends on the content alone, not on the order of keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def text_digest(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal.

    A process reads a file once for as long as nobody writes to it.
    """
    now = path.stat()
    return _digest(path, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)


@functools.lru_cache(maxsize=1000)
def _digest(path: Path, *state: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stamp(path: Path) -> list[int]:
    """Return a file's size, time of change in nanoseconds, and inode."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def signature(path: str | Path) -> list[int] | str | None:
    """Return what tells a file from another one that takes its place; None where there is none.

    Its stamp, or if parsing can afford to read it, its digest. The order of times
    doesn't do: a file that `mv` or `rsync` puts in place is often the older one.
    """
    path = Path(path)
    if not path.is_file():
        return None
    try:
        now = stamp(path)
        return file_digest(path) if now[0] <= SMALL_BYTES else now
    except OSError:
        return None


def check_zip(path: Path) -> None:
    """Hold the parts of a zip file, which torch writes, to their checksums; pass by others.

    Raises
    ------
    DataError
        Where a part isn't what was written.
    """
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            return
        try:
            with zipfile.ZipFile(file) as parts:
                torn = parts.testzip()
        except Exception as error:  # whatever the damaged header of a part makes of it
            torn = str(error)
    if torn is not None:
        raise DataError(f"{path}: damaged: a checksum in it differs from its content ({torn})")
