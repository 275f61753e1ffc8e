"""Check one value of a config against its key: what is wrong, what it takes, what to do."""

from __future__ import annotations

import math
import operator
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from workflow_scripts.settings.compose import MISSING
from workflow_scripts.settings.dump import inline
from workflow_scripts.settings.schema import Key
from workflow_scripts.settings.suggestions import nearest

WORDS: Mapping[type, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a mapping",
}
"""The types of values, as a person calls them."""

PLACES = frozenset({"name", "output_dir"})
"""Keys that become parts of file names, in which Snakemake takes braces for wildcards."""

_YES_OR_NO = {
    **dict.fromkeys(("yes", "on", "true"), "true"),
    **dict.fromkeys(("no", "off", "false"), "false"),
}
_NUMBER = re.compile(r"\s*[+-]?(\d[\d_]*\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_LONGEST_NAME = 255
_SHOWN = 80


def value_problem(key: Key, value: Any) -> str | None:
    """Say what is wrong with a key's value, None where nothing is."""
    problem = _problem(key, value)
    if problem is not None and key.reason and key.choices:
        problem += f": {key.reason}"
    return problem


def shown(value: Any) -> str:
    """Give a value as a message shows it: text in quotes, the rest as in YAML, cut where long."""
    try:
        text = repr(value) if isinstance(value, str) else inline(value)
    except ValueError:  # Python writes no integer of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _problem(key: Key, value: Any) -> str | None:
    if object in key.types and not isinstance(value, Mapping):
        return None
    if value == MISSING:
        return f"has no value (???); give it one: it takes {_takes(key)}"
    if value is None:
        if key.nullable:
            return None
        return f"is null; give it a value: it takes {_takes(key)}"
    if isinstance(value, Mapping) and dict not in key.types:
        names = ", ".join(map(str, value)) or "no keys"
        return f"is a section ({names}), but takes one value: {_takes(key)}"
    if isinstance(value, str) and value in key.words:
        return None
    if not _has_type(value, key.types):
        return f"is {shown(value)}{_instead(key, value)}; it takes {_takes(key)}"
    found = next(_limits(key, value), None)
    if found is None and key.choices and not isinstance(value, list):
        found = _choice(key, value)
    if found is None and isinstance(value, str) and not key.choices:
        found = _text(key, value)
    if found is None and isinstance(value, list):
        found = "; ".join(_items(key, value)) or None
    return found


def _has_type(value: Any, types: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in types
    if isinstance(value, int) and float in types:
        return True
    return isinstance(value, types)


def _takes(key: Key) -> str:
    """Say what values a key takes."""
    if key.choices and list not in key.types:
        return _options(key)
    words = " or ".join(WORDS.get(kind, "any value") for kind in key.types)
    limits = " and ".join(f"{sign} {limit:.15g}" for sign, limit, _ in _limits_of(key))
    unit = f" ({key.unit})" if key.unit else ""
    null = "".join(f" or {word}" for word in key.words) + (" or null" if key.nullable else "")
    items = f" of {_ITEMS[key.items]}" if key.items in _ITEMS else ""
    of = " " if limits.startswith(("above", "below")) else " of " if limits else ""
    return f"{words}{items}{of}{limits}{unit}{null}"


_ITEMS: Mapping[type | None, str] = {str: "texts", int: "whole numbers", float: "numbers"}


def _options(key: Key) -> str:
    options = [inline(choice) for choice in key.choices]
    if key.nullable and None not in key.choices:
        options.append("null")
    if len(options) == 1:
        return f"{options[0]} alone"
    return f"{', '.join(options[:-1])} or {options[-1]}"


def _instead(key: Key, value: Any) -> str:
    """Say what a value of another type probably was meant to be."""
    numeric = int in key.types or float in key.types
    if isinstance(value, str):
        if value == "None" and key.nullable:
            return ", a text: for no value write null"
        if numeric and _NUMBER.fullmatch(value):
            return ", a text: take the quotes off"
        if numeric and re.fullmatch(r"\s*[\d.,\s]+", value):
            return ", a text: write the digits without commas and blanks"
        if bool in key.types and value.strip().lower() in _YES_OR_NO:
            return f", a text: write {_YES_OR_NO[value.strip().lower()]}, without quotes"
        if list in key.types:
            return f", a text: write [{value}]"
        return ", a text"
    if isinstance(value, float) and int in key.types:
        if value.is_integer() and abs(value) < 1e15:
            return f": write {int(value)}"
        return ""
    if str in key.types and isinstance(value, bool | int | float):
        return f", {'a truth value' if isinstance(value, bool) else 'a number'}: put it in quotes"
    return ""


def _limits_of(key: Key) -> Iterator[tuple[str, float, Callable[[Any, Any], bool]]]:
    named = (
        ("at least", key.at_least, operator.ge),
        ("above", key.above, operator.gt),
        ("at most", key.at_most, operator.le),
        ("below", key.below, operator.lt),
    )
    for words, limit, holds in named:
        if limit is not None:
            yield words, limit, holds


def _limits(key: Key, value: Any) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if not is_finite(value):
        yield f"is {shown(value)}; it must be a number that is finite"
        return
    unit = f" ({key.unit})" if key.unit else ""
    for words, limit, holds in _limits_of(key):
        if not holds(value, limit):
            yield f"is {shown(value)}; it must be {words} {limit:.15g}{unit}"


def is_finite(value: float) -> bool:
    """Tell whether a number is one that arithmetic can go on with."""
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the largest float
        return False


def _choice(key: Key, value: Any) -> str | None:
    if value in key.choices:
        return None
    close = nearest(value, key.choices) if isinstance(value, str) else ""
    hint = close.replace(": did", "; did") if "did you mean" in close else ""
    return f"is {shown(value)}; it can be {_options(key)}{hint}"


def _text(key: Key, text: str) -> str | None:
    if not text.strip():
        null = ", or null for none" if key.nullable else ""
        if key.path == "name":
            return f"is {text!r}; it must be the name of a folder"
        return f"is {text!r}, which is empty; give it a text{null}"
    if text == "None" and key.nullable:
        return "is the text 'None'; for no value write null"
    if any(unicodedata.category(sign) in ("Cc", "Cs") for sign in text):
        return f"is {shown(text)}; take the line breaks, tabs or control characters out"
    if key.path in PLACES:
        return _place(key.path, text)
    return None


def _place(path: str, text: str) -> str | None:
    if "{" in text or "}" in text:
        return f"is {shown(text)}; take the braces out: Snakemake reads them as wildcards"
    if path != "name":
        return None
    if text in (".", "..") or "/" in text:
        return f"is {text!r}; it must be the name of a folder, and output_dir says where that lies"
    if text != text.strip():
        return f"is {text!r}; take the blanks at its ends off"
    if len(text.encode()) > _LONGEST_NAME:
        return (
            f"is {shown(text)}; it must be the name of a folder, of {_LONGEST_NAME} bytes at most"
        )
    return None


def _items(key: Key, values: list[Any]) -> Iterator[str]:
    if key.items is None:
        return
    for place, value in enumerate(values, start=1):
        if not _has_type(value, (key.items,)):
            unquoted = key.items is str and isinstance(value, int | float)
            quotes = ": put it in quotes" if unquoted else ""
            yield f"its item {place} is {shown(value)}{quotes}; it takes {_takes(key)}"
        elif isinstance(value, str) and not value.strip():
            yield f"its item {place} is empty; take it out"
        elif key.choices and value not in key.choices:
            yield f"its item {place} is {shown(value)}; there are {_options(key)}"
        elif isinstance(value, str) and value in values[: place - 1]:
            yield f"has {shown(value)} twice; take one out"
