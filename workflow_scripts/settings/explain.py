"""Explains a config: what a run changes, how two options differ, what there is to know of a key.

Headings and words are English or Chinese (``lang``: ``en``, ``zh``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.check import meant
from workflow_scripts.settings.compose import (
    DELETED,
    Composition,
    compose_traced,
    dotted,
)
from workflow_scripts.settings.config_files import groups_of, options_of
from workflow_scripts.settings.dump import inline
from workflow_scripts.settings.keys import Key
from workflow_scripts.settings.references import is_interpolation
from workflow_scripts.settings.runs import compose_run
from workflow_scripts.settings.schema import KEYS, find
from workflow_scripts.settings.stages import reruns
from workflow_scripts.settings.suggestions import nearest
from workflow_scripts.settings.tables import Column, Table
from workflow_scripts.settings.trace import (
    GROUP,
    Row,
    evaluated,
    leaves,
    settings_of,
    trace_rows,
)


class Words:
    """The words of a language: English ones stand in the code, others in a data file."""

    def __init__(self, lang: str) -> None:
        """Take the words of ``en`` or ``zh``."""
        self._of: dict[str, Any] = {"words": {}, "keys": {}}
        if lang != "en":
            file = Path(__file__).parent / f"{lang}.yaml"
            self._of = yaml.safe_load(file.read_text("utf-8"))

    def __call__(self, text: str) -> str:
        """Translate a heading or a word."""
        return str(self._of["words"].get(text, text))

    def meaning_of(self, key: Key | None) -> str:
        """Return what a key means and, for an inert one, why nothing reads it."""
        if key is None:
            return ""
        why = f" (read by nothing: {key.reason})" if key.kind == "inert" else ""
        return str(self._of["keys"].get(key.path, key.meaning + why))


_CHANGES = {
    "identity": "identity: changes the result",
    "extent": "extent: how far and how often",
    "operational": "operational: changes no result",
    "inert": "inert: read by nothing",
}


def changes(config_dir: Path, asked: Composition, *, everything: bool, lang: str) -> Table:
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
    plain = compose_traced(config_dir, "config")
    before = {dotted(key): inline(value) for key, value in leaves(plain.values)}
    words = Words(lang)
    rows = []
    for row in trace_rows(asked):
        untouched = row.overridden == "no"
        original = before.get(row.parameter, "") if untouched else row.default
        brought = untouched and row.status != GROUP and original != row.value
        if brought or not untouched or everything:
            rows.append(_change(row, original, words))
    names = {
        "parameter": "Parameter",
        "source": "Source file",
        "original": "Original value",
        "final": "Final value",
        "overridden": "Overridden",
        "set_by": "Set by",
    }
    return Table(tuple(Column(name, words(text)) for name, text in names.items()), tuple(rows))


def _change(row: Row, original: str, words: Words) -> tuple[str, ...]:
    if row.overridden == "no":
        return (row.parameter, row.source, original, row.value, "", "")
    final = row.value or words("(deleted)")
    overridden = words(row.overridden)
    return (row.parameter, row.default_source, original, final, overridden, row.source)


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
    columns = (
        Column("parameter", words("Key")),
        *(Column(option, _file_name(option)) for option in (first, second)),
        Column("meaning", words("Meaning")),
    )
    return Table(columns, tuple(rows))


def _file_name(option: str) -> str:
    return Path(option).name if option.endswith((".yaml", ".yml")) else f"{option}.yaml"


def _option(config_dir: Path, group: str, option: str) -> dict[str, str]:
    """Give the values that an option leads to, by dotted path: of its section, or of a run."""
    if group == "runs":
        values = compose_run(config_dir, option, ()).composition.values
        return {dotted(key): inline(value) for key, value in leaves(values)}
    if not options_of(config_dir, group):
        raise ConfigError(
            f"{config_dir}: there is no group `{group}`{nearest(group, groups_of(config_dir))}"
        )
    with_option = compose_traced(config_dir, "config", [], [f"{group}={option}"])
    package = tuple(group.split("/"))
    return {
        dotted(key): inline(value)
        for key, value in leaves(with_option.values)
        if key[: len(package)] == package
    }


def one_key(asked: Composition, path: str, lang: str) -> Table:
    """Tabulate all there is to know of a key: value, sources, type, range, status, meaning.

    Raises
    ------
    ConfigError
        Where the config has no such key, with the nearest one.
    """
    words = Words(lang)
    if path in asked.choices and path not in KEYS:
        return _one_group(asked, path, words)
    values = {dotted(key): (key, value) for key, value in leaves(asked.values)}
    inside = _inside(asked, path)
    if path not in values and path not in KEYS:
        hint = f": it is a section, of {', '.join(inside)}" if inside else meant(path)
        raise ConfigError(f"the config has no key `{path}`{hint}")
    facts = [("Value", words("(absent)"))]
    if path in values:
        key_path, value = values[path]
        facts = [("Value", inline(value)), ("Sources", _chain(asked, key_path))]
    elif inside:  # a key that takes a mapping as a whole
        lines = [f"{inner}: {inline(values[inner][1])}" for inner in inside]
        sources = [_chain(asked, values[inner][0]) for inner in inside]
        facts = [("Value", "\n".join(lines)), ("Sources", "\n".join(sources))]
    key = find(path)
    if key is not None:
        facts += [
            ("Type", key.type_in_tables),
            ("Range", key.range_in_tables),
            ("Unit", key.unit),
            ("Status", words(_CHANGES[key.kind])),
            ("Read by", ", ".join(key.stages)),
            ("A change re-runs", _reruns(key, words, asked)),
            ("Meaning", words.meaning_of(key)),
        ]
    columns = (Column("what", words("Key")), Column("is", path))
    return Table(columns, tuple((words(name), fact) for name, fact in facts if fact))


def _inside(asked: Composition, section: str) -> list[str]:
    paths = (dotted(key) for key, _ in leaves(asked.values))
    return [path for path in paths if path.startswith(f"{section}.")]


def _one_group(asked: Composition, path: str, words: Words) -> Table:
    (row,) = (row for row in trace_rows(asked) if row.parameter == path)
    options = options_of(asked.config_dir, path.partition("@")[0])
    chain = f"{row.value}  ({row.source})"
    if row.default_source:
        chain = f"{row.default}  ({row.default_source})\n{chain}"
    facts = [
        (words("Value"), row.value),
        (words("Sources"), chain),
        (words("Status"), words("choice of a group")),
        (words("Options"), ", ".join(options)),
        (words("Keys"), "\n".join(_inside(asked, path))),
    ]
    return Table((Column("what", words("Key")), Column("is", path)), tuple(facts))


def _chain(asked: Composition, key: tuple[Any, ...]) -> str:
    """Give every setting of a key in order, one a line; the last one is in force."""
    lines = []
    for setting in settings_of(asked, key):
        if setting.value is DELETED or isinstance(setting.value, dict):
            continue
        text = evaluated(asked, key, setting)
        if is_interpolation(setting.value):
            text += f" = {setting.value}"
        lines.append(f"{text}  ({asked.shown(setting.source)})")
    return "\n".join(lines)


def _reruns(key: Key, words: Words, asked: Composition) -> str:
    if key.kind not in ("identity", "extent"):
        return words("nothing")
    how = "afresh" if key.kind == "identity" else "train continues from its last step"
    return f"{', '.join(reruns(asked.values, key.path, key.stages))} ({words(how)})"
