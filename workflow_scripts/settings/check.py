"""Check a composed config against the schema and the rules: all problems at once."""

from __future__ import annotations

import math
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.compose import MISSING
from workflow_scripts.settings.dump import inline
from workflow_scripts.settings.keys import Key, choices_of
from workflow_scripts.settings.rules import broken_rules
from workflow_scripts.settings.schema import KEYS, SECTIONS, Config, find, leaves
from workflow_scripts.settings.suggestions import RENAMED, closest

_NAMES = (*KEYS, *SECTIONS)
_MAPPINGS = ("cells.datasets", "features.aliases")
_SHOWN = 80
_NUMBER = re.compile(r"\s*[+-]?(\d[\d_]*\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_YES_OR_NO = {
    **dict.fromkeys(("yes", "on", "true"), "true"),
    **dict.fromkeys(("no", "off", "false"), "false"),
}


@dataclass(frozen=True)
class Problem:
    """What is wrong with a key.

    Attributes
    ----------
    path
        The key to change.
    text
        What is wrong, and what to do.
    beside
        Other keys that it conflicts with: the fault may be theirs.
    """

    path: str
    text: str
    beside: tuple[str, ...] = ()


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
        Returns where a dotted path was set (``file:line`` or ``override 'text'``), or None.
    """
    problems = config_problems(config)
    lines = [f"{where}: {len(problems)} problem(s) in the config:"]
    for problem in problems:
        lines.append(f"  - {problem.path}: {problem.text}")
        set_by = [source_of(problem.path)]
        set_by += [f"{source} ({path})" for path in problem.beside if (source := source_of(path))]
        sources = " and ".join(filter(None, set_by))
        known = find(problem.path)
        about = [f"set by {sources}" if sources else "", known.meaning if known else ""]
        if any(about):
            lines.append(f"      {'; '.join(filter(None, about))}")
    if problems:
        raise ConfigError("\n".join(lines))


def config_problems(config: Mapping[Any, Any]) -> list[Problem]:
    """Return the problems of a config, in its order."""
    values = dict(leaves(config))
    found = {path: _texts(path, errors, values) for path, errors in _schema_errors(config).items()}
    for path in KEYS.keys() & values.keys() - found.keys():
        value = values[path]
        if value == MISSING:
            found[path] = [f"has no value (???); it takes {KEYS[path].takes}"]
        elif isinstance(value, int) and abs(value) > sys.maxsize:
            found[path] = [f"is {shown(value)}; it takes a number below {sys.maxsize}"]
    problems = [Problem(path, text) for path, texts in found.items() for text in texts]
    problems += [Problem(*broken) for broken in broken_rules(values, frozenset(found))]
    order = {path: place for place, path in enumerate(values)}
    return sorted(problems, key=lambda problem: order.get(problem.path, len(order)))


def _schema_errors(config: Mapping[Any, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the errors of pydantic by the dotted path of the key or section."""
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    try:
        Config.model_validate(config)
    except ValidationError as error:
        for each in error.errors(include_url=False):
            place = [str(part) for part in each["loc"]]
            inner = each["input"]
            if each["type"] in ("extra_forbidden", "invalid_key"):
                # Where an unknown section was set is known of the keys in it.
                while isinstance(inner, Mapping) and inner:
                    name, inner = next(iter(inner.items()))
                    place.append(str(name))
            else:
                # An error of a union or a list has the branch or the item at the end of its place.
                while ".".join(place) not in _NAMES and ".".join(place[:-1]) not in _MAPPINGS:
                    place.pop()
            found[".".join(place)].append(each)
    return found


