"""The manifest of a packed store: what it says, and whether the files are what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.cache.digests import canonical_json, text_digest
from workflow_scripts.cache.records import KnownDigests
from workflow_scripts.cache.writing import write_atomically
from workflow_scripts.errors import DataError
from workflow_scripts.settings.findings import listing

SCHEMA = 3
"""Version of the store's layout; another one is refused."""

ARRAYS = ("indptr", "indices", "values")
FILES = (*(f"{name}.npy" for name in ARRAYS), "cells.parquet", "genes.parquet", "twins.parquet")

EMBEDDING = "embedding.npy"
"""One file more, where an embedding was packed; the manifest's ``embedding`` is its name in obsm.
"""

KNOWN_DIGESTS = "known_digests.json"
"""Beside the store's files: what was last seen to have its digest."""

_SHAPE: Mapping[str, Any] = {
    "digest": str,
    "n_cells": int,
    "n_genes": int,
    "control": str,
    "holds": str,
    "target_sum": (int, float),
    "files": {name: {"bytes": int, "sha256": str} for name in FILES},
    "sources": [{"dataset": str, "label": str, "file": str, "values": str}],
    "folder": str,
}
_WORDS: Mapping[Any, str] = {
    str: "a text",
    int: "a whole number",
    (int, float): "a number",
    dict: "a mapping",
    list: "a list",
}


@dataclass(frozen=True)
class Manifest:
    """A manifest whose content has been looked at, not yet the files.

    Attributes
    ----------
    path
        Where it was read.
    folder
        Where the store's files lie.
    content
        What it says.
    """

    path: Path
    folder: Path
    content: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read a manifest.

        Raises
        ------
        DataError
            Where it isn't one, is of another version, lacks something, or was edited.
        """
        remedy = _remedy(path)
        try:
            content = json.loads(path.read_bytes())
        except OSError as error:
            raise DataError(
                f"{path}: {error.strerror}; the workflow writes this manifest when it packs cells"
            ) from error
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{path}: not the manifest of packed cells, as it isn't JSON ({error}); {remedy}"
            ) from error
        if not isinstance(content, dict) or not isinstance(content.get("schema"), int):
            raise DataError(
                f"{path}: not the manifest of packed cells, as it names no schema; {remedy}"
            )
        if content["schema"] != SCHEMA:
            raise DataError(
                f"{path}: packed cells of layout {content['schema']}, this version reads "
                f"{SCHEMA}; {remedy}"
            )
        if misfits := list(_misfits(_SHAPE, content, "")):
            raise DataError(f"{path}: {listing(misfits, 5)}; {remedy}")
        if content["digest"] != _digest(content):
            raise DataError(
                f"{path}: its digest is not that of the files it names; it was edited; {remedy}"
            )
        return cls(path, path.parent / content["folder"], content)

    @property
    def digest(self) -> str:
        """What the packed cells are, whatever they were packed from."""
        return str(self.content["digest"])

    @property
    def remedy(self) -> str:
        """What to do where the store isn't what was packed."""
        return _remedy(self.path)

    def faults(self, *, anew: bool = False) -> Iterator[str]:
        """Yield of each file that isn't what was packed what is wrong; `remedy` says what to do.

        Parameters
        ----------
        anew
            Read every file; else only those that aren't as they were when they were last read.
        """
        known = KnownDigests(self.folder / KNOWN_DIGESTS)
        for name, entry in self.content["files"].items():
            path = self.folder / name
            try:
                size = path.stat().st_size if path.is_file() else None
                if size != entry["bytes"]:
                    found = "missing" if size is None else f"{size} bytes"
                    yield f"{path}: {found}, where the manifest says {entry['bytes']} bytes"
                elif known.of(path, anew=anew) != entry["sha256"]:
                    yield f"{path}: as many bytes as were packed, and not the same ones"
            except OSError as error:
                yield f"{path}: can't be read ({error.strerror})"


def write_manifest(content: Mapping[str, Any], path: Path) -> None:
    """Write a manifest as JSON."""
    write_atomically(path, json.dumps(content, indent=1) + "\n")


def store_digest(
    files: Mapping[str, Mapping[str, Any]], target_sum: float, embedding: str | None
) -> str:
    """Return the digest of a store: of its files' digests, and of what their numbers mean.

    Parameters
    ----------
    files
        What the manifest says of each file.
    target_sum
        What counts are scaled to.
    embedding
        Name of the embedding; None where there is none.
    """
    content = {name: entry["sha256"] for name, entry in files.items()} | {"target_sum": target_sum}
    if embedding is not None:
        content["embedding"] = embedding
    return text_digest(canonical_json(content))


def _digest(content: Mapping[str, Any]) -> str:
    return store_digest(content["files"], content["target_sum"], content.get("embedding"))


def _remedy(path: Path) -> str:
    return f"delete {path} and start the workflow again, which packs the cells anew"


def _misfits(shape: Any, value: Any, where: str) -> Iterator[str]:
    """Yield what a value lacks of a shape, or has of another kind."""
    kind = type(shape) if isinstance(shape, dict | list) else shape
    if not isinstance(value, kind) or isinstance(value, bool):
        yield f"{where} is {listing([repr(value)[:40]])}, where {_WORDS[kind]} belongs"
    elif isinstance(shape, dict):
        for key, inner in shape.items():
            name = f"{where}.{key}" if where else key
            if key in value:
                yield from _misfits(inner, value[key], name)
            else:
                yield f"{name} is missing"
    elif isinstance(shape, list):
        for at, item in enumerate(value):
            yield from _misfits(shape[0], item, f"{where}[{at}]")
