"""Reads what Weights & Biases keeps of an offline run, to be sent by ``wandb sync``."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

BLOCK = 32_768
HEADER = struct.Struct("<IHB")
"""Of a record: checksum, length, and 1 if it is whole, else 2, 3, 3, …, 4 for its parts. These are
LevelDB's logs (github.com/google/leveldb, doc/log_format.md), after seven bytes of wandb's own."""


def records(path: Path) -> list[Any]:
    """Return the records of a ``.wandb`` file."""
    content, at = path.read_bytes(), 7
    assert content[:4] == b":W&B"
    found, parts = [], b""
    while at + HEADER.size <= len(content):
        if BLOCK - at % BLOCK < HEADER.size:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = HEADER.unpack_from(content, at)
        at += HEADER.size
        parts += content[at : at + length]
        at += length
        if kind in (1, 4):
            found.append(wandb_internal_pb2.Record.FromString(parts))
            parts = b""
    return found


def runs(path: Path) -> list[Any]:
    """Return what the file says of its run: id, project, tags."""
    found = records(path)
    return [record.run for record in found if record.WhichOneof("record_type") == "run"]


def history(path: Path) -> list[dict[str, Any]]:
    """Return what was logged, a mapping for each time."""
    return [
        {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in row}
        for row in (
            record.history.item
            for record in records(path)
            if record.WhichOneof("record_type") == "history"
        )
    ]
