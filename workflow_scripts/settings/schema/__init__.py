"""Every key of the config: its type, what it does, and which stages read it.

Slices (what invalidates a stage), the checks of a config, the reference of all keys and the JSON
Schemas for editors are derived from this one table, so that a key can't be read by a stage that
it doesn't trigger, and none can be documented otherwise than it is checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from workflow_scripts.settings.schema import (
    backbone,
    data,
    engine,
    genes,
    inputs,
    model,
    prediction_targets,
    run,
    stages,
    starting_model,
    training,
)
from workflow_scripts.settings.schema.key import NOT_ONE, STAGES, WORKFLOW, Key, Kind

__all__ = [
    "BY_PATH",
    "KEYS",
    "NOT_ONE",
    "OPTIONAL_SECTIONS",
    "STAGES",
    "WORKFLOW",
    "Key",
    "Kind",
    "find",
    "leaves",
]

KEYS: tuple[Key, ...] = (
    *run.KEYS,
    *data.KEYS,
    *model.KEYS,
    *starting_model.KEYS,
    *backbone.KEYS,
    *training.KEYS,
    *inputs.KEYS,
    *genes.KEYS,
    *engine.KEYS,
    *stages.KEYS,
    *prediction_targets.KEYS,
)
"""All keys, in the order of the reference."""

BY_PATH: Mapping[str, Key] = {key.path: key for key in KEYS}

OPTIONAL_SECTIONS = frozenset({"evaluation"})
"""Sections that may be null, or taken out: then nothing is done of what they are about."""


def find(path: str) -> Key | None:
    """Return the key of a dotted path, or the nearest key around it that takes a mapping."""
    key = BY_PATH.get(path)
    around = path
    while key is None and around:
        around = around.rpartition(".")[0]
        outer = BY_PATH.get(around)
        key = outer if outer is not None and dict in outer.types else None
    return key


def leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ``(dotted path, value)`` of a nested config, in its order.

    A mapping that a key takes as a whole is one leaf.
    """
    for name, value in config.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and path not in BY_PATH:
            yield from leaves(value, f"{path}.")
        else:
            yield path, value
