"""Hydra's override grammar: ``key=value`` texts become ``Override``s."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

from workflow_scripts.settings.errors import ConfigError
from workflow_scripts.settings.literals import GrammarError, LiteralParser
from workflow_scripts.settings.override_functions import Choice, call_function

_ID = r"[A-Za-z_][A-Za-z0-9_-]*"
_PART = r"(?:[A-Za-z_$][A-Za-z0-9_$-]*|0|[1-9](?:_?[0-9])*)"
_PACKAGE = rf"(?:{_PART}(?:\.{_PART})+|[A-Za-z_$][A-Za-z0-9_$-]*)"
_HEAD = re.compile(
    rf"(?P<action>~|\+\+|\+|)(?P<key>{_ID}(?:/{_ID})+|{_PACKAGE})(?:@(?P<package>{_PACKAGE}|))?"
)
_ARGUMENT = re.compile(rf"({_ID})[ \t]*=[ \t]*")
_NAMED = object()  # an argument that has gone to its name
_FUNCTION = re.compile(rf"({_ID})[ \t]*\([ \t]*")


class Action(Enum):
    """What an override does to the config."""

    CHANGE = ""
    ADD = "+"
    FORCE = "++"
    DELETE = "~"


@dataclass(frozen=True, slots=True)
class Override:
    """One override.

    Attributes
    ----------
    text
        As the person wrote it, for messages and for the trace.
    key
        A dotted path, or a group with its slashes.
    package
        What follows ``@``, None without it.
    value
        The parsed value; None for a deletion that names none.
    """

    text: str
    action: Action
    key: str
    package: str | None
    value: Any

    @property
    def group_key(self) -> str:
        """The key under which a defaults list knows this choice."""
        return self.key if self.package is None else f"{self.key}@{self.package}"


@lru_cache(maxsize=4096)
def parse_override(text: str) -> Override:
    """Parse one override.

    Raises
    ------
    ConfigError
        Where the text follows no form of the grammar.
    """
    if any("\ud800" <= mark <= "\udfff" for mark in text):  # bytes that a shell passed on
        raise _malformed(text, "it isn't UTF-8 text", "check the terminal's or the file's encoding")
    head = _HEAD.match(text)
    if head is None:
        raise _malformed(text, "it doesn't begin with a key", _FORMS)
    action = Action(head["action"])
    rest = text[head.end() :]
    if not rest and action is Action.DELETE:
        return Override(text, action, head["key"], head["package"], None)
    if not rest.startswith("="):
        found = f"found {rest[0]!r}" if rest else "but the text ends"
        raise _malformed(text, f"expected '=' after the key {head.group()!r}, {found}", _FORMS)
    try:
        value = _ValueParser(text, head.end() + 1).whole()
    except GrammarError as error:
        raise _malformed(text, str(error), _QUOTES.format(head["key"])) from error
    return Override(text, action, head["key"], head["package"], value)


_FORMS = (
    "write key=value, +key=value (add), ++key=value (add or change), ~key (delete), group=option"
)
_QUOTES = (
    "put quotes around a text with other characters than letters, digits and /-\\+.$%*@?|: {}='…'"
)


def _malformed(text: str, problem: str, way_out: str) -> ConfigError:
    return ConfigError(f"override {text!r}: {problem}; {way_out}")


class _ValueParser(LiteralParser):
    """Reads what stands after the ``=``."""

    def whole(self) -> Any:
        self.blanks()
        if not self.peek():
            return ""
        values = [self.element()]
        while self.accept(","):
            values.append(self.element())
        if self.peek():
            raise self.fail(f"expected the end, found {self.peek()!r}")
        if len(values) > 1:
            return Choice(tuple(values), simple=True)
        return values[0]

    def element(self) -> Any:
        function = _FUNCTION.match(self.text, self.position)
        if function is None:
            return super().element()
        self.position = function.end()
        named: dict[str, Any] = {}
        arguments = [
            argument
            for argument in self.sequence(")", lambda: self._argument(named))
            if argument is not _NAMED
        ]
        try:
            return call_function(function[1], arguments, named)
        except ValueError as error:
            raise self.fail(str(error)) from error

    def _argument(self, named: dict[str, Any]) -> Any:
        """Read one argument of a function; one with a name goes into ``named``."""
        name = _ARGUMENT.match(self.text, self.position)
        if name is None:
            if named:
                raise self.fail("an argument without a name stands behind one with a name")
            return self.element()
        if name[1] in named:
            raise self.fail(f"the argument {name[1]!r} is given twice")
        self.position = name.end()
        named[name[1]] = self.element()
        return _NAMED

    def join(self, pieces: Sequence[Any]) -> Any:
        return "".join(pieces)

    def interpolation(self) -> str:
        end = self.text.find("}", self.position)
        piece = self.text[self.position : end + 1]
        if end < 0 or piece == "${}":
            raise self.fail("'${' needs a name and a closing '}'")
        self.position = end + 1
        return piece

    def quoted(self) -> str:
        """Read a quoted string: a backslash escapes the quote, and itself before a quote."""
        quote = self.peek()
        pieces: list[str] = []
        self.position += 1
        while True:
            start = self.position
            while self.peek() == "\\":
                self.position += 1
            count = self.position - start
            following = self.peek()
            self.position += 1
            if following == "":
                raise self.fail(f"the quote {quote} is never closed")
            if following != quote:
                pieces.append("\\" * count + following)
                continue
            pieces.append("\\" * (count // 2))
            if count % 2 == 0:
                return "".join(pieces)
            pieces.append(quote)


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
    if quote or brackets:
        missing = quote or brackets[-1]
        problem = f"overrides: {text!r} ends before the closing {missing}"
        if quote and not brackets:
            problem += f"; if you typed it, Snakemake took it off: {_with_quote(text, quote)}"
        raise ConfigError(problem)
    return [part for part in [*parts, part] if part]


def _with_quote(text: str, quote: str) -> str:
    """Say how to write overrides whose last quote was lost on the way, as a list that keeps it."""
    if "'" in text and '"' in text:
        return _AS_JSON
    whole = json.dumps(_split_blanks((text + quote).replace("'", '"')), ensure_ascii=False)
    return f"write overrides='{whole}'"
