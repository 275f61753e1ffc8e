"""Overrides of config keys in Hydra's grammar: reading them, and the values a sweep gives."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from workflow_scripts.errors import ConfigError, shortened
from workflow_scripts.settings.config_files import is_group
from workflow_scripts.settings.hydra_internals import (
    Glob,
    IntervalSweep,
    Override,
    OverridesParser,
    Quote,
    QuotedString,
)

MOST_VALUES = 10_000
"""Values that one sweep may give."""

_MOST_CHARACTERS, _MOST_COMMAS, _DEEPEST = 65_536, 2_000, 100
_BARE = re.compile(r"[A-Za-z_./][A-Za-z0-9_./+-]*", re.ASCII)


@lru_cache(maxsize=4096)
def parse_override(text: str) -> Override:
    """Read one override in Hydra's grammar.

    Raises
    ------
    ConfigError
        Where it can't be read. Hydra's parser takes quadratic time, so one that is very long is
        refused too.
    """
    if len(text) > _MOST_CHARACTERS or text.count(",") > _MOST_COMMAS:
        raise ConfigError(
            f"override {text[:60]!r}…: is longer than {_MOST_CHARACTERS:,} characters or "
            f"{_MOST_COMMAS:,} items: put the value into a run file"
        )
    if sum(map(text.count, "[{(")) > _DEEPEST or text.partition("=")[0].count(".") > _DEEPEST:
        raise ConfigError(f"override {text[:60]!r}…: has more than {_DEEPEST} brackets or parts")
    try:
        text.encode()
        override: Override = OverridesParser.create().parse_overrides([text])[0]
    except UnicodeEncodeError:
        raise ConfigError(f"override {text!r}: isn't UTF-8 text") from None
    except Exception as error:  # the errors of Hydra and its parser share no class
        reason = next(iter(str(error.__cause__ or error).splitlines()), "")
        if not reason or reason.startswith(("Error parsing", "Lexer")):
            reason = "can't be read"
        raise ConfigError(f"override {shortened(text)}: {reason}{_slip(text)}") from error
    return override


def _slip(text: str) -> str:
    """Return what a person probably meant, for common slips."""
    key, mark, value = re.split(r"([=:：]|$)", text, maxsplit=1)
    if missing := _unclosed(text):
        return f": the closing {missing} is missing"
    if odd := re.search("[：＝“”‘’\u00a0\t]", text):
        return f"; {odd[0]!r} is no plain character: write key=value with = and straight quotes"
    if mark != "=" and value:
        return f"; did you mean {key.strip()}={value.strip()}?"
    if mark == "=" and (key != key.strip() or value != value.lstrip()):
        return f"; leave out the blanks: {key.strip()}={value.strip()}"
    if mark and "=" in value and "(" not in value:
        return f"; put quotes around the value: {key}='{value}'"
    return "" if mark else ": expected '=', as in key=value"


@dataclass(frozen=True)
class SweepPart:
    """What overrides give one key.

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
    """Return what overrides give, key by key; a later one of a key replaces an earlier one.

    Parameters
    ----------
    config_dir
        The config tree, whose groups ``glob(…)`` goes over.
    overrides
        In Hydra's grammar.

    Raises
    ------
    ConfigError
        Where an override can't be read, or a sweep has no values or too many.
    """
    by_key: dict[str, SweepPart] = {}
    for text in overrides:
        override = parse_override(text)
        about_group = is_group(config_dir, override.key_or_group)
        texts = tuple(_texts(override, config_dir, about_group))
        values = tuple(parse_override(one).value() for one in texts)
        head = override.get_key_element()
        by_key[head] = SweepPart(override.key_or_group, about_group, texts, values)
    return list(by_key.values())


