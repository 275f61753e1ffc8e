"""Check the keys of a backbone beside one another, and beside the model around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from workflow_scripts.settings.problem import Problem
from workflow_scripts.settings.schema.backbone import (
    COUNTERPARTS,
    NEEDED_BY,
    POSITIONS,
    READ_BY,
    SECTION,
)

_KIND = "model.kwargs.transformer_backbone_key"
_HIDDEN = "model.kwargs.hidden_dim"
_CELLS = "model.kwargs.cell_set_len"


def backbone(values: Mapping[str, Any], broken: frozenset[str]) -> Iterator[Problem]:
    """Give the problems of a backbone's keys; arguments as of `check_together.combinations`."""
    yield from _keys(values, broken)
    for look in (_width, _heads, _key_value_heads, _positions):
        yield from look(values)


def _of(values: Mapping[str, Any]) -> Callable[[str], Any]:
    return lambda name: values.get(f"{SECTION}.{name}")


def _kind(values: Mapping[str, Any]) -> str | None:
    kind = values.get(_KIND)
    return kind if kind in READ_BY else None


def _keys(values: Mapping[str, Any], broken: frozenset[str]) -> Iterator[Problem]:
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
        yield Problem(path, f"is not read by the backbone {kind}; {advice}", (_KIND,))
    for name in NEEDED_BY[kind]:
        if name not in present:
            missing = f"missing; the backbone {kind} needs it"
            yield Problem(f"{SECTION}.{name}", missing, (_KIND,))


def _width(values: Mapping[str, Any]) -> Iterator[Problem]:
    kind, hidden = _kind(values), values.get(_HIDDEN)
    if kind is None or hidden is None:
        return
    for name in ("hidden_size", "n_embd"):
        width = _of(values)(name)
        if name in READ_BY[kind] and width is not None and width != hidden:
            yield Problem(
                f"{SECTION}.{name}",
                f"is {width}, but {_HIDDEN} is {hidden}; make them equal, best as "
                f"{name}: ${{{_HIDDEN}}}",
                (_HIDDEN,),
            )


def _heads(values: Mapping[str, Any]) -> Iterator[Problem]:
    kind, hidden = _kind(values), values.get(_HIDDEN)
    if kind is None or hidden is None:
        return
    of = _of(values)
    name = "n_head" if kind == "GPT2" else "num_attention_heads"
    heads, width = of(name), of("head_dim") if kind == "llama" else None
    if heads is None:
        return
    if width is None and hidden % heads:
        advice = "change one of them" + (", or give head_dim" if kind == "llama" else "")
        yield Problem(
            f"{SECTION}.{name}",
            f"is {heads}, and {_HIDDEN}, {hidden}, is no multiple of it; {advice}",
            (_HIDDEN,),
        )
    elif kind == "llama" and of("bidirectional_attention") is False:
        width = hidden // heads if width is None else width
        if width % 2:
            yield Problem(
                f"{SECTION}.bidirectional_attention",
                f"is false, which rotates the halves of a head, but a head is {width} wide; make "
                "head_dim even",
                (_HIDDEN, f"{SECTION}.{name}"),
            )


def _key_value_heads(values: Mapping[str, Any]) -> Iterator[Problem]:
    of = _of(values)
    heads, shared = of("num_attention_heads"), of("num_key_value_heads")
    if _kind(values) == "llama" and heads is not None and shared is not None and heads % shared:
        yield Problem(
            f"{SECTION}.num_key_value_heads",
            f"is {shared}, and num_attention_heads, {heads}, is no multiple of it; change one of "
            "them",
            (f"{SECTION}.num_attention_heads",),
        )


def _positions(values: Mapping[str, Any]) -> Iterator[Problem]:
    kind, cells = _kind(values), values.get(_CELLS)
    if kind is None or cells is None:
        return
    positions = _of(values)(POSITIONS[kind])
    if positions is not None and positions < cells:
        yield Problem(
            f"{SECTION}.{POSITIONS[kind]}",
            f"is {positions}, fewer than the {cells} cells of a set ({_CELLS}); "
            f"best is {POSITIONS[kind]}: ${{{_CELLS}}}",
            (_CELLS,),
        )
