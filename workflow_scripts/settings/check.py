"""Check a composed config against the schema: all the problems at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from workflow_scripts.settings.check_together import combinations
from workflow_scripts.settings.check_value import shown, value_problem
from workflow_scripts.settings.errors import ConfigError
from workflow_scripts.settings.problem import Problem
from workflow_scripts.settings.schema import BY_PATH, KEYS, OPTIONAL_SECTIONS, Kind, leaves

SECTIONS: tuple[str, ...] = tuple(
    dict.fromkeys(
        path[:place] for path in BY_PATH for place, sign in enumerate(path) if sign == "."
    )
)
"""Dotted paths of everything that holds keys."""


def check_config(
    config: Mapping[str, Any], where: str, source_of: Callable[[str], str | None] = lambda _: None
) -> None:
    """Raise a ConfigError that lists everything wrong with a resolved config.

    Parameters
    ----------
    config
        Nested, resolved config of one run.
    where
        What the config was composed from, for the message.
    source_of
        Says where a dotted path was set: ``file:line`` or ``override 'text'``; None where nobody
        set it.
    """
    problems = list(config_problems(config))
    if not problems:
        return
    lines = [f"{where}: {len(problems)} problem(s) in the config:"]
    for problem in problems:
        lines.append(f"  - {problem.path}: {problem.text}")
        set_by = [source_of(problem.path)]
        set_by += [f"{source} ({path})" for path in problem.beside if (source := source_of(path))]
        sources = " and ".join(source for source in set_by if source)
        about = (f"set by {sources}" if sources else "", problem.about)
        lines += [f"      {'; '.join(filter(None, about))}"] * any(about)
    raise ConfigError("\n".join(lines))


def config_problems(config: Mapping[str, Any]) -> list[Problem]:
    """Give the problems of a config, in its order."""
    found: dict[str, Any] = {}
    problems: list[Problem] = list(_walk(config, "", found))
    broken = {
        path: Problem(path, text, about=BY_PATH[path].meaning)
        for path, value in found.items()
        if (text := value_problem(BY_PATH[path], value)) is not None
    }
    problems += _missing(config, found)
    problems += broken.values()
    right = {path: value for path, value in found.items() if path not in broken}
    problems += combinations(right, frozenset(broken))
    order = {path: place for place, (path, _) in enumerate(leaves(config))}
    return sorted(problems, key=lambda problem: order.get(problem.path, len(order)))


def _walk(config: Mapping[Any, Any], prefix: str, found: dict[str, Any]) -> Iterator[Problem]:
    """Put the values of all known keys into ``found``; give the keys that aren't known."""
    for name, value in config.items():
        path = f"{prefix}{name}"
        if not isinstance(name, str) or "." in name:
            yield Problem(path, _ill_named(name, prefix))
        elif path in BY_PATH:
            found[path] = value
        elif path not in SECTIONS and isinstance(value, Mapping) and value:
            # Named by a key inside it, which knows where it was set; once for all of them.
            text = f"no such key: there is no section {path}{meant(path)}"
            yield Problem(_inside_of(value, path), text)
        elif path not in SECTIONS:
            yield Problem(path, f"no such key{meant(path)}")
        elif isinstance(value, Mapping):
            yield from _walk(value, f"{path}.", found)
        elif value is None and path in OPTIONAL_SECTIONS:
            continue
        else:
            yield Problem(path, f"is {shown(value)}; it is a section, of {_names_in(path)}")


def _inside_of(values: Mapping[Any, Any], path: str) -> str:
    """Give the path of the first value inside a mapping."""
    name, value = next(iter(values.items()))
    inner = f"{path}.{name}"
    return _inside_of(value, inner) if isinstance(value, Mapping) and value else inner


def _ill_named(name: Any, prefix: str) -> str:
    path = f"{prefix}{name}"
    if not isinstance(name, str):
        return f"no such key: {shown(name)} is no text"
    if path in BY_PATH or path in SECTIONS:
        written = ": {".join(name.split("."))
        return f"no such key: in a file, write it nested: {written}: …" + "}" * name.count(".")
    return f"no such key{meant(path)}"


def meant(path: str) -> str:
    """Give the end of a message about a key that isn't there: the ones that were probably meant."""
    section, _, name = path.rpartition(".")
    known = [*BY_PATH, *SECTIONS]
    siblings = [other for other in known if other.rpartition(".")[0] == section]
    elsewhere = [other for other in known if other.rpartition(".")[2] == name]
    likely = (
        [f"{section}.{close}".lstrip(".") for close in _close(name, siblings)]
        or elsewhere
        or [other for other in known if other.rpartition(".")[2] in _close(name, known)]
    )
    if likely:
        return f"; did you mean {' or '.join(likely[:3])}?"
    if section in SECTIONS:
        return f"; {section} has {_names_in(section)}"
    return "; config/README.md lists the keys there are"


def _close(name: str, paths: list[str]) -> list[str]:
    return get_close_matches(name, {path.rpartition(".")[2] for path in paths}, n=2, cutoff=0.7)


def _names_in(section: str) -> str:
    names = [
        path.removeprefix(f"{section}.").partition(".")[0]
        for path in BY_PATH
        if path.startswith(f"{section}.")
    ]
    return ", ".join(dict.fromkeys(names))


def _missing(config: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Problem]:
    reported: set[str] = set()
    for key in KEYS:
        if key.path in found or key.optional or key.kind is Kind.INERT:
            continue
        absent = _first_absent(config, key.path)
        if absent == key.path:
            yield Problem(key.path, "missing; add it", about=key.meaning)
        elif absent is not None and absent not in {*reported, *OPTIONAL_SECTIONS}:
            reported.add(absent)
            group = absent.partition(".")[0]
            text = f"missing; config/{group}/ has its keys: choose one of the files there"
            yield Problem(absent, text)


def _first_absent(config: Mapping[str, Any], path: str) -> str | None:
    """Give the outermost part of a path that isn't there; None inside what is no section."""
    values: Any = config
    parts = path.split(".")
    for depth, part in enumerate(parts, start=1):
        if not isinstance(values, Mapping):
            return None
        if part not in values:
            return ".".join(parts[:depth])
        values = values[part]
    return None
