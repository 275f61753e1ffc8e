"""Explains a config: what a run changes, how two options differ, what there is to know of a key.

Headings and words are English or Chinese (``lang``: ``en``, ``zh``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.settings.check import meant
from workflow_scripts.settings.compose import (
    DELETED,
    Composition,
    compose_traced,
    dotted,
)
from workflow_scripts.settings.config_files import groups_of, options_of
from workflow_scripts.settings.dump import inline
from workflow_scripts.settings.errors import ConfigError
from workflow_scripts.settings.explain_words import WORDS
from workflow_scripts.settings.references import is_interpolation
from workflow_scripts.settings.run_stages import asks
from workflow_scripts.settings.runs import compose_run
from workflow_scripts.settings.schema import BY_PATH, Key, Kind, find
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

_AFTER_TRAINING = ("predict", "predict_unmasking", "submit", "reference_ends", "evaluate", "report")
_AFTER_SPLITS = ("preflight", "genes", "targets", "train", "predict_baselines", *_AFTER_TRAINING)

FOLLOWERS: Mapping[str, tuple[str, ...]] = {
    "cells": ("splits", "features", *_AFTER_SPLITS),
    "features": ("preflight", "train", "predict_baselines", *_AFTER_TRAINING),
    "splits": _AFTER_SPLITS,
    "targets": ("preflight", "predict_baselines", *_AFTER_TRAINING),
    "preflight": ("report",),
    "genes": ("train", "predict_baselines", *_AFTER_TRAINING),
    "train": _AFTER_TRAINING,
    "predict": ("submit", "reference_ends", "evaluate", "report"),
    "predict_baselines": ("evaluate", "report"),
    "predict_unmasking": ("evaluate", "report"),
    "submit": (),
    "reference_ends": ("evaluate", "report"),
    "evaluate": ("report",),
    "report": (),
}
"""What starts after each stage, for its result or for the look at it before training.

