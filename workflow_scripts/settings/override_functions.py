"""The functions of Hydra's override grammar: casts, ``sort``, and sweeps over several values."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

MAX_VALUES = 10_000
"""How many values a sweep may have; more is a slip, such as range(1e9)."""


class Sweep(ABC):
    """Several values for one key: one config for each, so a single config can't have it."""

    @abstractmethod
    def choices(self, options: Sequence[str]) -> tuple[Any, ...]:
        """Give the values, in order; ``options`` are those of the group that is swept over."""


@dataclass(frozen=True, slots=True)
class Choice(Sweep):
    """Values one by one. ``simple`` were written ``a,b``, without ``choice(…)``."""

    values: tuple[Any, ...]
    simple: bool = False

    def choices(self, options: Sequence[str]) -> tuple[Any, ...]:
        """Give the values as they are."""
        return self.values


@dataclass(frozen=True, slots=True)
class Range(Sweep):
    """Numbers from ``start`` by ``step``, as long as ``stop`` isn't reached."""

    start: int | float
    stop: int | float
    step: int | float

    def choices(self, options: Sequence[str]) -> tuple[Any, ...]:
        """Count as Python's range does; fractions are counted exactly, in decimal."""
        numbers = (self.start, self.stop, self.step)
        whole = all(isinstance(n, int) for n in numbers)
        at, end, by = (Decimal(n) if whole else Decimal(repr(n)) for n in numbers)
        if by == 0 or not all(n.is_finite() for n in (at, end, by)):
            raise ValueError("needs finite numbers and a step other than 0")
        values: list[int | float] = []
        while at < end if by > 0 else at > end:
            if len(values) == MAX_VALUES:
                raise ValueError(f"gives more than {MAX_VALUES} values")
            values.append(int(at) if whole else float(at))
            at += by
        return tuple(values)


@dataclass(frozen=True, slots=True)
class Glob(Sweep):
    """The options of a group whose names match a pattern."""

    include: tuple[str, ...]
    exclude: tuple[str, ...]

    def choices(self, options: Sequence[str]) -> tuple[Any, ...]:
        """Give the options that match, in the order of their names."""

        def matches(option: str, patterns: tuple[str, ...]) -> bool:
            return any(fnmatchcase(option, pattern) for pattern in patterns)

        return tuple(
            option
            for option in options
            if matches(option, self.include) and not matches(option, self.exclude)
        )


def call_function(name: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """Call a function of the grammar.

    Raises
    ------
    ValueError
        Where there is none of this name, or it can't take these arguments.
    """
    if name in REFUSED:
        raise ValueError(f"{name}(…) {REFUSED[name]}")
    function = FUNCTIONS.get(name)
    if function is None:
        raise ValueError(
            f"there is no function {name!r}, only {', '.join(sorted(FUNCTIONS))}; "
            "to have a bracket in a text put quotes around it"
        )
    try:
        inspect.signature(function).bind(*arguments, **named)
    except TypeError as error:
        raise ValueError(f"{name}(…) takes {USAGE[name]}") from error
    try:
        return function(*arguments, **named)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name}(…): {error}") from error


def _each(cast: Callable[[Any], Any], *, ranges: bool = False) -> Callable[..., Any]:
    """Make a cast go into lists, mappings and sweeps; ``ranges`` too, by their three numbers."""

    def one(item: Any) -> Any:
        if isinstance(item, list):
            return [one(part) for part in item]
        if isinstance(item, dict):
            return {key: one(part) for key, part in item.items()}
        if isinstance(item, Choice):
            return Choice(tuple(map(one, item.values)), item.simple)
        if isinstance(item, Range) and ranges:
            return Range(one(item.start), one(item.stop), one(item.step))
        if item is None or isinstance(item, Sweep):
            raise TypeError(f"{'null' if item is None else 'this sweep'} can't be cast")
        return cast(item)

    def apply(*arguments: Any, value: Any = None) -> Any:
        given = [*arguments, *([] if value is None else [value])]
        if not given or (arguments and value is not None):
            raise TypeError("needs a value, or several, or value=…")
        return one(given[0]) if len(given) == 1 else one(Choice(tuple(given), simple=True))

    return apply


