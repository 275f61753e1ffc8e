"""What a file is by its first bytes, whatever its name says."""

from __future__ import annotations

import codecs
from collections.abc import Collection
from pathlib import Path

from workflow_scripts.errors import DataError

HDF5 = "an HDF5 file"
PARQUET = "a Parquet file"
PICKLE = "a pickle"
SAFETENSORS = "a safetensors file"
TEXT = "text"
ZIP = "a zip archive"

_MARKS = (
    (b"version https://git-lfs", "a Git LFS pointer (git lfs pull fetches the file itself)"),
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),
    (b"\x80", PICKLE),
    (b"PAR1\x15", PARQUET),
    (b"\x89HDF\r\n\x1a\n", HDF5),
    (b"\x1f\x8b", "a gzip file"),
)
_UNKNOWN = "binary data"


def refuse_other_content(path: Path, name: str, expected: Collection[str]) -> None:
    """Raise a DataError where a file's first bytes are those of another format than its ending's.

    Bytes that say nothing pass: the format's own reader judges them.

    Parameters
    ----------
    path
        The file.
    name
        What the ending promises, for the message.
    expected
        The kinds of content that go with it.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error}") from error
    found = "an empty file" if not head else content_kind(head)
    if found not in (*expected, _UNKNOWN):
        said = f" that begins {_line(head)!r}" if found == TEXT else ""
        raise DataError(f"{path}: not a readable {name}: it is {found}{said}")


def content_kind(head: bytes) -> str:
    """Return what a file is that begins with these bytes."""
    for mark, kind in _MARKS:
        if head.startswith(mark):
            return kind
    # Eight bytes give the length of the JSON that follows.
    if head[4:9] == b"\0\0\0\0{":
        return SAFETENSORS
    try:
        text = _decoded(head)
    except UnicodeDecodeError:
        return _UNKNOWN
    plain = all(letter.isprintable() or letter.isspace() for letter in text)
    return TEXT if plain else _UNKNOWN


def _decoded(head: bytes) -> str:
    # An incremental decoder leaves out the last character where it was cut.
    return codecs.getincrementaldecoder("utf-8-sig")().decode(head)


def _line(head: bytes) -> str:
    return _decoded(head).strip().split("\n")[0].strip()[:40]