A stage that finds its own inputs unchanged returns at once.
"""


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
    words = WORDS[lang]
    rows = []
    for row in trace_rows(asked):
        untouched = row.overridden == "no"
        original = before.get(row.parameter, "") if untouched else row.default
        brought = untouched and row.status != GROUP and original != row.value
        if brought or not untouched or everything:
            rows.append(_change(row, original, words))
    names = ("parameter", "source", "original", "final", "overridden", "set_by")
    return Table(tuple(Column(name, words[name]) for name in names), tuple(rows))


def _change(row: Row, original: str, words: Mapping[str, str]) -> tuple[str, ...]:
    overridden = words[row.overridden]
    if row.overridden == "no":
        return (row.parameter, row.source, original, row.value, overridden, "")
    final = row.value or words["deleted"]
    return (row.parameter, row.default_source, original, final, overridden, row.source)


def differences(
    config_dir: Path, group: str, first: str, second: str, *, everything: bool, lang: str
) -> Table:
    """Tabulate what differs between two options of a group, with the meaning of each key.

    ``runs`` is a group too: its options are run files, and all of the config is compared.
    """
    sides = [_option(config_dir, group, option) for option in (first, second)]
    words = WORDS[lang]
    rows = []
    for path in dict.fromkeys([*sides[0], *sides[1]]):
        values = [side.get(path, words["absent"]) for side in sides]
        if everything or values[0] != values[1]:
            rows.append((path, *values, meaning_of(find(path), lang)))
    columns = (
        Column("parameter", words["key"]),
        *(Column(option, _file_name(option)) for option in (first, second)),
        Column("meaning", words["meaning"]),
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
    words = WORDS[lang]
    if path in asked.choices and path not in BY_PATH:
        return _one_group(asked, path, words)
    values = {dotted(key): (key, value) for key, value in leaves(asked.values)}
    inside = _inside(asked, path)
    if path not in values and path not in BY_PATH:
        hint = f": it is a section, of {', '.join(inside)}" if inside else meant(path)
        raise ConfigError(f"the config has no key `{path}`{hint}")
    facts = [("value", words["absent"])]
    if path in values:
        key_path, value = values[path]
        facts = [("value", inline(value)), ("sources", _chain(asked, key_path))]
    elif inside:  # a key that takes a mapping as a whole
        lines = [f"{inner}: {inline(values[inner][1])}" for inner in inside]
        sources = [_chain(asked, values[inner][0]) for inner in inside]
        facts = [("value", "\n".join(lines)), ("sources", "\n".join(sources))]
    key = find(path)
    if key is not None:
        facts += [
            ("type", type_of(key)),
            ("range", range_of(key)),
            ("unit", key.unit),
            ("status", words[key.kind.value]),
            ("read_by", ", ".join(key.stages)),
            ("reruns", _reruns(key, words, asked)),
            ("meaning", meaning_of(key, lang)),
        ]
    columns = (Column("what", words["key"]), Column("is", path))
    return Table(columns, tuple((words[name], fact) for name, fact in facts if fact))


def _inside(asked: Composition, section: str) -> list[str]:
    paths = (dotted(key) for key, _ in leaves(asked.values))
    return [path for path in paths if path.startswith(f"{section}.")]


def _one_group(asked: Composition, path: str, words: Mapping[str, str]) -> Table:
    (row,) = (row for row in trace_rows(asked) if row.parameter == path)
    options = options_of(asked.config_dir, path.partition("@")[0])
    chain = f"{row.value}  ({row.source})"
    if row.default_source:
        chain = f"{row.default}  ({row.default_source})\n{chain}"
    facts = [
        (words["value"], row.value),
        (words["sources"], chain),
        (words["status"], words["group"]),
        (words["options"], ", ".join(options)),
        (words["keys"], "\n".join(_inside(asked, path))),
    ]
    return Table((Column("what", words["key"]), Column("is", path)), tuple(facts))


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


def type_of(key: Key) -> str:
    """Name the types that a key takes."""
    names = [kind.__name__ for kind in key.types if kind is not object]
    if key.items is not None:
        names = [f"list of {key.items.__name__}" if name == "list" else name for name in names]
    names += key.words
    return " | ".join([*names, *(["null"] if key.nullable and None not in key.choices else [])])


def range_of(key: Key) -> str:
    """Say which values of its type a key takes; empty where any."""
    if key.choices:
        return ", ".join(map(inline, key.choices))
    limits = {">=": key.at_least, ">": key.above, "<=": key.at_most, "<": key.below}
    return ", ".join(f"{sign} {limit:.15g}" for sign, limit in limits.items() if limit is not None)


def meaning_of(key: Key | None, lang: str) -> str:
    """Say what a key means, and of an inert one why nothing reads it."""
    if key is None:
        return ""
    meaning, reason = (key.zh, key.reason_zh) if lang == "zh" else (key.meaning, key.reason)
    if key.kind is not Kind.INERT:
        return meaning
    return f"{meaning} ({WORDS[lang]['unread']}{reason})"


def _reruns(key: Key, words: Mapping[str, str], asked: Composition) -> str:
    if key.kind not in (Kind.IDENTITY, Kind.EXTENT):
        return words["nothing"]
    # Stages that the run doesn't have are left out, unless the key may ask for them.
    prediction = asked.values["prediction"]
    optional = {
        "genes": asked.values["genes"]["select"] != "all" or key.path == "genes.select",
        "targets": asks(asked.values) or key.path.startswith("prediction."),
        "submit": prediction["submission"] is not None or key.path == "prediction.submission",
    }
    first = [stage for stage in key.stages if optional.get(stage, True)]
    affected = {stage for each in first for stage in (each, *FOLLOWERS[each])}
    affected -= {stage for stage, runs in optional.items() if not runs}
    stages = ", ".join(stage for stage in FOLLOWERS if stage in affected)
    how = words["afresh" if key.kind is Kind.IDENTITY else "continues"]
    return f"{stages} ({how})"
