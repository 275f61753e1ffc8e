"""Where every value of a config came from, and what a change of it does: one row a parameter."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Literal

from workflow_scripts.settings.compose import DELETED, Composition, Setting
from workflow_scripts.settings.dump import inline
from workflow_scripts.settings.references import is_interpolation
from workflow_scripts.settings.schema import OPTIONAL_SECTIONS, find
from workflow_scripts.settings.tables import Table
from workflow_scripts.settings.yaml_files import KeyPath, dotted

Overridden = Literal["yes", "confirmed", "no"]
GROUP = "choice of a group"


@dataclass(frozen=True, slots=True)
class Row:
    """One parameter of a composed config, as text."""

    parameter: str
    """Dotted path of a leaf, or the key of a group."""
    value: str
    """As one line of YAML; empty where an override deleted it."""
    source: str
    """Who set it last: ``file:line`` or ``override 'text'``."""
    written: str
    """What stands there, where that is an interpolation."""
    default: str
    """What the run file or an override replaced; empty without them."""
    default_source: str
    """Where that stands."""
    overridden: Overridden
    """``confirmed`` where the same value was given again."""
    status: str
    """What a change of it does: its class, with the stages that read it, or why none does."""


def trace_rows(composition: Composition) -> list[Row]:
    """Trace a config: the choices of groups, then every leaf in the config's order.

    What an override deleted comes last.
    """
    rows = [
        _row(composition, (group,), inline(settings[-1].value), settings, GROUP)
        for group, settings in composition.choices.items()
    ]
    rows += [
        _row(composition, key, inline(value), composition.settings(key), status_of(dotted(key)))
        for key, value in leaves(composition.values)
    ]
    rows += [
        _row(composition, key, "", settings, status_of(dotted(key)))
        for key, settings in composition.history.items()
        if settings[-1].value is DELETED and not isinstance(settings[-2].value, dict)
    ]
    return rows


def _row(
    composition: Composition, key: KeyPath, value: str, settings: Sequence[Setting], status: str
) -> Row:
    last = settings[-1]
    defaults = [setting for setting in settings if last.asked and not setting.asked]
    default = ""
    if defaults:
        was = defaults[-1]
        default = inline(was.value) if status == GROUP else evaluated(composition, key, was)
    overridden: Overridden = "no"
    if last.asked:
        overridden = "confirmed" if defaults and default == value else "yes"
    return Row(
        dotted(key),
        value,
        composition.shown(last.source),
        str(last.value) if is_interpolation(last.value) else "",
        default,
        composition.shown(defaults[-1].source) if defaults else "",
        overridden,
        status,
    )


def evaluated(composition: Composition, key: KeyPath, setting: Setting) -> str:
    """Give what a setting says, with its interpolations evaluated, as one line of YAML."""
    value = setting.value
    if is_interpolation(value) or isinstance(value, list):
        value = composition.resolved(key, value)
    return inline(value)


def leaves(values: Any, key: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Go through all values that hold no further keys: lists and empty mappings are such too."""
    for part, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*key, part))
        else:
            yield (*key, part), value


def to_tsv(rows: Sequence[Row]) -> str:
    """Give rows as tab-separated text with a header, quoted as spreadsheets and pandas expect."""
    names = [field.name for field in fields(Row)]
    values = attrgetter(*names)
    return Table(dict(zip(names, names, strict=True)), [*map(values, rows)]).render("tsv")


@functools.cache
def status_of(path: str) -> str:
    """Say what a change of a key does, in the words of a trace."""
    key = find(path)
    if path in OPTIONAL_SECTIONS:
        return "an optional section"
    if key is None:
        return "unknown"
    if key.kind == "inert":
        return f"inert: {key.reason}"
    return f"{key.kind}: {' '.join(key.stages)}"


def inert_warnings(rows: Sequence[Row]) -> list[str]:
    """Give a warning for every key that nothing reads and that has another value than its own."""
    warnings = []
    for row in rows:
        key = find(row.parameter)
        if key is None or key.kind != "inert" or not row.value:
            continue
        default = row.default if key.usual is ... else inline(key.usual)
        if default and row.value != default:
            warnings.append(
                f"{row.source}: {row.parameter} is set to {row.value} (default {default}), and "
                f"nothing reads it: {key.reason}"
            )
    return warnings
