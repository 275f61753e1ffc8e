"""The values that may stand in an override or in a resolver's arguments: one grammar for both."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

_INTEGER = re.compile(r"[+-]?(?:0|[1-9](?:_?[0-9])*)")
_DIGITS = r"[0-9](?:_?[0-9])*"
_POINT = rf"(?:(?:0|[1-9](?:_?[0-9])*)\.|(?:0|[1-9](?:_?[0-9])*)?\.{_DIGITS})"
_FLOAT = re.compile(
    rf"[+-]?(?:(?:{_POINT}|0|[1-9](?:_?[0-9])*)[eE][+-]?{_DIGITS}|{_POINT}"
    r"|[iI][nN][fF]|[nN][aA][nN])"
)
_WORD = re.compile(r"(?:[A-Za-z0-9_/\-+.%*@?|]|\$(?!\{))+|\$")
_BLANK = " \t"
_ESCAPABLE = "\\()[]{}:=, \t"
_MAX_DEPTH = 50


class GrammarError(ValueError):
    """A text that the grammar can't read; the message says what and at which column."""


def bare_value(text: str) -> Any:
    """Give the value of an unquoted word: a number, a boolean, null, or the word itself."""
    lowered = text.lower()
    if lowered in ("true", "false"):
        return lowered == "true"
    if lowered == "null":
        return None
    try:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    except ValueError as error:  # Python refuses to read integers of thousands of digits
        raise GrammarError(f"the number {text[:20]}… is too long") from error
    return text


class LiteralParser(ABC):
    """Reads one value from a position in a text.

    What ``${`` and a quote begin differs between overrides and resolver arguments: subclasses say
    it in ``interpolation``, ``quoted`` and ``join``.
    """

    def __init__(self, text: str, position: int = 0) -> None:
        self.text = text
        self.position = position
        self._depth = 0

    @abstractmethod
    def interpolation(self) -> Any:
        """Read what begins with ``${`` here, as one piece of a value."""

    @abstractmethod
    def quoted(self) -> Any:
        """Read the quoted string that begins here."""

    @abstractmethod
    def join(self, pieces: Sequence[Any]) -> Any:
        """Make one value of the pieces of an unquoted text."""

    def fail(self, message: str) -> GrammarError:
        """Make the error that names the column."""
        return GrammarError(f"{message} (column {self.position + 1})")

    def peek(self) -> str:
        """Give the next character, or the empty string at the end."""
        return self.text[self.position : self.position + 1]

    def blanks(self) -> int:
        """Skip blanks; give how many there were."""
        start = self.position
        while self.peek() and self.peek() in _BLANK:
            self.position += 1
        return self.position - start

    def accept(self, mark: str) -> bool:
        """Skip a punctuation mark with the blanks before and after it, if it comes next."""
        start = self.position
        self.blanks()
        if self.text.startswith(mark, self.position):
            self.position += len(mark)
            self.blanks()
            return True
        self.position = start
        return False

    def close(self, mark: str) -> bool:
        """Skip a closing mark with the blanks before it, if it comes next."""
        start = self.position
        self.blanks()
        if self.text.startswith(mark, self.position):
            self.position += len(mark)
            return True
        self.position = start
        return False

    def element(self) -> Any:
        """Read a list, a mapping, a quoted string or an unquoted value."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self.fail(f"lists and mappings are nested deeper than {_MAX_DEPTH}")
        try:
            mark = self.peek()
            if mark == "[":
                return self._list()
            if mark == "{":
                return self._mapping()
            if mark and mark in "'\"":
                return self.quoted()
            return self.primitive()
        finally:
            self._depth -= 1

    def sequence(self, end: str, read: Callable[[], Any] | None = None) -> list[Any]:
        """Read elements separated by commas, up to and with the closing mark."""
        items: list[Any] = []
        if self.close(end):
            return items
        while True:
            items.append(self.element() if read is None else read())
            if self.close(end):
                return items
            if not self.accept(","):
                raise self.fail(f"expected ',' or '{end}'{self._found()}")

    def _list(self) -> list[Any]:
        self.accept("[")
        return self.sequence("]")

    def _mapping(self) -> dict[Any, Any]:
        self.accept("{")
        items: dict[Any, Any] = {}
        if self.close("}"):
            return items
        while True:
            key = self.primitive(is_key=True)
            if not self.accept(":"):
                raise self.fail(f"expected ':' after the key {key!r}{self._found()}")
            items[key] = self.element()
            if self.close("}"):
                return items
            if not self.accept(","):
                raise self.fail("expected ',' or '}'" + self._found())

    def primitive(self, *, is_key: bool = False) -> Any:
        """Read unquoted text, up to a character that can't belong to it."""
        self.blanks()
        pieces: list[Any] = []
        kind = last = ""
        while last := self._piece(pieces, is_key):
            kind = last
        if kind == "blank":  # blanks before a delimiter are no part of the value
            pieces.pop()
            kind = "word"
        if not pieces:
            raise self.fail(f"expected a value{self._found()}")
        if len(pieces) == 1 and kind == "word":
            return bare_value(pieces[0])
        if len(pieces) == 1:
            return pieces[0]
        return self.join(pieces)

    def _piece(self, pieces: list[Any], is_key: bool) -> str:
        """Read one piece of an unquoted text; give its kind, empty at the text's end."""
        mark = self.peek()
        start = self.position
        if mark == "":
            return ""
        if mark in _BLANK:
            self.blanks()
            pieces.append(self.text[start : self.position])
            return "blank"
        if mark == ":" and not is_key:
            self.position += 1
            self.blanks()
            pieces.append(self.text[start : self.position])
            return "colon"
        if not is_key and self.text.startswith("${", start):
            pieces.append(self.interpolation())
            return "interpolation"
        if mark == "\\":
            following = self.text[start + 1 : start + 2]
            escaped = following != "" and following in _ESCAPABLE
            pieces.append(following if escaped else mark)
            self.position += 2 if escaped else 1
            return "escape"
        word = _WORD.match(self.text, start)
        if word is None:
            return ""
        self.position = word.end()
        pieces.append(word.group())
        return "word"

    def _found(self) -> str:
        mark = self.peek()
        return f", found {mark!r}" if mark else ", but the text ends"
