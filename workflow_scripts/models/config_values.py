"""Read one value of a config section, or say by its name what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflow_scripts.errors import ConfigError


def check_keys(
    values: Mapping[str, Any], known: frozenset[str], refused: frozenset[str], section: str
) -> None:
    """Check that every key is known, and that refused ones ask for nothing (false, 0, null).

    Raises
    ------
    ConfigError
        Naming the keys and the section.
    """
    unknown = sorted(values.keys() - known - refused)
    if unknown:
        raise ConfigError(
            f"{section} has keys that no model reads: {', '.join(unknown)}; remove them"
        )
    for name in sorted(refused & values.keys()):
        if values[name]:
            raise ConfigError(
                f"{section}.{name} is {values[name]!r}: this part of the reference's model is not "
                "built here; set it to false (null for a path)"
            )


def required(values: Mapping[str, Any], name: str, section: str) -> Any:
    """Read a value that has no default; ConfigError if it is missing or null."""
    if values.get(name) is None:
        raise ConfigError(f"{section}.{name} is missing; give it a value")
    return values[name]


def integer(values: Mapping[str, Any], name: str, section: str, default: int | None = None) -> int:
    """Read a whole number above zero; ConfigError if it is none, or missing without a default."""
    value = values.get(name, default)
    if value is None:
        raise ConfigError(f"{section}.{name} is missing; give it a whole number")
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{section}.{name} is {value!r}, must be a whole number above 0")
    return value


def number(values: Mapping[str, Any], name: str, default: float, section: str) -> float:
    """Read a number; ConfigError if it is none."""
    value = values.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ConfigError(f"{section}.{name} is {value!r}, must be a number")
    return float(value)


def flag(values: Mapping[str, Any], name: str, default: bool, section: str) -> bool:
    """Read true or false; ConfigError if it is neither."""
    value = values.get(name, default)
    if not isinstance(value, bool):
        raise ConfigError(f"{section}.{name} is {value!r}, must be true or false")
    return value
