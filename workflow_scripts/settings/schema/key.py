"""What the schema says of a key, and the words it says it in."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any


class Kind(enum.Enum):
    """What a change of a key does to finished work."""

    IDENTITY = "identity"
    """Changes the result at a given step: the stage starts afresh."""
    EXTENT = "extent"
    """How far and how often: the stage runs again and continues from what it has."""
    OPERATIONAL = "operational"
    """How the work is carried out or logged: nothing runs again."""
    INERT = "inert"
    """Accepted because users' files carry it; read by nothing."""


STAGES = (
    "cells",
    "features",
    "splits",
    "preflight",
    "genes",
    "targets",
    "train",
    "predict",
    "predict_baselines",
    "predict_unmasking",
    "submit",
    "reference_ends",
    "evaluate",
    "report",
)
"""The stages with a slice of their own, in the order in which data flows."""

WORKFLOW = "workflow"
"""Who reads a key that places a run's files: the Snakefile itself, which has no slice."""

LARGEST_SEED = 2**32 - 1
"""The largest seed that every random number generator behind the stages takes."""


NOT_ONE = object()
"""Stands for the default of a key that has no single one."""


@dataclass(frozen=True)
class Key:
    """One key of the config.

    Attributes
    ----------
    path
        Dotted path.
    types
        Python types of its values (``float`` admits integers); ``object`` where any will do,
        ``dict`` where the key takes a mapping as a whole.
    kind
        What a change of it does.
    stages
        Who reads it: stages, and `WORKFLOW`. Empty for inert keys.
    meaning, zh
        What it means, in English and in Chinese. Of an inert key: what it means where users' files
        come from.
    nullable
        Whether null is a value of it.
    choices
        All the values there are, of a list: of its items; empty where any will do.
    words
        Texts that may stand in place of another value.
    at_least, above, at_most, below
        Limits of a number.
    unit
        What a number counts or is measured in.
    items
        Type of a list's elements.
    optional
        Whether a config may lack it: not every option of its group has it.
    reason, reason_zh
        Of an inert key: why nothing reads it, and what to do instead.
    default
        Of an inert key: the value that every option has, so that another one was meant to do
        something. Other keys have theirs in the option files alone.
    """

    path: str
    types: tuple[type, ...]
    kind: Kind
    stages: tuple[str, ...]
    meaning: str
    zh: str
    nullable: bool = False
    choices: tuple[Any, ...] = ()
    words: tuple[str, ...] = ()
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    unit: str = ""
    items: type | None = None
    optional: bool = False
    reason: str = ""
    reason_zh: str = ""
    default: Any = NOT_ONE

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]


def identity(
    path: str, takes: type | tuple[type, ...], stages: str, meaning: str, zh: str, **more: Any
) -> Key:
    """Make a key whose change makes ``stages`` start afresh."""
    types = takes if isinstance(takes, tuple) else (takes,)
    return Key(path, types, Kind.IDENTITY, tuple(stages.split()), meaning, zh, **more)


def extent(path: str, takes: type, readers: str, meaning: str, zh: str, **more: Any) -> Key:
    """Make a key whose change makes a training go on, or see less or more of it."""
    return Key(path, (takes,), Kind.EXTENT, tuple(readers.split()), meaning, zh, **more)


def operational(path: str, takes: type, readers: str, meaning: str, zh: str, **more: Any) -> Key:
    """Make a key that ``readers`` read, and whose change makes nothing run again."""
    return Key(path, (takes,), Kind.OPERATIONAL, tuple(readers.split()), meaning, zh, **more)


def inert(path: str, meaning: str, zh: str, reason: str, reason_zh: str, **more: Any) -> Key:
    """Make a key that nothing reads: it takes any value, unless ``choices`` or ``types`` say."""
    given = {"types": (object,), "nullable": True, **more}
    return Key(
        path=path,
        kind=Kind.INERT,
        stages=(),
        meaning=meaning,
        zh=zh,
        reason=reason,
        reason_zh=reason_zh,
        **given,
    )


def not_built(path: str, meaning: str, zh: str, **more: Any) -> Key:
    """Make the key of a part that this version doesn't build: it takes false alone."""
    given = {"types": (bool,), "nullable": False, "choices": (False,), **more}
    given.setdefault("default", given["choices"][0])
    return inert(
        path,
        meaning,
        zh,
        "this version does not build it, and accepts the key only where it asks for nothing",
        "本版本未实现;仅接受表示“不启用”的值",
        **given,
    )
