"""What of a config each stage sees, and how that is written down.

A slice is ``{"identity": {dotted key: value}, "extent": {dotted key: value}}``. Its canonical
JSON is the one thing that triggers the stage, and all of the config that the stage may read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from workflow_scripts.errors import ConfigError

ABSENT = object()
"""Stands for the value of a key that a config lacks."""


@dataclass(frozen=True)
class Slice:
    """The part of the settings that one stage may read.

    Attributes
    ----------
    identity, extent
        Values by dotted key, as they are written: what triggers the stage.
    operational
        Values of the frozen config that change no result.
    """

    identity: Mapping[str, Any]
    extent: Mapping[str, Any]
    operational: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, path: str) -> Any:
        """Return the value of a dotted key.

        Raises
        ------
        KeyError
            Where this stage may not read it: its slice doesn't hold it.
        """
        for part in (self.identity, self.extent, self.operational):
            if path in part:
                return part[path]
        raise KeyError(f"{path} is no key of this stage's settings (see settings/schema.py)")

    def get(self, path: str) -> Any:
        """Return the value of an optional key, or None if the config lacks it."""
        return self[path] if path in self.paths() else None

    def section(self, path: str) -> Section:
        """Return a view of everything below a dotted path, sections inside it included."""
        return Section(self, path)

    def paths(self) -> list[str]:
        """Return the dotted keys that this stage may read."""
        return [*self.identity, *self.extent, *self.operational]

    def content(self) -> dict[str, Any]:
        """Return what triggers the stage, as JSON types."""
        return {"identity": dict(self.identity), "extent": dict(self.extent)}


class Section(Mapping[str, Any]):
    """A nested view of a slice: each value is read when it is asked for."""

    def __init__(self, settings: Slice, path: str) -> None:
        self._settings = settings
        self._path = path
        below = (key for key in settings.paths() if key.startswith(f"{path}."))
        self._names = list(dict.fromkeys(key[len(path) + 1 :].split(".")[0] for key in below))

    def __getitem__(self, name: str) -> Any:
        """Return a value, or the section of that name."""
        if name not in self._names:
            raise KeyError(name)
        path = f"{self._path}.{name}"
        if path in self._settings.paths():
            return self._settings[path]
        return Section(self._settings, path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def read_settings(slice_file: Path, config_file: Path | None = None) -> Slice:
    """Read what a stage may read of the settings, and nothing else.

    Parameters
    ----------
    slice_file
        What `freeze_stage` wrote: what triggers the stage, and the names of its operational keys.
    config_file
        The frozen config, for the values of the operational keys; None if the stage has none.
    """
    try:
        content = json.loads(slice_file.read_text())
        identity, extent = content["identity"], content["extent"]
        names = [] if config_file is None else content["operational"]
    except FileNotFoundError:
        raise ConfigError(f"{slice_file}: no such file; the workflow writes it") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{slice_file}: not a stage file ({error}); the workflow writes it"
        ) from error
    operational = {}
    if config_file is not None:
        config = shown_config(config_file)
        found = {name: value_at(config, name) for name in names}
        operational = {name: value for name, value in found.items() if value is not ABSENT}
    return Slice(identity, extent, operational)


def value_at(config: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path of a nested config, or `ABSENT`."""
    value: Any = config
    for name in path.split("."):
        value = value.get(name, ABSENT) if isinstance(value, Mapping) else ABSENT
    return value


def shown_config(path: Path) -> dict[str, Any]:
    """Read a whole frozen config, nested, to show it: stages take theirs by `read_settings`."""
    try:
        # Not `read_yaml`: every job reads this, and a file of our own needs no lines of keys.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        values = yaml.load(path.read_text("utf-8"), loader)  # noqa: S506  (both are safe)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: can't be read ({error}); the workflow writes it") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: not a frozen config; the workflow writes it")
    return values
