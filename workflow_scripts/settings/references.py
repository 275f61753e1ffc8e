"""Looks at the ``${key}`` references of a config before OmegaConf follows them.

OmegaConf follows a circle until Python's stack ends, and a chain of doubled references for ever.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from omegaconf import OmegaConf

from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.suggestions import nearest
from workflow_scripts.settings.yaml_files import KeyPath, dotted

_REFERENCE = re.compile(r"(?<!\\)(?:\\\\)*\$\{\s*([^${}:'\"]+?)\s*\}")
_RESOLVER = re.compile(r"(?<!\\)(?:\\\\)*\$\{\s*([\w.]+)\s*:")
_MAX_LENGTH = 1_000_000


def is_interpolation(value: Any) -> bool:
    """Tell whether a value is text that refers to another value."""
    return isinstance(value, str) and "${" in value


def check_references(values: Any, source: Callable[[KeyPath], str]) -> None:
    """Refuse a circle of references, one that grows without end, or an unknown resolver.

    ``values`` are as they are written; ``source`` gives the place of a key.
    """
    lengths: dict[KeyPath, int] = {}
    around: list[KeyPath] = []

    def length(key: KeyPath, value: Any) -> int:
        if key in lengths:
            return lengths[key]
        if key in around:
            circle = [*around[around.index(key) :], key]
            shown = " → ".join(map(dotted, circle))
            raise ConfigError(f"{source(circle[-2])}: the references go in a circle: {shown}")
        around.append(key)
        total = len(value) if isinstance(value, str) else 1
        if isinstance(value, dict | list):
            parts = value.items() if isinstance(value, dict) else enumerate(value)
            total += sum(length((*key, part), item) for part, item in parts)
        elif is_interpolation(value):
            for name in _RESOLVER.findall(value):
                if not (name.startswith("oc.") and OmegaConf.has_resolver(name)):
                    known = nearest(name, ["oc.env", "oc.select", "oc.decode", "oc.create"])
                    raise ConfigError(
                        f"{source(key)}: in {value!r}: there is no resolver `{name}`{known}"
                    )
            total += sum(length(*found) for found in _targets(values, key, value))
        if total > _MAX_LENGTH and key:
            raise ConfigError(
                f"{source(key)}: the references in {value!r:.200} make more than {_MAX_LENGTH:,} "
                "characters"
            )
        around.pop()
        lengths[key] = total
        return total

    length((), values)


def _targets(values: Any, key: KeyPath, text: str) -> Iterator[tuple[KeyPath, Any]]:
    """Yield the key and value of each reference in a text that leads to a value of the config."""
    for written in _REFERENCE.findall(text):
        dots = len(written) - len(written.lstrip("."))
        target: KeyPath = key[:-dots] if dots else ()
        value = values
        for part in target:
            value = value[part]
        for name in filter(None, re.split(r"[.\[\]]+", written)):
            part = int(name) if isinstance(value, list) and name.isdecimal() else name
            try:
                value = value[part]
            except (LookupError, TypeError):
                break
            target = (*target, part)
        else:
            yield target, value