def _texts(path: str, errors: list[Mapping[str, Any]], values: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a key and what to do; a union has an error for each branch."""
    kind, value = errors[0]["type"], values.get(path, errors[0]["input"])
    if kind == "invalid_key":
        return [f"no such key: {shown(value)} is not text"]
    if kind == "extra_forbidden":
        return [_no_such_key(".".join(map(str, errors[0]["loc"])), errors[0])]
    if kind == "missing" and path in SECTIONS:
        group = path.partition(".")[0]
        return [f"missing; config/{group}/ has its keys: choose one of the files there"]
    if kind == "missing":
        return ["missing; add it"]
    if path in SECTIONS:
        return [f"is {shown(value)}; it is a section, of {_names_in(path)}"]
    key = find(path)
    assert key is not None
    if own := [each for each in errors if each["type"] == "value_error"]:
        return [f"is {shown(each['input'])}; {each['ctx']['error']}" for each in own]
    if path not in KEYS:
        return [f"is {shown(value)}; it takes {key.entries_take}"]
    takes = f"it takes {key.takes}" + (f": {key.reason}" if key.reason else "")
    items = {
        part + 1: shown(each["input"])
        for each in errors
        for part in each["loc"]
        if isinstance(part, int)
    }
    if items:
        return [f"its item {place} is {text}; {takes}" for place, text in items.items()]
    if isinstance(value, Mapping):
        return [f"is a section ({', '.join(map(str, value)) or 'no keys'}); {takes}"]
    choices = [str(choice) for choice in key.choices]
    close = closest(value, choices) if isinstance(value, str) else None
    did_you_mean = f"; did you mean `{close}`?" if close else ""
    return [f"is {shown(value)}{_hint(key, value)}; {takes}{did_you_mean}"]


def shown(value: Any) -> str:
    """Return a value as a message shows it: text in quotes, the rest as in YAML, cut if long."""
    try:
        text = repr(value) if isinstance(value, str) else inline(value)
    except ValueError:  # Python writes no integer of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _hint(key: Key, value: Any) -> str:
    """Return what a value of another type was probably meant to be."""
    types = key.types
    if isinstance(value, str):
        numeric = not types.isdisjoint(("integer", "number"))
        if not value.strip():
            return ", which is empty"
        if value == "None" and "null" in types:
            return ", which is text: for no value, write null"
        if numeric and _NUMBER.fullmatch(value):
            return ", which is text: remove the quotes"
        if numeric and re.fullmatch(r"[\d.,\s]+", value):
            return ", which is text: write the digits without commas and spaces"
        if "boolean" in types and (meant := _YES_OR_NO.get(value.strip().lower())):
            return f", which is text: write {meant}, without quotes"
        return f", which is text: write [{value}]" if "array" in types else ""
    if isinstance(value, float) and not math.isfinite(value):
        return ", which is not finite"
    if isinstance(value, float) and "integer" in types and value.is_integer():
        return f": write {int(value)}" if abs(value) < 1e15 else ""
    free_text = any(part["type"] == "string" and not choices_of(part) for part in key.alternatives)
    if isinstance(value, bool | int | float) and free_text:
        return ": put it in quotes"
    return ""


def _no_such_key(path: str, error: Mapping[str, Any]) -> str:
    name, value = str(error["loc"][-1]), error["input"]
    if path in _NAMES:  # written with dots
        nested = ": {".join(name.split("."))
        return f"no such key: in a file, write it nested: {nested}: …" + "}" * name.count(".")
    if isinstance(value, Mapping) and value:
        return f"no such key: there is no section {path}{meant(path)}"
    return f"no such key{meant(path)}"


def meant(path: str) -> str:
    """Return the end of a message about an unknown key: the ones that were probably meant."""
    if path in RENAMED:
        return f"; it is called {RENAMED[path]}"
    section, _, name = path.rpartition(".")
    siblings = [other for other in _NAMES if other.rpartition(".")[0] == section]
    likely = (
        _named(siblings, _close(name, siblings))
        or _named(_NAMES, [name])
        or _named(_NAMES, _close(name, _NAMES))
    )
    if likely:
        return f"; did you mean {' or '.join(likely[:3])}?"
    if section in SECTIONS:
        return f"; {section} has {_names_in(section)}"
    return "; config/README.md lists the keys there are"


def _named(paths: Iterable[str], names: list[str]) -> list[str]:
    return [path for path in paths if path.rpartition(".")[2] in names]


def _close(name: str, paths: Iterable[str]) -> list[str]:
    names = sorted({path.rpartition(".")[2] for path in paths})
    return get_close_matches(name, names, n=2, cutoff=0.7)


def _names_in(section: str) -> str:
    below = [path[len(section) + 1 :] for path in KEYS if path.startswith(f"{section}.")]
    return ", ".join(dict.fromkeys(path.partition(".")[0] for path in below))