def _as_bool(value: Any) -> bool:
    if isinstance(value, str):
        if value.lower() not in ("true", "false"):
            raise ValueError(f"{value!r} is neither true nor false")
        return value.lower() == "true"
    return bool(value)


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _sort(
    *values: Any,
    sweep: Any = None,
    list: Any = None,  # noqa: A002  (the grammar's name)
    reverse: Any = False,
) -> Any:
    given = list if list is not None else sweep
    if given is None:
        if not values:
            raise ValueError("needs at least one value")
        given = values[0] if len(values) == 1 else Choice(values, simple=True)
        if len(values) > 1 and any(not isinstance(v, int | float | str) for v in values):
            raise ValueError("sorts numbers and texts")
    if isinstance(given, Choice):
        return Choice(tuple(sorted(given.values, reverse=reverse)), given.simple)
    if isinstance(given, Range):
        return _sorted_range(given, bool(reverse))
    if isinstance(given, Sweep):
        raise TypeError("can't sort this sweep")
    is_list = isinstance(given, Sequence) and not isinstance(given, str)
    return sorted(given, reverse=reverse) if is_list else given


def _sorted_range(numbers: Range, reverse: bool) -> Range:
    """Turn a range round where it runs the other way, as Hydra does: by its ends."""
    start, stop, step = numbers.start, numbers.stop, numbers.step
    if reverse and start < stop:
        return Range(stop - abs(step), start - abs(step), -step)
    if not reverse and start > stop:
        return Range(stop + abs(step), start + abs(step), -step)
    return numbers


def _choice(*values: Any) -> Choice:
    if not values:
        raise ValueError("needs at least one value")
    if len(values) == 1 and isinstance(values[0], Choice):
        if not values[0].simple:
            raise ValueError("a choice of choices has no meaning")
        return Choice(values[0].values)
    if any(isinstance(value, Sweep) for value in values):
        raise ValueError("its values can't be sweeps")
    return Choice(values)


def _range(start: Any, stop: Any = None, step: Any = 1) -> Range:
    if stop is None:
        start, stop = 0, start
    numbers = (start, stop, step)
    if any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
        raise TypeError("takes numbers: range(stop) or range(start, stop, step)")
    found = Range(*numbers)
    found.choices(())  # a range that can't be counted is refused where it is written
    return found


def _tag(*arguments: Any, sweep: Any = None) -> Sweep:
    """Give the sweep: tags are for sweepers that search, and change no value."""
    *tags, last = [*arguments, *([] if sweep is None else [sweep])]
    if not isinstance(last, Sweep) or not all(isinstance(tag, str) for tag in tags):
        raise TypeError("takes texts and, last, a sweep")
    return last


def _glob(include: Any, exclude: Any = None) -> Glob:
    def patterns(given: Any) -> tuple[str, ...]:
        several = given if isinstance(given, list) else [given]
        if not all(isinstance(pattern, str) for pattern in several):
            raise TypeError("takes a pattern or a list of them, such as *_sm")
        return tuple(several)

    return Glob(patterns(include), () if exclude is None else patterns(exclude))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "bool": _each(_as_bool),
    "choice": _choice,
    "float": _each(float, ranges=True),
    "glob": _glob,
    "int": _each(int, ranges=True),
    "range": _range,
    "sort": _sort,
    "str": _each(_as_text),
    "tag": _tag,
}
_CAST = "values, or value=…"
USAGE = {
    **dict.fromkeys(("bool", "float", "int", "str"), _CAST),
    "choice": "values",
    "glob": "include and exclude: patterns of names",
    "range": "start, stop and step",
    "sort": "values, or list=… or sweep=…, and reverse=true",
    "tag": "texts and, last, a sweep",
}
REFUSED = {
    "shuffle": "gives another order each time, and a config must compose to the same values "
    "tomorrow: list the values in the order you want",
    "interval": "has no end of values, for a sweeper that searches: write the values, or range(…)",
}
