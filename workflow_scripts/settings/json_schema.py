"""JSON Schemas: of each key, for messages and tables; of the files, for editors."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from workflow_scripts.settings.dump import inline
from workflow_scripts.settings.keys import Section
from workflow_scripts.settings.schema import Config, Key, Workflow

_DRAFT = "http://json-schema.org/draft-07/schema#"
_LATER = {"$ref": "#/$defs/later"}

_DEFAULTS: Mapping[str, Any] = {
    "description": "The options this file starts from, such as `model: state_sm`; `_self_` is the "
    "file itself. In a run file, `override /model: state_sm` chooses another option.",
    "type": "array",
}
_SWEEP: Mapping[str, Any] = {
    "description": "Several runs from one file: a list of values for each dotted key or group. "
    "Each combination is a run; `name` is the template of their names.",
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "additionalProperties": {"type": "array", "minItems": 1},
}
_TYPES = {
    "string": "text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}
_PYTHON = {"string": "str", "boolean": "bool", "integer": "int", "number": "float"}
_LIMITS = {
    "minimum": ("of at least", ">="),
    "exclusiveMinimum": ("above", ">"),
    "maximum": ("of at most", "<="),
    "exclusiveMaximum": ("below", "<"),
}


def editor_schema() -> dict[str, Any]:
    """Return the schema of a run file, with those of the other files under ``$defs``.

    There ``config`` is a whole, frozen config, ``workflow`` config/workflow.yaml, and each other
    one an option of the group of its name. All but ``config`` and ``workflow`` accept
    interpolations and ``???``, and require nothing.

    The schema refuses nothing that the checks of a config accept. The checks refuse more: what
    doesn't fit together, and what can't name a folder.
    """
    whole, workflow = _tree(Config), _tree(Workflow)
    del workflow["required"], workflow["properties"]["compare"]["required"]
    definitions = {
        "config": {"title": "A frozen config of Stateline", **whole},
        "workflow": {"title": "config/workflow.yaml of Stateline", **workflow},
        "later": {
            "description": "An interpolation, or ??? for a value that a later file must give.",
            "type": "string",
            "pattern": r"\$\{|^\?\?\?$",
        },
    }
    properties: dict[str, Any] = {"defaults": _DEFAULTS, "sweep": _SWEEP}
    for name, part in whole["properties"].items():
        optional = _is_optional_section(part)
        section = part["anyOf"][0] if optional else part
        if "properties" not in section:
            properties[name] = _edited(part)
            continue
        edited = _edited(section)
        edited["properties"] = {"defaults": _DEFAULTS, **edited["properties"]}
        definitions[name] = {"title": f"An option of Stateline's group {name}", **edited}
        reference = {"$ref": f"#/$defs/{name}"}
        properties[name] = {"anyOf": [reference, {"type": "null"}]} if optional else reference
    return {
        "$schema": _DRAFT,
        "title": "A run file of Stateline, or config.yaml",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": definitions,
    }


def takes(key: Key, *, entry: bool = False) -> str:
    """Return what values a key takes, for messages: ``a number above 0 (GB) or null``.

    With ``entry``, what the entries of a key that takes a mapping are.
    """
    parts = alternatives(key)
    if entry:
        parts = _flat(next(iter(parts[0]["patternProperties"].values())))
    words = [_words(part) for part in parts]
    words[0] += f" ({key.unit})" if key.unit else ""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def type_of(key: Key) -> str:
    """Return the types that a key takes, for tables: ``list of str | null``."""
    names = []
    for part in alternatives(key):
        kind = part.get("type", "")
        if kind == "array":
            names.append(f"list of {_PYTHON.get(part['items'].get('type', ''), 'any')}")
        elif "const" in part:
            names.append(inline(part["const"]))
        else:
            names.append(_PYTHON.get(kind, {"object": "dict"}.get(kind, kind)))
    return "" if key.kind == "inert" and len(names) > 3 else " | ".join(dict.fromkeys(names))


def range_of(key: Key) -> str:
    """Return which values of its type a key takes, for tables; empty where any."""
    texts = []
    for part in alternatives(key):
        choices = choices_of(part)
        texts += [inline(choice) for choice in choices]
        texts += [
            f"{sign} {part[name]:.15g}" for name, (_, sign) in _LIMITS.items() if name in part
        ]
    return ", ".join(texts)


def alternatives(key: Key) -> list[dict[str, Any]]:
    """Return the JSON Schema of each type that a key takes."""
    return _flat(_pieces()[key.path])


def types_of(key: Key) -> set[str]:
    """Return the JSON types that a key takes."""
    return {part.get("type", "") for part in alternatives(key)}


def choices_of(part: Mapping[str, Any]) -> list[Any]:
    """Return the values that a part of a schema, or of its items, is limited to; empty if none."""
    part = part.get("items", part)
    return [part["const"]] if "const" in part else list(part.get("enum", ()))


def _words(part: Mapping[str, Any]) -> str:
    choices = [inline(choice) for choice in choices_of(part)]
    listed = f"{', '.join(choices[:-1])} or {choices[-1]}" if len(choices) > 1 else "".join(choices)
    if part.get("type") == "array":
        inner = {"string": "texts", "integer": "whole numbers"}.get(part["items"].get("type", ""))
        return "a list of " + (listed or inner or "values")
    if choices:
        return listed
    limits = [f"{words} {part[name]:.15g}" for name, (words, _) in _LIMITS.items() if name in part]
    return " ".join([_TYPES[part["type"]], " and ".join(limits)]).strip()


def _flat(piece: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        flat
        for part in piece.get("anyOf", [piece])
        for flat in (_flat(part) if "anyOf" in part else [dict(part)])
    ]


@functools.cache
def _pieces() -> dict[str, Any]:
    """Return the JSON Schema of every key, by dotted path."""
    found = {}
    for model in (Config, Workflow):
        todo = [("", _tree(model))]
        while todo:
            path, piece = todo.pop()
            piece = piece["anyOf"][0] if _is_optional_section(piece) else piece
            if "properties" in piece:
                todo += [
                    (f"{path}.{name}".strip("."), p) for name, p in piece["properties"].items()
                ]
            else:
                found[path] = piece
    return found


def _tree(model: type[Section]) -> dict[str, Any]:
    """Return the JSON Schema of a section without references, described for a person."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def resolved(piece: Any) -> Any:
        if isinstance(piece, list):
            return [resolved(part) for part in piece]
        if not isinstance(piece, dict):
            return piece
        if "$ref" in piece:
            return resolved(definitions[piece["$ref"].rpartition("/")[2]])
        if "properties" not in piece:
            about = piece.get("key")
            kept = {name: part for name, part in piece.items() if name not in _LEFT_OUT}
            if about is not None:
                kept["description"] = _description(piece["description"], about)
            return {name: resolved(part) for name, part in kept.items()}
        section = {name: resolved(part) for name, part in piece["properties"].items()}
        needed = list(piece.get("required", ()))
        return {"type": "object", "properties": section, "additionalProperties": False} | (
            {"required": needed} if needed else {}
        )

    tree: dict[str, Any] = resolved(schema)
    return tree


_LEFT_OUT = ("title", "default", "key")


def _description(meaning: str, about: Mapping[str, Any]) -> str:
    unit = f" Unit: {about['unit']}." if about.get("unit") else ""
    does = about["kind"].capitalize() + ": " + ", ".join(about["readers"])
    if about["kind"] == "inert":
        does = f"Read by nothing: {about['reason']}"
    return f"{' '.join(meaning.split())}.{unit} {does}."


def _edited(piece: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of what people write: nothing is required, and it can interpolate."""
    if "properties" in piece:
        properties = {name: _edited(part) for name, part in piece["properties"].items()}
        return {"type": "object", "properties": properties, "additionalProperties": False}
    if "items" in piece:
        piece = {**piece, "items": {"anyOf": [piece["items"], _LATER]}}
    about = {"description": piece["description"]}
    return {**about, "anyOf": [{n: part for n, part in piece.items() if n not in about}, _LATER]}


def _is_optional_section(piece: Mapping[str, Any]) -> bool:
    return "properties" in piece.get("anyOf", [{}])[0]
