"""The functions of Hydra's override grammar: casts, ``sort``, and sweeps over several values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_MAX_VALUES = 10_000


@dataclass(frozen=True, slots=True)
class Sweep:
    """Several values for one key: one config for each, so a single config can't have it."""

    values: tuple[Any, ...]


def _each(cast: Callable[[Any], Any]) -> Callable[..., Any]:
    """Make a cast go into lists, mappings and sweeps."""

    def apply(value: Any) -> Any:
        if isinstance(value, list):
            return [apply(item) for item in value]
        if isinstance(value, dict):
            return {key: apply(item) for key, item in value.items()}
        if isinstance(value, Sweep):
            return Sweep(tuple(apply(item) for item in value.values))
        if value is None:
            raise TypeError("null can't be cast")
        return cast(value)

    return apply


def _as_bool(value: Any) -> bool:
    if isinstance(value, str):
        if value.lower() not in ("true", "false"):
            raise ValueError(f"{value!r} is neither true nor false")
        return value.lower() == "true"
    return bool(value)


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _sort(*values: Any, reverse: bool = False) -> Any:
    if not values:
        raise ValueError("needs at least one value")
    if len(values) == 1 and isinstance(values[0], list):
        return sorted(values[0], reverse=reverse)
    if len(values) == 1 and isinstance(values[0], Sweep):
        return Sweep(tuple(sorted(values[0].values, reverse=reverse)))
    if len(values) == 1:
        return values[0]
    return Sweep(tuple(sorted(values, reverse=reverse)))


def _choice(*values: Any) -> Sweep:
    if not values:
        raise ValueError("needs at least one value")
    return Sweep(values)


def _range(start: Any, stop: Any = None, step: Any = 1) -> Sweep:
    """Count as Python's range does; fractions are counted exactly, in decimal."""
    if stop is None:
        start, stop = 0, start
    numbers = (start, stop, step)
    if any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
        raise TypeError("takes numbers: range(stop) or range(start, stop, step)")
    whole = all(isinstance(n, int) for n in numbers)
    at, end, by = (Decimal(n) if whole else Decimal(repr(n)) for n in numbers)
    if by == 0 or not all(n.is_finite() for n in (at, end, by)):
        raise ValueError("needs finite numbers and a step other than 0")
    values: list[int | float] = []
    while at < end if by > 0 else at > end:
        if len(values) == _MAX_VALUES:
            raise ValueError(f"gives more than {_MAX_VALUES} values")
        values.append(int(at) if whole else float(at))
        at += by
    return Sweep(tuple(values))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "bool": _each(_as_bool),
    "choice": _choice,
    "float": _each(float),
    "int": _each(int),
    "range": _range,
    "sort": _sort,
    "str": _each(_as_text),
}
