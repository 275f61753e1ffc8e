"""The JSON Schema of the config's files, for editors, out of the one table of keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from workflow_scripts.settings.schema import KEYS, OPTIONAL_SECTIONS, Key, Kind
from workflow_scripts.settings.schema.workflow_file import KEYS as WORKFLOW_KEYS

_DRAFT = "http://json-schema.org/draft-07/schema#"
_TYPES: Mapping[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
}
_NOT_YET = r"\$\{|^\?\?\?$"
"""Matches what becomes a value later: an interpolation, and the mandatory ``???``."""

_DEFAULTS: Mapping[str, Any] = {
    "description": "The options this file starts from, such as `model: state_sm`; `_self_` is the "
    "file itself. In a run file, `override /model: state_sm` takes another option.",
    "type": "array",
}


_SWEEP: Mapping[str, Any] = {
    "description": "Several runs out of one file: a list of values of each dotted key, or of "
    "options of a group. Each combination is a run; `name` is the template of their names.",
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "additionalProperties": {"type": "array", "minItems": 1},
}


def schema() -> dict[str, Any]:
    """Return the schema of a run file, with those of the other files under ``$defs``.

    There ``config`` is a whole, frozen config, ``workflow`` config/workflow.yaml, and each other
    one an option of the group of its name. All but ``config`` admit interpolations and ``???``.

    A schema refuses nothing that the checks of a config take. The checks say more: what doesn't
    fit together, and what can't name a folder.
    """
    groups = dict.fromkeys(key.path.partition(".")[0] for key in KEYS if "." in key.path)
    whole, edited = _section(_tree(KEYS), frozen=True), _section(_tree(KEYS), frozen=False)
    workflow = _section(_tree(WORKFLOW_KEYS), frozen=True)
    del workflow["required"]  # what it lacks has a default
    others = {
        "config": {"title": "A frozen config of Stateline", **whole},
        "workflow": {"title": "config/workflow.yaml of Stateline", **workflow},
    }
    for group in groups:
        inside = _tree(key for key in KEYS if key.path.startswith(f"{group}."))[group]
        option = _with_defaults(_section(inside, frozen=False))
        others[group] = {"title": f"An option of Stateline's group {group}", **option}
    run = _with_defaults(edited)
    run["properties"]["sweep"] = _SWEEP
    title = "A run file of Stateline, or config.yaml"
    return {"$schema": _DRAFT, "title": title, **run, "$defs": others}


def _tree(keys: Iterable[Key]) -> dict[str, Any]:
    """Nest keys by their paths."""
    tree: dict[str, Any] = {}
    for key in keys:
        inside = tree
        *sections, name = key.path.split(".")
        for section in sections:
            inside = inside.setdefault(section, {})
        inside[name] = key
    return tree


def _with_defaults(content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "properties": {"defaults": _DEFAULTS, **content["properties"]}}


def _section(tree: Mapping[str, Any], *, frozen: bool) -> dict[str, Any]:
    properties = {
        name: _value(part, frozen=frozen)
        if isinstance(part, Key)
        else _section(part, frozen=frozen)
        for name, part in tree.items()
    }
    for name in OPTIONAL_SECTIONS & properties.keys():  # none lies inside another section
        properties[name]["type"] = ["object", "null"]
    section = {"type": "object", "properties": properties, "additionalProperties": False}
    if frozen:
        section["required"] = [
            name
            for name, part in tree.items()
            if _is_needed(part) and name not in OPTIONAL_SECTIONS
        ]
    return section


def _is_needed(part: Key | Mapping[str, Any]) -> bool:
    if isinstance(part, Key):
        return not part.optional and part.kind is not Kind.INERT
    return any(map(_is_needed, part.values()))


def _value(key: Key, *, frozen: bool) -> dict[str, Any]:
    return {"description": _description(key), **_admitted(key, frozen=frozen)}


def _description(key: Key) -> str:
    unit = f" Unit: {key.unit}." if key.unit else ""
    if key.kind is Kind.INERT:
        return f"{key.meaning}.{unit} Read by nothing: {key.reason}."
    return f"{key.meaning}.{unit} {key.kind.value.capitalize()}: {', '.join(key.stages)}."


def _admitted(key: Key, *, frozen: bool) -> dict[str, Any]:
    if object in key.types:
        return {"type": [kind for kind in (*_TYPES.values(), "null") if kind != "object"]}
    is_list = list in key.types
    if key.choices and not is_list:
        null = [None] if key.nullable and None not in key.choices else []
        options: dict[str, Any] = {"enum": [*key.choices, *null]}
        return options if frozen else {"anyOf": [options, _later()]}
    types = [_TYPES[kind] for kind in key.types] + ["null"] * key.nullable
    limits = {
        "minimum": key.at_least,
        "exclusiveMinimum": key.above,
        "maximum": key.at_most,
        "exclusiveMaximum": key.below,
    }
    admitted: dict[str, Any] = {name: limit for name, limit in limits.items() if limit is not None}
    if is_list and key.items is not None:
        items: dict[str, Any] = {"type": _TYPES[key.items]}
        if key.choices:
            items = {"enum": list(key.choices)}
        admitted["items"] = items if frozen else {"anyOf": [items, _later()]}
    if str in key.types:
        admitted["pattern"] = r"\S"
    elif not frozen:  # limits hold for numbers, a pattern for texts: they don't meet
        types.append("string")
        admitted["pattern"] = _NOT_YET
    whole = {"type": types if len(types) > 1 else types[0], **admitted}
    return {"anyOf": [{"enum": list(key.words)}, whole]} if key.words else whole


def _later() -> dict[str, Any]:
    return {"type": "string", "pattern": _NOT_YET}
