"""What of a config each stage sees, and how that is written down.

A slice is ``{"identity": {dotted key: value}, "extent": {dotted key: value}}``. Its canonical
JSON is the one thing that triggers the stage, and all of the config that the stage may read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.settings.errors import ConfigError
from workflow_scripts.settings.schema import BY_PATH, Kind, leaves
from workflow_scripts.settings.yaml_files import read_yaml


@dataclass(frozen=True)
class Slice:
    """The part of the settings that one stage reads."""

    identity: Mapping[str, Any]
    extent: Mapping[str, Any]

    def __getitem__(self, path: str) -> Any:
        """Return the value of a dotted key; KeyError if this stage must not read it."""
        if path in self.identity:
            return self.identity[path]
        return self.extent[path]

    def content(self) -> dict[str, Any]:
        """Return the slice as JSON types."""
        return {"identity": dict(self.identity), "extent": dict(self.extent)}


def canonical_json(value: Any) -> str:
    """Return JSON text that depends on the content alone, not on the order of keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def text_digest(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def stage_slice(config: Mapping[str, Any], stage: str) -> Slice:
    """Cut out of a resolved config what ``stage`` reads."""
    parts: dict[Kind, dict[str, Any]] = {Kind.IDENTITY: {}, Kind.EXTENT: {}}
    for path, value in leaves(config):
        key = BY_PATH.get(path)
        # Stages read operational keys too, but from the frozen config: they trigger nothing.
        if key is not None and stage in key.stages and key.kind in parts:
            parts[key.kind][path] = value
    return Slice(parts[Kind.IDENTITY], parts[Kind.EXTENT])


def read_config(path: Path) -> dict[str, Any]:
    """Read a frozen config, nested: for what changes no result, such as names and workers."""
    values = read_yaml(path).values
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: not a frozen config; the workflow writes it")
    return values


def read_slice(path: Path) -> Slice:
    """Read a stage file as `freeze_stage` wrote it."""
    try:
        content = json.loads(path.read_text())
        return Slice(content["identity"], content["extent"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: not a stage file ({error}); the workflow writes it") from error
