"""Evaluates ``${…}``: references to other keys, and the ``oc.`` resolvers."""

from __future__ import annotations

import os
from string import Template
from typing import Any

from workflow_scripts.settings.errors import ConfigError
from workflow_scripts.settings.interpolation_grammar import (
    Call,
    Reference,
    Text,
    parse_element,
    parse_text,
)
from workflow_scripts.settings.literals import GrammarError
from workflow_scripts.settings.suggestions import nearest
from workflow_scripts.settings.tree import MISSING, Tree, dotted, is_interpolation
from workflow_scripts.settings.yaml_files import KeyPath

_RESOLVERS = (
    *("oc.create", "oc.decode", "oc.deprecated", "oc.dict.keys", "oc.dict.values"),
    *("oc.env", "oc.select"),
)
_OF_TWO = ("oc.deprecated", "oc.env", "oc.select")
_IMPURE = "a config that is frozen must compose to the same values tomorrow"


class NothingThereError(ConfigError):
    """A reference to a key that doesn't exist, or that has no value yet."""


class Resolver:
    """Evaluates interpolations against one tree.

    ``warnings`` grows by what a person should know of those that were evaluated.
    """

    def __init__(self, tree: Tree) -> None:
        self.warnings: list[str] = []
        self._tree = tree
        self._open: list[KeyPath] = []

    def everything(self) -> dict[Any, Any]:
        """Give the whole config with all interpolations evaluated."""
        result: dict[Any, Any] = self._plain(self._tree.values, ())
        return result

    def value(self, key: KeyPath) -> Any:
        """Evaluate what stands at a key, which must exist."""
        value: Any = self._tree.values
        for part in key:
            value = value[part]
        return self._plain(value, key)

    def as_if(self, value: Any, key: KeyPath) -> Any:
        """Evaluate a value as if it stood at a key."""
        return self._plain(value, key)

    def tentative(self, key: KeyPath) -> Any:
        """Evaluate what stands at a key of a half-composed config; None if it can't be yet."""
        try:
            return self.value(key)
        except ConfigError:
            return None

    def _plain(self, value: Any, key: KeyPath) -> Any:
        if isinstance(value, dict):
            return {part: self._plain(item, (*key, part)) for part, item in value.items()}
        if isinstance(value, list):
            return [self._plain(item, (*key, index)) for index, item in enumerate(value)]
        if is_interpolation(value):
            return self._evaluate_at(value, key)
        return value

    def _evaluate_at(self, text: str, key: KeyPath) -> Any:
        if key in self._open:
            circle = [*self._open[self._open.index(key) :], key]
            raise self._fail(text, key, "goes in a circle: " + " → ".join(map(dotted, circle)))
        self._open.append(key)
        try:
            return self._evaluate(parse_text(text), text, key)
        except GrammarError as error:
            raise self._fail(text, key, str(error)) from error
        finally:
            self._open.pop()

    def _fail(self, text: str, key: KeyPath, problem: str) -> ConfigError:
        return ConfigError(f"{self._tree.source(key)}: `{dotted(key)}: {text}`: {problem}")

    def _nothing(self, text: str, key: KeyPath, problem: str) -> ConfigError:
        error = self._fail(text, key, problem)
        return NothingThereError(*error.args)

    def _evaluate(self, expression: Any, text: str, key: KeyPath) -> Any:
        """Evaluate a parsed text, or an argument, that stands at a key."""
        if isinstance(expression, Reference):
            return self._look_up(self._path(expression.pieces, text, key), text, key)
        if isinstance(expression, Call):
            return self._call(expression, text, key)
        if isinstance(expression, Text):
            return "".join(str(self._piece(piece, text, key)) for piece in expression.pieces)
        if isinstance(expression, list):
            return [self._evaluate(item, text, key) for item in expression]
        if isinstance(expression, dict):
            return {name: self._evaluate(item, text, key) for name, item in expression.items()}
        return expression

    def _piece(self, piece: Any, text: str, key: KeyPath) -> Any:
        """Evaluate a piece of a longer text; a mapping or list shows as written, unresolved."""
        if isinstance(piece, Reference):
            path = self._absolute(self._path(piece.pieces, text, key), text, key)
            value, _ = self._find(path, text, key)
            if isinstance(value, dict | list):
                return value
        return self._evaluate(piece, text, key)

    def _path(self, pieces: tuple[Any, ...], text: str, key: KeyPath) -> str:
        names = [self._evaluate(piece, text, key) for piece in pieces]
        for piece, name in zip(pieces, names, strict=True):
            if not isinstance(name, str):
                raise self._fail(text, key, f"{name!r}, from {piece}, is no name of a key")
        return "".join(names)

    def _absolute(self, path: str, text: str, key: KeyPath) -> KeyPath:
        """Give the full path that a reference at ``key`` means; a leading dot means beside it."""
        name = path.lstrip(".")
        up = len(path) - len(name)
        if up > len(key):
            raise self._fail(text, key, f"has more dots than there are mappings around {key[-1]}")
        start = key[: len(key) - up] if up else ()
        return (*start, *(part.rstrip("]") for part in name.replace("[", ".").split(".") if part))

    def _find(self, path: KeyPath, text: str, key: KeyPath) -> tuple[Any, KeyPath]:
        """Find a raw value, going through references on the way; give its own path too."""
        value: Any = self._tree.values
        at: KeyPath = ()
        for depth, part in enumerate(path):
            if is_interpolation(value):
                value, at = self._follow(value, at)
            if isinstance(value, dict) and part in value:
                value, at = value[part], (*at, part)
            elif isinstance(value, list) and str(part).isdecimal() and int(part) < len(value):
                value, at = value[int(part)], (*at, int(part))
            elif value == MISSING:
                raise self._nothing(text, key, f"`{dotted(path[:depth])}` is mandatory (???)")
            elif isinstance(value, dict | list):
                near = nearest(part, value) if isinstance(value, dict) else ""
                raise self._nothing(text, key, f"there is no `{dotted(path[: depth + 1])}`{near}")
            else:
                inside = f"`{dotted(path[:depth])}` is no mapping"
                raise self._nothing(text, key, f"there is no `{dotted(path)}`: {inside}")
        if value == MISSING:
            raise self._nothing(
                text, key, f"`{dotted(path)}` is mandatory and has no value (???): give it one"
            )
        return value, at

    def _follow(self, value: str, at: KeyPath) -> tuple[Any, KeyPath]:
        """Go from a key that is a reference to what it refers to."""
        if at in self._open:
            return self._evaluate_at(value, at), at  # raises: a circle
        expression = parse_text(value)
        if not isinstance(expression, Reference):
            return self._evaluate_at(value, at), at
        self._open.append(at)
        try:
            path = self._absolute(self._path(expression.pieces, value, at), value, at)
            found, place = self._find(path, value, at)
            return self._follow(found, place) if is_interpolation(found) else (found, place)
        finally:
            self._open.pop()

    def _look_up(self, path: str, text: str, key: KeyPath) -> Any:
        target = self._absolute(path, text, key)
        value, at = self._find(target, text, key)
        if at == key[: len(at)]:
            circle = (
                f"`{dotted(at)}` holds `{dotted(key)}`" if at != key else f"{dotted(at)} → itself"
            )
            raise self._fail(text, key, f"goes in a circle: {circle}")
        return self._plain(value, at)

    def _call(self, call: Call, text: str, key: KeyPath) -> Any:
        name = self._path(call.name, text, key)
        arguments = [self._evaluate(argument, text, key) for argument in call.arguments]
        if name not in _RESOLVERS:
            why = f" ({_IMPURE})" if name in ("now", "hydra") else nearest(name, _RESOLVERS)
            raise self._fail(text, key, f"there is no resolver `{name}`{why}")
        most = 2 if name in _OF_TWO else 1
        if not 1 <= len(arguments) <= most:
            raise self._fail(text, key, f"{name} takes 1 to {most} arguments, got {len(arguments)}")
        first = arguments[0]
        if name == "oc.create":
            return first
        if name == "oc.decode" and first is None:
            return None
        if not isinstance(first, str):
            raise self._fail(text, key, f"{name} takes a string, got {first!r}")
        if name == "oc.decode":
            return self._evaluate(parse_element(first), text, key)
        if name == "oc.env":
            return self._environment(first, arguments[1:], text, key)
        if name == "oc.deprecated":
            return self._deprecated(first, arguments[1:], text, key)
        if name == "oc.select":
            try:
                return self._look_up(first, text, key)
            except NothingThereError:
                return arguments[1] if len(arguments) > 1 else None
        mapping, at = self._find(self._absolute(first, text, key), text, key)
        if is_interpolation(mapping):
            mapping, at = self._follow(mapping, at)
        if not isinstance(mapping, dict):
            raise self._fail(text, key, f"`{first}` is no mapping: {name} needs one")
        if name == "oc.dict.keys":
            return list(mapping)  # whose values may depend on this very key
        mapping = self._plain(mapping, at)
        absent = [part for part, value in mapping.items() if value == MISSING]
        if absent:
            raise self._nothing(text, key, f"`{first}.{absent[0]}` has no value (???)")
        return list(mapping.values())

    def _deprecated(self, new: str, message: list[Any], text: str, key: KeyPath) -> Any:
        """Give the value of a key's new name, and note a warning."""
        template = message[0] if message else "'$OLD_KEY' is deprecated: use '$NEW_KEY' instead"
        if not isinstance(template, str):
            raise self._fail(text, key, f"oc.deprecated takes a message as text, got {template!r}")
        said = Template(template).safe_substitute(OLD_KEY=dotted(key), NEW_KEY=new)
        warning = f"{self._tree.source(key)}: {said}"
        if warning not in self.warnings:
            self.warnings.append(warning)
        return self._look_up(new, text, key)

    def _environment(self, name: str, default: list[Any], text: str, key: KeyPath) -> Any:
        if name in os.environ:
            return os.environ[name]
        if not default:
            raise self._fail(
                text,
                key,
                f"the environment variable {name} isn't set: set it, or write a default: "
                f"${{oc.env:{name},default}}",
            )
        return None if default[0] is None else str(default[0])
