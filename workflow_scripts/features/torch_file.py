"""Read what ``torch.save`` wrote without running any code that the file may hold.

torch's own restricted unpickler does the reading. It refuses NumPy's strings, which other tools
write as keys; two small stand-ins here take the place of what NumPy would have run to make them,
and make plain text. Anything else that a file asks for is refused by its name.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from workflow_scripts.settings.errors import DataError

_ENCODINGS = {"U": "utf-32", "S": "utf-8"}


class _NumpyKind:
    """Stands in for ``numpy.dtype``: remembers the type and the order of bytes, no more."""

    def __init__(self, code: str, *_: object) -> None:
        self.code = code
        self.order = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = str(state[1])


def _text(kind: _NumpyKind, data: bytes) -> str:
    """Stand in for NumPy's ``scalar``: decode a string, and nothing but a string."""
    letter = str(kind.code)[:1]
    if letter not in _ENCODINGS or not isinstance(data, bytes):
        raise TypeError(f"Unsupported global: a NumPy scalar of type {kind.code}")
    encoding = _ENCODINGS[letter]
    if letter == "U":
        encoding += "-be" if kind.order == ">" else "-le"
    return data.decode(encoding).rstrip("\0")


_ALLOWED: list[Any] = [
    (_NumpyKind, "numpy.dtype"),
    (_text, "numpy.core.multiarray.scalar"),
    (_text, "numpy._core.multiarray.scalar"),
]


def load_torch_file(path: Path) -> object:
    """Return what a torch file holds, memory-mapped where its format allows that.

    Raises
    ------
    DataError
        Where reading it could run code (with what it asked for), or it is no whole torch file.
    """
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            return torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except Exception as error:  # torch raises whatever its unpickler stumbles over
        found = re.search(r"GLOBAL (\S+)|[Uu]nsupported (?:global|class):? ?([^\n]+)", str(error))
        if found:
            asked = (found[1] or found[2]).rstrip(".")
            raise DataError(
                f"{path}: refused, since reading it could run code: it asks for {asked}; "
                "save it anew as a plain dict of name to tensor: "
                "torch.save({str(k): torch.as_tensor(v) for k, v in features.items()}, path)"
            ) from error
        kind = "a damaged" if zipfile.is_zipfile(path) else "not a"
        raise DataError(
            f"{path}: {kind} torch file; it must be a mapping of names to vectors that "
            "torch.save wrote"
        ) from error
