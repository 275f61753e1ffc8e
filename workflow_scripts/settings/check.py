"""Check a composed config against the schema: all the problems at once."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workflow_scripts.settings.errors import ConfigError
from workflow_scripts.settings.schema import BY_PATH, KEYS, Key, Kind, leaves
from workflow_scripts.settings.schema.backbone import POSITIONS, SECTION
from workflow_scripts.settings.schema.ours import BASELINES


def check_config(config: Mapping[str, Any], where: str) -> None:
    """Raise a ConfigError that lists everything wrong with a resolved config.

    Parameters
    ----------
    config
        Nested, resolved config of one run.
    where
        What the config was composed from, for the message.
    """
    found = dict(leaves(config))
    problems = [*_unknown(found), *_missing(found), *_values(found)]
    if not problems:
        problems = list(_combinations(found))
    if problems:
        listing = "\n".join(f"  - {problem}" for problem in problems)
        raise ConfigError(f"{where}: {len(problems)} problem(s) in the config:\n{listing}")


def _unknown(found: Mapping[str, Any]) -> Iterator[str]:
    for path in found:
        if path not in BY_PATH:
            close = difflib.get_close_matches(path, BY_PATH, n=1)
            hint = f"; did you mean {close[0]}?" if close else "; config/ lists the keys there are"
            yield f"{path}: no such key{hint}"


def _missing(found: Mapping[str, Any]) -> Iterator[str]:
    for key in KEYS:
        if key.path not in found and not key.optional and key.kind is not Kind.INERT:
            yield f"{key.path}: missing; add it ({key.meaning})"


def _values(found: Mapping[str, Any]) -> Iterator[str]:
    for path, value in found.items():
        key = BY_PATH.get(path)
        if key is not None and (problem := _value_problem(key, value)):
            yield f"{path}: {problem} ({key.meaning})"


def _value_problem(key: Key, value: Any) -> str | None:
    if value is None:
        return None if key.nullable else "is null; give it a value"
    if not _has_type(value, key.types):
        wanted = " or ".join(kind.__name__ for kind in key.types)
        return f"is {value!r} ({type(value).__name__}); it takes {wanted}"
    if key.choices and value not in key.choices:
        options = ", ".join("null" if c is None else str(c) for c in key.choices)
        return f"is {value!r}; it can be {options}"
    limits = {
        "at least": (key.at_least, operator.ge),
        "above": (key.above, operator.gt),
        "at most": (key.at_most, operator.le),
        "below": (key.below, operator.lt),
    }
    for words, (limit, holds) in limits.items():
        if limit is not None and not holds(value, limit):
            return f"is {value!r}; it must be {words} {limit:g}"
    return None


def _has_type(value: Any, types: Sequence[type]) -> bool:
    if isinstance(value, bool):
        return bool in types or object in types
    if isinstance(value, int) and float in types:
        return True
    return isinstance(value, tuple(types))


def _combinations(found: Mapping[str, Any]) -> Iterator[str]:
    kwargs = {
        path.removeprefix(f"{SECTION}."): value
        for path, value in found.items()
        if path.startswith(f"{SECTION}.")
    }
    hidden = found["model.kwargs.hidden_dim"]
    backbone = found["model.kwargs.transformer_backbone_key"]
    llama = backbone == "llama"
    width, heads = ("hidden_size", "num_attention_heads") if llama else ("n_embd", "n_head")
    if kwargs.get(width, hidden) != hidden:
        yield f"{SECTION}.{width}: is {kwargs[width]}, but model.kwargs.hidden_dim is {hidden}"
    n_heads = kwargs.get(heads)
    if n_heads is None:
        yield f"{SECTION}.{heads}: missing; add the number of attention heads"
    elif not kwargs.get("head_dim") and hidden % n_heads:
        yield f"{SECTION}.{heads}: {hidden} (hidden_dim) can't be shared by {n_heads} heads"
    positions = kwargs.get(POSITIONS[backbone])
    if positions is not None and positions < found["model.kwargs.cell_set_len"]:
        yield f"{SECTION}: {positions} positions are fewer than model.kwargs.cell_set_len"
    for name, files in (found["cells.datasets"] or {}).items():
        entries = files if isinstance(files, list) else [files]
        if not entries or not all(isinstance(entry, str) and entry for entry in entries):
            yield f"cells.datasets.{name}: is {files!r}; it takes files, folders or patterns"
    if found["name"].strip() in ("", ".", "..") or "/" in found["name"]:
        yield f"name: is {found['name']!r}; it must be the name of a folder"
    share = found["splits.validation_fraction"]
    if not 0 < share < 1:
        yield f"splits.validation_fraction: is {share}; it must lie between 0 and 1"
    for baseline in found["prediction.baselines"]:
        if baseline not in BASELINES:
            yield (f"prediction.baselines: {baseline!r} is none; there are {', '.join(BASELINES)}")
    if found["training.val_freq"] > found["training.max_steps"]:
        yield "training.val_freq: is more than training.max_steps, so nothing would be validated"
