"""Explains a config: what a run changes, how two options differ, what there is to know of a key.

Headings and words are English or Chinese (``lang``: ``en``, ``zh``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.check import meant
from workflow_scripts.settings.compose import DELETED, Composition, compose_traced
from workflow_scripts.settings.config_files import groups_of, options_of
from workflow_scripts.settings.dump import inline
from workflow_scripts.settings.keys import Key
from workflow_scripts.settings.references import is_interpolation
from workflow_scripts.settings.runs import compose_run
from workflow_scripts.settings.schema import KEYS, find
from workflow_scripts.settings.stages import reruns
from workflow_scripts.settings.suggestions import nearest
from workflow_scripts.settings.tables import Table
from workflow_scripts.settings.trace import GROUP, evaluated, leaves, trace_rows
from workflow_scripts.settings.yaml_files import dotted

_CHANGES = {
    "identity": "identity: changes the result",
    "extent": "extent: how far and how often",
    "operational": "operational: changes no result",
    "inert": "inert: read by nothing",
}


class Words:
    """The words of a language: English ones stand in the code, others in a data file."""

    def __init__(self, lang: str) -> None:
        """Take the words of ``en`` or ``zh``."""
        file = Path(__file__).parent / f"{lang}.yaml"
        found = {} if lang == "en" else yaml.safe_load(file.read_text("utf-8"))
        self._words = found.get("words", {})
        self._meanings = found.get("keys", {})

    def __call__(self, text: str) -> str:
        """Translate a heading or a word."""
        return str(self._words.get(text, text))

    def meaning_of(self, key: Key | None) -> str:
        """Return what a key means and, for an inert one, why nothing reads it."""
        if key is None:
            return ""
        why = f" (read by nothing: {key.reason})" if key.kind == "inert" else ""
        return str(self._meanings.get(key.path, key.meaning + why))


def changes(asked: Composition, *, everything: bool, lang: str) -> Table:
    """Tabulate what a run sets, beside what the config would be if nobody asked for anything.

    Listed are the choices and values that a run file or an override gave, those given again as
    they were, and those that another option of a group brought along.

    Parameters
    ----------
    asked
        The composed run.
    everything
        List the rest too.
    """
    before = _values(compose_traced(asked.config_dir, "config"))
    words = Words(lang)
    rows = []
    for row in trace_rows(asked):
        if row.overridden != "no":
            final, overridden = row.value or words("(deleted)"), words(row.overridden)
            default = (row.default_source, row.default)
            rows.append((row.parameter, *default, final, overridden, row.source))
            continue
        original = before.get(row.parameter, "")
        if everything or (original != row.value and row.status != GROUP):
            rows.append((row.parameter, row.source, original, row.value, "", ""))
    names = {
        "parameter": "Parameter",
        "source": "Source file",
        "original": "Original value",
        "final": "Final value",
        "overridden": "Overridden",
        "set_by": "Set by",
    }
    return Table({name: words(text) for name, text in names.items()}, rows)


def _values(composition: Composition) -> dict[str, str]:
    """Return every value by dotted path, as one line of YAML."""
    return {dotted(key): inline(value) for key, value in leaves(composition.values)}


def differences(
    config_dir: Path, group: str, first: str, second: str, *, everything: bool, lang: str
) -> Table:
    """Tabulate what differs between two options of a group, with the meaning of each key.

    ``runs`` is a group too: its options are run files, and all of the config is compared.
    """
    sides = [_option(config_dir, group, option) for option in (first, second)]
    words = Words(lang)
    rows = []
    for path in dict.fromkeys([*sides[0], *sides[1]]):
        values = [side.get(path, words("(absent)")) for side in sides]
        if everything or values[0] != values[1]:
            rows.append((path, *values, words.meaning_of(find(path))))
    files = {
        option: Path(option).name if option.endswith((".yaml", ".yml")) else f"{option}.yaml"
        for option in (first, second)
    }
    headings = {"parameter": words("Key"), **files, "meaning": words("Meaning")}
    return Table(headings, rows)


def _option(config_dir: Path, group: str, option: str) -> dict[str, str]:
    """Return the values that an option leads to, by dotted path: of its section, or of a run."""
    if group == "runs":
        return _values(compose_run(config_dir, option, ()).composition)
    if not options_of(config_dir, group):
        raise ConfigError(
            f"{config_dir}: there is no group `{group}`{nearest(group, groups_of(config_dir))}"
        )
    values = _values(compose_traced(config_dir, "config", [], [f"{group}={option}"]))
    package = group.replace("/", ".") + "."
    return {path: value for path, value in values.items() if path.startswith(package)}


def one_key(asked: Composition, path: str, lang: str) -> Table:
    """Tabulate all there is to know of a key or a group: value, sources, type, range, meaning.

    Raises
    ------
    ConfigError
        Where the config has no such key, with the nearest one.
    """
    words = Words(lang)
    values = {dotted(key): (key, value) for key, value in leaves(asked.values)}
    inside = [inner for inner in values if inner.startswith(f"{path}.")]
    if path in asked.choices and path not in KEYS:
        facts = _facts_of_group(asked, path, words)
        facts["Keys"] = "\n".join(inside)
    elif path in values or path in KEYS:
        facts = {"Value": words("(absent)")}
        if path in values:
            key_path, value = values[path]
            facts = {"Value": inline(value), "Sources": _chain(asked, key_path)}
        elif inside:  # a key that takes a mapping as a whole
            lines = [f"{inner}: {inline(values[inner][1])}" for inner in inside]
            sources = [_chain(asked, values[inner][0]) for inner in inside]
            facts = {"Value": "\n".join(lines), "Sources": "\n".join(sources)}
        if key := find(path):
            facts |= _facts_of_key(asked, key, words)
    else:
        hint = f": it is a section, of {', '.join(inside)}" if inside else meant(path)
        raise ConfigError(f"the config has no key `{path}`{hint}")
    rows = [(words(name), fact) for name, fact in facts.items() if fact]
    return Table({"what": words("Key"), "is": path}, rows)


def _facts_of_group(asked: Composition, path: str, words: Words) -> dict[str, str]:
    (row,) = (row for row in trace_rows(asked) if row.parameter == path)
    default = f"{row.default}  ({row.default_source})\n" if row.default_source else ""
    return {
        "Value": row.value,
        "Sources": f"{default}{row.value}  ({row.source})",
        "Status": words("choice of a group"),
        "Options": ", ".join(options_of(asked.config_dir, path.partition("@")[0])),
    }


def _facts_of_key(asked: Composition, key: Key, words: Words) -> dict[str, str]:
    again = words("nothing")
    if key.kind in ("identity", "extent"):
        how = "afresh" if key.kind == "identity" else "train continues from its last step"
        again = f"{', '.join(reruns(asked.values, key.path, key.stages))} ({words(how)})"
    return {
        "Type": key.type_in_tables,
        "Range": key.range_in_tables,
        "Unit": key.unit,
        "Status": words(_CHANGES[key.kind]),
        "Read by": ", ".join(key.stages),
        "A change re-runs": again,
        "Meaning": words.meaning_of(key),
    }


def _chain(asked: Composition, key: tuple[Any, ...]) -> str:
    """Return every setting of a key in order, one a line; the last one is in force."""
    lines = []
    for setting in asked.settings(key):
        if setting.value is DELETED or isinstance(setting.value, dict):
            continue
        text = evaluated(asked, key, setting)
        if is_interpolation(setting.value):
            text += f" = {setting.value}"
        lines.append(f"{text}  ({asked.shown(setting.source)})")
    return "\n".join(lines)
