"""The values that overrides give to each key, of which a sweep has several."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.settings.config_directory import ConfigDirectory
from workflow_scripts.settings.errors import ConfigError
from workflow_scripts.settings.literals import bare_value
from workflow_scripts.settings.override_functions import Glob, Sweep
from workflow_scripts.settings.overrides import Override, parse_override

_BARE = re.compile(r"[A-Za-z_./][A-Za-z0-9_./+-]*", re.ASCII)


@dataclass(frozen=True)
class SweepPart:
    """What overrides say of one key.

    Attributes
    ----------
    key
        Dotted, or of a group.
    is_group
        Whether it chooses an option of a group.
    texts
        An override for each value, of which there may be one.
    values
        The value of each; None of a deletion.
    """

    key: str
    is_group: bool
    texts: tuple[str, ...]
    values: tuple[Any, ...]


def sweep_parts(config_dir: Path, overrides: Sequence[str]) -> list[SweepPart]:
    """Give what overrides say, key by key; a later one of a key takes the place of an earlier one.

    Raises
    ------
    ConfigError
        Where an override can't be read, or a sweep has no values.
    """
    directory = ConfigDirectory(config_dir)
    by_key: dict[str, SweepPart] = {}
    for text in overrides:
        override = parse_override(text)
        texts = tuple(_texts(override, directory))
        values = tuple(parse_override(one).value for one in texts)
        is_group = directory.is_group(override.key)
        by_key[_head(override)] = SweepPart(override.key, is_group, texts, values)
    return list(by_key.values())


def _head(override: Override) -> str:
    return f"{override.action.value}{override.group_key}"


def _texts(override: Override, directory: ConfigDirectory) -> list[str]:
    """Write an override once for each of its values."""
    if not isinstance(override.value, Sweep):
        return [override.text]
    is_group = directory.is_group(override.key)
    if isinstance(override.value, Glob) and not is_group:
        raise ConfigError(
            f"override {override.text!r}: glob(…) goes over the options of a group, and "
            f"`{override.key}` is none: there are {', '.join(directory.groups())}"
        )
    options = directory.options(override.key) if is_group else []
    values = override.value.choices(options)
    if not values:
        found = f": there are {', '.join(options)}" if options else ""
        raise ConfigError(f"override {override.text!r}: gives no value at all{found}")
    return [f"{_head(override)}={written(value)}" for value in values]


def written(value: Any) -> str:
    """Write a value so that the grammar of overrides reads it back as the same value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_key(key)}:{written(item)}" for key, item in value.items()) + "}"
    text = str(value)
    if _BARE.fullmatch(text) and bare_value(text) == text:
        return text
    # A backslash escapes the quote, and itself before a quote.
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return "'" + re.sub(r"(\\+)\Z", r"\1\1", escaped) + "'"


def _key(key: Any) -> str:
    """Write a key of a mapping, which takes no quotes: escapes stand before what needs them."""
    text = written(key) if not isinstance(key, str) else key
    return re.sub(r"([\\()\[\]{}:=, \t])", r"\\\1", text)
