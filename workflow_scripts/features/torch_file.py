"""Read what ``torch.save`` wrote without running any code that the file may hold.

torch's own restricted unpickler does the reading. It refuses NumPy's strings, which other tools
write as keys; two small stand-ins here take the place of what NumPy would have run to make them,
and make plain text. Anything else that a file asks for is refused by its name.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from workflow_scripts.cache.digests import check_zip
from workflow_scripts.errors import DataError
from workflow_scripts.settings.findings import listing

_ENCODINGS = {"U": "utf-32", "S": "utf-8"}

_ASKED = re.compile(r"GLOBAL ([\w.]+)|Unsupported global: (a NumPy scalar of type \w+)")
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
"""How files of torch before 1.6 begin: the pickle of a number of their own."""


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
    # Bytes in another encoding are still a name, as they are where Python's own are the keys.
    return data.decode(encoding, "replace" if letter == "S" else "strict").rstrip("\0")


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
        with torch.serialization.safe_globals(_ALLOWED), warnings.catch_warnings():
            # torch warns of what is refused below in words.
            warnings.simplefilter("ignore")
            check_zip(path)
            return torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except Exception as error:  # torch raises whatever its unpickler stumbles over
        if found := _ASKED.search(str(error)):
            asked = (found[1] or found[2]).rstrip(".")
            raise DataError(
                f"{path}: refused, since reading it could run code: it asks for {asked}; "
                "save it anew as a plain dict of name to tensor: "
                "torch.save({str(k): torch.as_tensor(v) for k, v in features.items()}, path)"
            ) from error
        raise DataError(
            f"{path}: {_problem(path)}; it must be a mapping of names to vectors that torch.save "
            "wrote"
        ) from error


def _problem(path: Path) -> str:
    """Say what is wrong with a file that torch could not read, though it asked for no code."""
    with path.open("rb") as file:
        head = file.read(len(_LEGACY))
    if head[:1] == b"\x80" and head != _LEGACY:
        return "a pickle that torch.save did not write, and reading a pickle could run code"
    damaged = "a damaged torch file, perhaps cut off while it was copied"
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            pickled = next((name for name in members if name.endswith("/data.pkl")), None)
            protocol = 0 if pickled is None else archive.read(pickled)[1]
    except Exception:  # zipfile passes on whatever damage makes it stumble over
        return damaged
    if pickled is None:
        return f"a zip archive that torch.save did not write (it holds {listing(members, 5)})"
    if any(name.endswith("/constants.pkl") for name in members):
        return "a TorchScript archive, which is a program"
    if protocol > 2:
        return (
            f"pickled with protocol {protocol}, of which torch reads no more than 2 without "
            "running code: save it anew without pickle_protocol"
        )
    return damaged
