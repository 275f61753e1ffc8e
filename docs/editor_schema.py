"""The JSON Schema of Stateline's YAML files, for editors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflow_scripts.settings.keys import Section
from workflow_scripts.settings.schema import Config, Workflow

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
        optional = "properties" in part.get("anyOf", [{}])[0]
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


def _tree(model: type[Section]) -> dict[str, Any]:
    """Return pydantic's JSON Schema of a section, with its references resolved."""
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
            kept = {name: part for name, part in piece.items() if name not in ("title", "default")}
            return {name: resolved(part) for name, part in kept.items()}
        section = {name: resolved(part) for name, part in piece["properties"].items()}
        found = {"type": "object", "properties": section, "additionalProperties": False}
        return found | ({"required": piece["required"]} if "required" in piece else {})

    tree: dict[str, Any] = resolved(schema)
    return tree


def _edited(piece: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of what people write: nothing is required, and it can interpolate."""
    if "properties" in piece:
        properties = {name: _edited(part) for name, part in piece["properties"].items()}
        return {"type": "object", "properties": properties, "additionalProperties": False}
    if "items" in piece:
        piece = {**piece, "items": {"anyOf": [piece["items"], _LATER]}}
    about = {"description": piece["description"]}
    return {**about, "anyOf": [{n: part for n, part in piece.items() if n not in about}, _LATER]}
