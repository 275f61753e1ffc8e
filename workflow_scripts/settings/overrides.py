"""Overrides in Hydra's grammar: what a person typed becomes single ones, which are read."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from workflow_scripts.errors import ConfigError, shortened
from workflow_scripts.settings.hydra_internals import (
    Override,
    OverridesParser,
    Quote,
    QuotedString,
)

_MOST_CHARACTERS, _MOST_COMMAS, _DEEPEST = 65_536, 2_000, 100
_BARE = re.compile(r"[A-Za-z_./][A-Za-z0-9_./+-]*", re.ASCII)
_CLOSING = {"[": "]", "{": "}", "(": ")"}
_AS_JSON = """write a JSON list of strings, '["key=value", "other=[1,2]"]'"""


@lru_cache(maxsize=4096)
def parse_override(text: str) -> Override:
    """Read one override; Hydra's parser takes quadratic time, so a very long one is refused."""
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
    if missing := _parts(text)[1]:
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
    escaped = re.sub(r"([\\()\[\]{}:=, \t])", r"\\\1", text)
    mapping: Any = parse_override(f"a={{{escaped}:0}}").value()
    [read] = mapping
    if str(read).strip() != text.strip():
        raise ConfigError(f"the key {text!r} of a mapping is read as {read!r}: use another name")
    return escaped


def split_overrides(text: object) -> list[str]:
    """Split what a person gave as overrides into single ones.

    It is a text with blanks between them, outside quotes and brackets; a list of texts, also as
    JSON; or nothing. Snakemake reads ``a='x: y'`` as a mapping, which is refused.
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
    parts, missing = _parts(text)
    if not missing:
        return [part for part in parts if part]
    problem = f"overrides: {text!r} ends before the closing {missing}"
    if missing in "'\"":
        how = _AS_JSON
        if not ("'" in text and '"' in text):
            whole = split_overrides((text + missing).replace("'", '"'))
            how = f"write overrides='{json.dumps(whole, ensure_ascii=False)}'"
        problem += f"; if you typed it, Snakemake took it off: {how}"
    raise ConfigError(problem)


def _parts(text: str) -> tuple[list[str], str]:
    """Split at blanks outside quotes and brackets; return too what would close the last part."""
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