def _texts(override: Override, config_dir: Path, about_group: bool) -> list[str]:
    """Return an override once for each of its values."""
    text = str(override.input_line)
    if not override.is_sweep_override():
        return [text]
    sweep: Any = override._value
    options: list[str] = []
    if isinstance(sweep, IntervalSweep) or getattr(sweep, "shuffle", False):
        raise ConfigError(
            f"override {text!r}: an interval has no end of values, and a shuffle another order "
            "each time: give the values, as a,b or range(…)"
        )
    try:
        if isinstance(sweep, Glob):
            options = sorted(
                path.stem for path in (config_dir / override.key_or_group).glob("*.yaml")
            )
            if not about_group:
                raise ValueError(
                    f"glob(…) goes over options, and `{override.key_or_group}` is no group"
                )
            values = [written(name) for name in sweep.filter(options)]
        else:
            values = list(itertools.islice(override.sweep_string_iterator(), MOST_VALUES + 1))
    except (ArithmeticError, ValueError) as error:
        raise ConfigError(f"override {text!r}: {error}") from error
    if not values or len(values) > MOST_VALUES:
        found = f": there are {', '.join(options)}" if options else ""
        many = f"more than {MOST_VALUES} values" if values else f"no value at all{found}"
        raise ConfigError(f"override {text!r}: gives {many}")
    return [f"{override.get_key_element()}={value}" for value in values]


def written(value: Any) -> str:
    """Return a value as the grammar of overrides reads it back."""
    if value is None:
        return "null"
    if isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else repr(value)
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_key(key)}:{written(item)}" for key, item in value.items()) + "}"
    text = str(value)
    if _BARE.fullmatch(text) and parse_override(f"a={text}").value() == text:
        return text
    return str(QuotedString(text, Quote.single).with_quotes())


def _key(key: Any) -> str:
    """Return a key of a mapping, which takes no quotes: escapes stand before what needs them."""
    text = written(key) if not isinstance(key, str) else key
    return re.sub(r"([\\()\[\]{}:=, \t])", r"\\\1", text)


def split_overrides(text: object) -> list[str]:
    """Split what a person gave as overrides into single ones.

    Parameters
    ----------
    text
        Several overrides in one string, separated by blanks outside quotes and brackets; or a list
        of strings, also as JSON; None or an empty string for none.

    Raises
    ------
    ConfigError
        Where it is anything else: Snakemake, for one, reads ``a='x: y'`` as a mapping.
    """
    if text is None:
        return []
    if isinstance(text, list | tuple):
        for item in text:
            if not isinstance(item, str):
                raise ConfigError(f"overrides: {item!r} in the list is no string: {_AS_JSON}")
        return list(text)
    if not isinstance(text, str):
        how = " (a blank after a colon makes YAML of it)" if isinstance(text, dict) else ""
        raise ConfigError(f"overrides: got {text!r}, not a string{how}: {_AS_JSON}")
    if text.lstrip().startswith("["):
        try:
            return split_overrides(json.loads(text))
        except (json.JSONDecodeError, RecursionError) as error:
            raise ConfigError(
                f"overrides: {text!r} is no JSON list: {error}: {_AS_JSON}"
            ) from error
    return _split_blanks(text)


_AS_JSON = """write a JSON list of strings, '["key=value", "other=[1,2]"]'"""
_CLOSING = {"[": "]", "{": "}", "(": ")"}


def _split_blanks(text: str) -> list[str]:
    if missing := _unclosed(text):
        problem = f"overrides: {text!r} ends before the closing {missing}"
        if missing in "'\"":
            problem += f"; if you typed it, Snakemake took it off: {_with_quote(text, missing)}"
        raise ConfigError(problem)
    return [part for part in _parts(text)[0] if part]


def _unclosed(text: str) -> str:
    """Return the quote or bracket that closes what is open at the end of a text."""
    return _parts(text)[1]


def _parts(text: str) -> tuple[list[str], str]:
    """Split at blanks outside quotes and brackets; return what would close the last part too."""
    parts: list[str] = []
    part = quote = ""
    brackets: list[str] = []
    escaped = False
    for mark in text:
        if mark.isspace() and not (quote or brackets or escaped):
            parts.append(part)
            part = ""
            continue
        part += mark
        if escaped:
            escaped = False
        elif mark == "\\":
            escaped = True
        elif quote:
            quote = "" if mark == quote else quote
        elif mark in "'\"":
            quote = mark
        elif mark in _CLOSING:
            brackets.append(_CLOSING[mark])
        elif brackets and mark == brackets[-1]:
            brackets.pop()
    return [*parts, part], quote or (brackets[-1] if brackets else "")


def _with_quote(text: str, quote: str) -> str:
    """Say how to write overrides whose last quote was lost on the way, as a list that keeps it."""
    if "'" in text and '"' in text:
        return _AS_JSON
    whole = json.dumps(_split_blanks((text + quote).replace("'", '"')), ensure_ascii=False)
    return f"write overrides='{whole}'"
