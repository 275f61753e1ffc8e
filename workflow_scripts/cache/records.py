"""Records that remember digests, and records that notice their own edits."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from workflow_scripts.cache.digests import canonical_json, file_digest, stamp, text_digest
from workflow_scripts.cache.writing import write_atomically

SAID_BYTES = 500_000_000
"""Files from this size are announced before they are read: about a third of a second of SHA-256."""


class KnownDigests:
    """Digests, each kept with the size, time of change and inode that its file had then.

    The digest decides what a file is; these three only spare the work. A copy has another inode, so
    that copied files are read once, also where the copy kept their times.
    """

    def __init__(self, record: Path) -> None:
        """Name the file that remembers them; those beside it are known without their folder."""
        self._record = record

    def of(self, path: Path, *, anew: bool = False) -> str:
        """Return the SHA-256 of a file; ``anew`` reads it, whatever is remembered."""
        now = stamp(path)
        known = self._read().get(self._name(path))
        if not anew and isinstance(known, list) and known[:3] == now and len(known) == 4:
            return str(known[3])
        if now[0] >= SAID_BYTES:
            print(f"reading {path} to check its content ({now[0] / 1e9:.1f} GB)", flush=True)
        digest = file_digest(path)
        if stamp(path) == now:
            self._note({path: digest})
        return digest

    def learn(self, digests: dict[Path, str]) -> None:
        """Remember digests that were computed while the files were written."""
        self._note(digests)

    def _note(self, digests: dict[Path, str]) -> None:
        new = {self._name(path): [*stamp(path), digest] for path, digest in digests.items()}
        # In a folder that can't be written, the files are read again the next time.
        with suppress(OSError):
            write_atomically(self._record, canonical_json({**self._read(), **new}))

    def _name(self, path: Path) -> str:
        return path.name if path.parent == self._record.parent else os.path.abspath(path)

    def _read(self) -> dict[str, object]:
        try:
            content = json.loads(self._record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}


def sealed(content: Mapping[str, Any], files: Mapping[str, Path] | None = None) -> dict[str, Any]:
    """Return a record with a digest of itself, so that an edit is noticed.

    ``files`` will lie beside it by these names, and are vouched for as well.
    """
    more = {"sha256": {name: file_digest(path) for name, path in files.items()}} if files else {}
    record: dict[str, Any] = json.loads(json.dumps({**content, **more}))
    return {**record, "seal": text_digest(canonical_json(record))}


def edited_files(record: Path) -> list[Path]:
    """Return which of a sealed record and its files were edited or damaged.

    Files that are as old as the record aren't read: it is written after them.
    """
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        if "seal" not in content:
            return []
        if content.pop("seal") != text_digest(canonical_json(content)):
            return [record]
        digests = content.get("sha256", {})
        files = {record.with_name(name): digest for name, digest in digests.items()}
        written = record.stat().st_mtime_ns
        return [
            path
            for path, digest in files.items()
            if path.exists() and stamp(path)[1] > written and file_digest(path) != digest
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, AttributeError):
        return [record]
