"""The grammar of ``${…}``: text becomes a small tree that ``interpolation`` evaluates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from workflow_scripts.settings.literals import LiteralParser

# Most interpolations are one plain path, ``${a.b}`` or ``${..a}``: recognised without a parse.
_PLAIN = re.compile(r"\$\{(\.*[A-Za-z_$][\w$]*(?:\.[\w$]+)*)\}", re.ASCII)
_KEY = re.compile(r"""[^\\${}()\[\]:. \t'"]+""")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_MAX_NESTING = 30


@dataclass(frozen=True, slots=True)
class Text:
    """Text with interpolations in it; evaluates to a string."""

    pieces: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """``${a.b}``: the pieces of a path, of which some may be interpolations themselves."""

    pieces: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """``${name:arguments}``: a resolver and what it is given."""

    name: tuple[Any, ...]
    arguments: tuple[Any, ...]


@lru_cache(maxsize=4096)
def parse_text(text: str) -> Any:
    """Parse a config value that holds ``${``.

    Returns
    -------
    A ``Reference`` or ``Call`` where the text is one interpolation and nothing else, otherwise a
    ``Text``.

    Raises
    ------
    GrammarError
        Where the text is no interpolation.
    """
    plain = _PLAIN.fullmatch(text)
    if plain is not None:
        return Reference((plain.group(1),))
    return _InterpolationParser(text).whole()


def check_interpolation(text: str) -> None:
    """Raise GrammarError where a text with ``${`` can't be parsed."""
    parse_text(text)


@lru_cache(maxsize=1024)
def parse_element(text: str) -> Any:
    """Parse a text as one resolver argument, as ``oc.decode`` does."""
    parser = _InterpolationParser(text)
    value = parser.element()
    if parser.peek():
        raise parser.fail(f"expected the end, found {parser.peek()!r}")
    return value


def parse_interpolation_at(text: str, start: int) -> tuple[Any, int]:
    """Parse the ``${…}`` that begins at ``start``; give it and where it ends."""
    parser = _InterpolationParser(text)
    parser.position = start
    return parser.interpolation(), parser.position


class _InterpolationParser(LiteralParser):
    """Reads texts, references and calls, one inside the other."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nesting = 0

    def whole(self) -> Any:
        pieces = self._pieces(end="")
        if len(pieces) == 1 and not isinstance(pieces[0], str):
            return pieces[0]
        return Text(tuple(pieces))

    def join(self, pieces: Sequence[Any]) -> Any:
        if all(isinstance(piece, str) for piece in pieces):
            return "".join(pieces)
        return Text(tuple(pieces))

    def quoted(self) -> Any:
        quote = self.peek()
        self.position += 1
        pieces = self._pieces(end=quote)
        self.position += 1
        return self.join(pieces) if pieces else ""

    def _pieces(self, end: str) -> list[Any]:
        r"""Read text up to an unescaped quote, or to the end of everything where ``end`` is empty.

        Backslashes count only before ``${`` and before the closing quote: there each pair stands
        for one, and an odd one escapes.
        """
        pieces: list[Any] = []
        while True:
            start = self.position
            while self.peek() == "\\":
                self.position += 1
            count = self.position - start
            at_interpolation = self.text.startswith("${", self.position)
            at_quote = end != "" and self.peek() == end
            special = at_interpolation or at_quote
            if count:
                pieces.append("\\" * (count // 2 if special else count))
            if special and count % 2:
                pieces.append("${" if at_interpolation else end)
                self.position += len(pieces[-1])
            elif at_interpolation:
                pieces.append(self.interpolation())
            elif at_quote:
                return _merged(pieces)
            elif self.peek() == "":
                if end:
                    raise self.fail(f"the quote {end} is never closed")
                return _merged(pieces)
            else:
                pieces.append(self.peek())
                self.position += 1

    def interpolation(self) -> Any:
        self._nesting += 1
        if self._nesting > _MAX_NESTING:
            raise self.fail(f"interpolations are nested deeper than {_MAX_NESTING}")
        self.position += 2
        self.blanks()
        path: list[Any] = []
        while self.peek() == ".":
            path.append(".")
            self.position += 1
        relative = bool(path)
        path.append(self._bracketed() if self.peek() == "[" else self._key())
        while True:
            mark = self.peek()
            if mark == ".":
                self.position += 1
                path += [".", self._key()]
            elif mark == "[":
                path += [".", self._bracketed()]
            elif self.close("}"):
                self._nesting -= 1
                return Reference(tuple(path))
            elif not relative and self.accept(":"):
                self._nesting -= 1
                return Call(self._resolver_name(path), tuple(self._arguments()))
            else:
                raise self.fail(f"expected '}}' to close '${{'{self._found()}")

    def _bracketed(self) -> Any:
        self.position += 1
        key = self._key()
        if self.peek() != "]":
            raise self.fail(f"expected ']'{self._found()}")
        self.position += 1
        return key

    def _key(self) -> Any:
        if self.text.startswith("${", self.position):
            return self.interpolation()
        match = _KEY.match(self.text, self.position)
        if match is None:
            raise self.fail(f"expected the name of a key{self._found()}")
        self.position = match.end()
        return match.group()

    def _resolver_name(self, path: list[Any]) -> tuple[Any, ...]:
        for piece in path:
            if isinstance(piece, str) and piece != "." and not _NAME.fullmatch(piece):
                raise self.fail(f"{piece!r} can't be part of a resolver's name")
        return tuple(path)

    def _arguments(self) -> list[Any]:
        """Read the arguments; an argument left out is an empty string, as in OmegaConf."""
        if self.close("}"):
            return []
        items: list[Any] = []
        while True:
            if self.accept(","):
                items.append("")
                continue
            if self.close("}"):
                return [*items, ""]
            items.append(self.element())
            if self.close("}"):
                return items
            if not self.accept(","):
                raise self.fail(f"expected ',' or '}}'{self._found()}")


def _merged(pieces: list[Any]) -> list[Any]:
    """Join neighbouring strings."""
    merged: list[Any] = []
    for piece in pieces:
        if merged and isinstance(piece, str) and isinstance(merged[-1], str):
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged
