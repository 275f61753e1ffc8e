"""Check values that are right by themselves, but not beside one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from workflow_scripts.settings.check_value import shown
from workflow_scripts.settings.schema.backbone import (
    COUNTERPARTS,
    NEEDED_BY,
    POSITIONS,
    READ_BY,
    SECTION,
)
from workflow_scripts.settings.schema.metrics import METRICS, V1_NAMES, V1_PRESETS
from workflow_scripts.settings.suggestions import nearest

Problem = tuple[str, str]
"""The key to change, and what is wrong with it."""

_MODEL = "model.kwargs."


def combinations(values: Mapping[str, Any], broken: frozenset[str]) -> Iterator[Problem]:
    """Give the problems of values beside one another.

    Parameters
    ----------
    values
        The values that are right by themselves, by dotted path.
    broken
        Paths of those that aren't: they are present, and nothing can be said of them.
    """
    yield from _backbone_keys(values, broken)
    for look in _LOOKS:
        yield from look(values)


def _backbone(values: Mapping[str, Any]) -> Callable[[str], Any]:
    return lambda name: values.get(f"{SECTION}.{name}")


def _kind(values: Mapping[str, Any]) -> str | None:
    kind = values.get(_MODEL + "transformer_backbone_key")
    return kind if kind in READ_BY else None


def _backbone_keys(values: Mapping[str, Any], broken: frozenset[str]) -> Iterator[Problem]:
    """Hold the keys of the backbone to those that the chosen one reads and needs."""
    kind = _kind(values)
    if kind is None:
        return
    present = {
        path.removeprefix(f"{SECTION}."): path
        for path in (*values, *sorted(broken))
        if path.startswith(f"{SECTION}.")
    }
    others = frozenset[str]().union(*READ_BY.values()) - READ_BY[kind]
    renamed = {**COUNTERPARTS, **{llama: gpt2 for gpt2, llama in COUNTERPARTS.items()}}
    for name, path in present.items():
        if name not in others:
            continue
        advice = "take it out"
        if (known := renamed.get(name)) in READ_BY[kind]:
            advice = f"{kind} has {known} for it" + ("" if known in present else ": rename it")
            if known in present:
                advice += ", which is there: take this one out"
        yield path, f"is not read by the backbone {kind}; {advice}"
    for name in NEEDED_BY[kind]:
        if name not in present:
            yield f"{SECTION}.{name}", f"missing; the backbone {kind} needs it"


def _width(values: Mapping[str, Any]) -> Iterator[Problem]:
    kind, hidden = _kind(values), values.get(_MODEL + "hidden_dim")
    if kind is None or hidden is None:
        return
    for name in ("hidden_size", "n_embd"):
        width = _backbone(values)(name)
        if name in READ_BY[kind] and width is not None and width != hidden:
            yield (
                f"{SECTION}.{name}",
                f"is {width}, but model.kwargs.hidden_dim is {hidden}; make them equal, best as "
                f"{name}: ${{model.kwargs.hidden_dim}}",
            )


def _heads(values: Mapping[str, Any]) -> Iterator[Problem]:
    kind, hidden = _kind(values), values.get(_MODEL + "hidden_dim")
    if kind is None or hidden is None:
        return
    of = _backbone(values)
    name = "n_head" if kind == "GPT2" else "num_attention_heads"
    heads, width = of(name), of("head_dim") if kind == "llama" else None
    if heads is None:
        return
    if width is None and hidden % heads:
        advice = "change one of them" + (", or give head_dim" if kind == "llama" else "")
        yield (
            f"{SECTION}.{name}",
            f"is {heads}, and model.kwargs.hidden_dim, {hidden}, is no multiple of it; {advice}",
        )
    elif kind == "llama" and of("bidirectional_attention") is False:
        width = hidden // heads if width is None else width
        if width % 2:
            yield (
                f"{SECTION}.bidirectional_attention",
                f"is false, which rotates the halves of a head, but a head is {width} wide; make "
                "head_dim even",
            )


def _key_value_heads(values: Mapping[str, Any]) -> Iterator[Problem]:
    of = _backbone(values)
    heads, shared = of("num_attention_heads"), of("num_key_value_heads")
    if _kind(values) == "llama" and heads is not None and shared is not None and heads % shared:
        yield (
            f"{SECTION}.num_key_value_heads",
            f"is {shared}, and num_attention_heads, {heads}, is no multiple of it; change one of "
            "them",
        )


def _positions(values: Mapping[str, Any]) -> Iterator[Problem]:
    kind, cells = _kind(values), values.get(_MODEL + "cell_set_len")
    if kind is None or cells is None:
        return
    positions = _backbone(values)(POSITIONS[kind])
    if positions is not None and positions < cells:
        yield (
            f"{SECTION}.{POSITIONS[kind]}",
            f"is {positions}, fewer than the {cells} cells of a set (model.kwargs.cell_set_len); "
            f"best is {POSITIONS[kind]}: ${{model.kwargs.cell_set_len}}",
        )


def _validations(values: Mapping[str, Any]) -> Iterator[Problem]:
    every, steps = values.get("training.val_freq"), values.get("training.max_steps")
    if every is not None and steps is not None and every > steps:
        yield (
            "training.val_freq",
            f"is {every}, more than training.max_steps ({steps}), so nothing would be validated; "
            f"make it {steps} or less",
        )


def _columns(values: Mapping[str, Any]) -> Iterator[Problem]:
    column = values.get("data.kwargs.pert_col")
    for other in ("cell_type_key", "batch_col"):
        if column is not None and column == values.get(f"data.kwargs.{other}"):
            yield (
                f"data.kwargs.{other}",
                f"is {column!r}, which is also data.kwargs.pert_col; a column can't hold both",
            )


def _metrics(values: Mapping[str, Any]) -> Iterator[Problem]:
    path = "evaluation.extra_metrics"
    preset = values.get("evaluation.preset")
    for name in values.get(path, ()):
        now = V1_NAMES.get(name, name)
        if now not in METRICS:
            yield path, f"{name!r} is no metric of cell-eval2{nearest(name, (*METRICS, *V1_NAMES))}"
        elif preset in V1_PRESETS and now not in V1_NAMES.values():
            yield (
                path,
                f"{name!r} is not computed by the preset {preset} (evaluation.preset); take it out "
                "or choose the preset v2",
            )


def _datasets(values: Mapping[str, Any]) -> Iterator[Problem]:
    for name, files in (values.get("cells.datasets") or {}).items():
        entries = files if isinstance(files, list) else [files]
        wrong = [entry for entry in entries if not isinstance(entry, str) or not entry.strip()]
        if not isinstance(name, str) or not name.strip():
            yield (
                "cells.datasets",
                f"names a dataset {shown(name)}; a name is text: put it in quotes",
            )
        elif not entries or wrong:
            yield (
                f"cells.datasets.{name}",
                f"is {shown(files)}; it takes a file, a folder or a glob, or a list of them",
            )


_LOOKS = (
    *(_width, _heads, _key_value_heads, _positions),
    *(_validations, _columns, _metrics, _datasets),
)
