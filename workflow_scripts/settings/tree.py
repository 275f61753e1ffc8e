"""The config while it is composed: values, and for every value where it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from deepmerge import Merger

from workflow_scripts.settings.errors import ConfigError
from workflow_scripts.settings.yaml_files import KeyPath, YamlFile

MISSING = "???"  # a mandatory value that nobody gave yet
DELETED = object()  # what the history says of a key that an override took out


@dataclass(frozen=True, slots=True)
class Setting:
    """One time that a key was given a value.

    Attributes
    ----------
    value
        What it was given, before interpolation, a list as a whole; an empty mapping for a mapping,
        whose items have settings of their own. ``DELETED`` where an override took the key out.
    source
        ``file:line``, or ``override 'text'``.
    asked
        Whether a run file or an override set it; the rest is the config's default.
    """

    value: Any
    source: str
    asked: bool


@dataclass(slots=True)
class Tree:
    """A config and the history of its keys.

    Attributes
    ----------
    values
        Plain mappings, lists and scalars; nothing in it is shared with a file or an override.
    history
        For every key ever set, its settings in order. The last one of a key that still exists is
        where its value came from.
    """

    values: dict[Any, Any] = field(default_factory=dict)
    history: dict[KeyPath, list[Setting]] = field(default_factory=dict)

    def source(self, key: KeyPath) -> str:
        """Say where a key, or the nearest key around it, was set last."""
        for length in range(len(key), 0, -1):
            settings = self.history.get(key[:length])
            if settings:
                return settings[-1].source
        return "the config"

    def record(self, key: KeyPath, value: Any, source: str, *, asked: bool = True) -> None:
        """Note that a key, and every key inside its value, was set."""
        for path, item in walk(value, key):
            if item == MISSING and path in self.history:
                continue  # it took no effect
            self.history.setdefault(path, []).append(Setting(leaf(item), source, asked))

    def merge_file(
        self,
        file: YamlFile,
        package: str,
        resolve: Callable[[KeyPath], Any],
        *,
        asked: bool = False,
    ) -> None:
        """Merge a file into the config, at its package.

        Parameters
        ----------
        package
            A dotted path, empty for the top.
        resolve
            Gives the value of an interpolation that stands at a key, None where there is none yet.
        asked
            Whether it is part of what a person asked for, not of the config's defaults.
        """
        prefix: KeyPath = tuple(package.split(".")) if package else ()
        values = copy_plain(file.values)
        if not prefix and not isinstance(values, dict):
            raise ConfigError(f"{file.path}:1: is a list: at the top of a config stands a mapping")
        for part in reversed(prefix):
            values = {part: values}

        def meet(_merger: Merger, path: list[Any], base: Any, new: Any) -> Any:
            key = tuple(path)
            if new == MISSING:
                return base
            if is_interpolation(base) and isinstance(new, dict):
                target = copy_plain(resolve(key))
                if isinstance(target, dict):
                    return merger.value_strategy(path, target, new)
                base = target if isinstance(target, list) else None
            if clashes(base, new):
                line = file.lines.get(key[len(prefix) :], 1)
                raise ConfigError(
                    f"{file.path}:{line}: `{dotted(key)}` is {describe(new)} here, but "
                    f"{describe(base)} in {self.source(key)}: give both the same form, or set the "
                    "key to null in between"
                )
            return new

        merger = Merger([(dict, ["merge"]), (list, ["override"])], [meet], [meet])
        merger.merge(self.values, values)
        for length in range(1, len(prefix) + 1):
            setting = Setting({}, file.at(), asked)
            self.history.setdefault(prefix[:length], []).append(setting)
        for path, setting in _settings(file, prefix, asked):
            if setting.value == MISSING and path in self.history:
                continue  # it took no effect
            self.history.setdefault(path, []).append(setting)


@lru_cache(maxsize=1024)
def _settings(file: YamlFile, prefix: KeyPath, asked: bool) -> tuple[tuple[KeyPath, Setting], ...]:
    """Give what a file sets: for many runs the same file is asked many times."""
    return tuple(
        ((*prefix, *key), Setting(leaf(value), file.at(key), asked))
        for key, value in walk(file.values)
        if key
    )


def walk(value: Any, key: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Go through a value and everything inside it, with the path of each."""
    yield key, value
    if isinstance(value, dict):
        for part, item in value.items():
            yield from walk(item, (*key, part))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from walk(item, (*key, index))


def copy_plain(value: Any) -> Any:
    """Copy mappings and lists; three times as fast as copy.deepcopy, which has to suspect more."""
    if isinstance(value, dict):
        return {key: copy_plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy_plain(item) for item in value]
    return value


def is_interpolation(value: Any) -> bool:
    """Tell whether a value is computed from others when the config is resolved."""
    return isinstance(value, str) and "${" in value


def clashes(base: Any, new: Any) -> bool:
    """Tell whether a value can't take another's place: one is a mapping and the other isn't.

    Null, an interpolation and a missing value may become anything, and anything may become them.
    """
    if isinstance(base, dict) == isinstance(new, dict):
        return False
    other = new if isinstance(base, dict) else base
    return not (other is None or other == MISSING or is_interpolation(other))


def leaf(value: Any) -> Any:
    """Give the value itself, a list as a copy, an empty mapping for a mapping."""
    if isinstance(value, list):
        return copy_plain(value)
    return {} if isinstance(value, dict) else value


def dotted(key: KeyPath) -> str:
    """Write a path as people do: ``model.kwargs.blur``."""
    return ".".join(str(part) for part in key)


def describe(value: Any) -> str:
    """Say in a few words what a value is, for messages."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = "null" if value is None else repr(value)
    return text if len(text) < 60 else text[:57] + "..."
