"""One run file and its overrides become several runs, each with a name of its own."""

from __future__ import annotations

import itertools
import math
import os.path
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.cache.digests import text_digest
from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.config_files import SWEEP, is_group, options_of
from workflow_scripts.settings.hydra_internals import Glob, IntervalSweep, Override
from workflow_scripts.settings.overrides import parse_override, written
from workflow_scripts.settings.yaml_files import YamlFile, read_yaml

NAME = "name"
"""Key of a run's name; in a sweep, the template of the runs' names."""

MOST_VALUES, MOST_RUNS = 10_000, 1_000
"""That a sweep may give; a slip of the hand gives more."""

_LONGEST = 40
"""Characters of a value in a name; longer ones are cut, and told apart by a digest."""


@dataclass(frozen=True)
class SweepPart:
    """What overrides give one key or group: an override for each value, of which one may be all."""

    key: str
    is_group: bool
    texts: tuple[str, ...]
    values: tuple[Any, ...]


def sweep_parts(config_dir: Path, overrides: Sequence[str]) -> list[SweepPart]:
    """Return what overrides give, key by key; a later one of a key replaces an earlier one."""
    by_key: dict[str, SweepPart] = {}
    for text in overrides:
        override = parse_override(text)
        group = is_group(config_dir, override.key_or_group)
        options = options_of(config_dir, override.key_or_group) if group else None
        texts = _texts(override, options) if override.is_sweep_override() else [text]
        values = tuple(parse_override(one).value() for one in texts)
        by_key[override.get_key_element()] = SweepPart(
            override.key_or_group, group, tuple(texts), values
        )
    return list(by_key.values())


def _texts(override: Override, options: list[str] | None) -> list[str]:
    """Return an override of several values once for each; ``options`` are those of its group."""
    sweep: Any = override._value
    try:
        if isinstance(sweep, IntervalSweep) or getattr(sweep, "shuffle", False):
            raise ValueError(
                "an interval has no end of values, and a shuffle another order each time: give the "
                "values, as a,b or range(…)"
            )
        if not isinstance(sweep, Glob):
            values = list(itertools.islice(override.sweep_string_iterator(), MOST_VALUES + 1))
        elif options is None:
            raise ValueError(f"glob(…) goes over options: `{override.key_or_group}` is no group")
        else:
            values = [written(name) for name in sweep.filter(options)]
        if not values:
            there = f": there are {', '.join(options)}" if options else ""
            raise ValueError(f"gives no value at all{there}")
        if len(values) > MOST_VALUES:
            raise ValueError(f"gives more than {MOST_VALUES} values")
    except (ArithmeticError, ValueError) as error:
        raise ConfigError(f"override {override.input_line!r}: {error}") from error
    return [f"{override.get_key_element()}={value}" for value in values]


def runs_of(config_dir: Path, run_file: Path, overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the overrides of each run that a run file and overrides ask for.

    The last key changes fastest. Where there are several runs, each is given a name: that of the
    file or of an override, and what tells the run from the others.
    """
    file = read_yaml(run_file)
    own, template = _sweep_of(file)
    where = file.at((SWEEP,)) if (SWEEP,) in file.lines else run_file
    parts = sweep_parts(config_dir, [*own, *overrides])
    n_runs = math.prod(len(part.texts) for part in parts)
    if n_runs > MOST_RUNS:
        raise ConfigError(
            f"{where}: {n_runs:,} runs: more than {MOST_RUNS:,}; sweep over fewer values"
        )
    if n_runs == 1:
        # In their order, which says something where a key is deleted and set again.
        return [tuple(part.texts[0] for part in parts) if own else tuple(overrides)]
    swept = [part for part in parts if len(part.texts) > 1]
    given = file.values.get(NAME) if isinstance(file.values, dict) else None
    labels = {part.key: values_in_names(part.values) for part in swept}
    labels[NAME] = [given if isinstance(given, str) else run_file.stem]
    labels |= {
        part.key: [str(value) for value in part.values] for part in parts if part.key == NAME
    }
    if template is None:
        short = short_keys([part.key for part in swept if not part.is_group])
        others = [key for key in labels if key != NAME]
        ends = [f"{short[key]}-{{{key}}}" if key in short else f"{{{key}}}" for key in others]
        template = "_".join(["{name}", *ends])
    pieces = re.split(r"\{([^{}]*)\}", template)  # every second one is a key
    known = ", ".join(f"{{{key}}}" for key in labels)
    if unknown := set(pieces[1::2]) - set(labels):
        raise ConfigError(f"{where}: sweep.name has {{{unknown.pop()}}}, and there are {known}")
    runs: dict[str, tuple[str, ...]] = {}
    for numbers in itertools.product(*(range(len(part.texts)) for part in parts)):
        chosen = list(zip(parts, numbers, strict=True))
        told = {key: texts[0] for key, texts in labels.items()}
        told |= {part.key: labels[part.key][at] for part, at in chosen if part.key in labels}
        name = "".join(told[piece] if at % 2 else piece for at, piece in enumerate(pieces))
        if name in runs:
            raise ConfigError(
                f"{where}: two runs would be called {name!r}; sweep.name has to hold each key that "
                f"is swept, of {known}"
            )
        runs[name] = (*(part.texts[at] for part, at in chosen), f"{NAME}={written(name)}")
    return list(runs.values())


def _sweep_of(file: YamlFile) -> tuple[list[str], str | None]:
    """Return an override with all its values for each key of a file's sweep, and its template."""
    given = file.values.get(SWEEP, {}) if isinstance(file.values, dict) else {}
    if not isinstance(given, dict):
        raise ConfigError(
            f"{file.at((SWEEP,))}: sweep is {given!r}; it takes a mapping of keys to lists of "
            "values, as sweep: {training.lr: [1e-4, 3e-4]}"
        )
    texts: list[str] = []
    template: str | None = None
    for key, values in given.items():
        kind = str if key == NAME else list
        if not isinstance(values, kind) or not values:
            takes = "a list of values, one a run"
            if key == NAME:
                takes = "the template of the runs' names, as '{name}_{training.lr}'"
            place = file.at((SWEEP, key))
            raise ConfigError(f"{place}: sweep.{key} is {values!r}; it takes {takes}")
        if key == NAME:
            template = str(values)
        else:
            texts.append(f"{key}={','.join(map(written, values))}")
    return texts, template


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Return the shortest end of each dotted key that no other one has."""
    found = {}
    for key in keys:
        parts = key.split(".")
        ends = [".".join(parts[-n:]) for n in range(1, len(parts) + 1)]
        others = [other for other in keys if other != key]
        alone = (end for end in ends if not any(f".{o}".endswith(f".{end}") for o in others))
        found[key] = next(alone, key)
    return found


def values_in_names(values: Sequence[Any]) -> list[str]:
    """Return values as parts of folders' names; a digest tells those apart that look alike."""
    plain = [value_in_name(value) for value in values]
    return [
        name if plain.count(name) == 1 else f"{name}-{text_digest(written(value))[:6]}"
        for name, value in zip(plain, values, strict=True)
    ]


def value_in_name(value: Any) -> str:
    """Return a value as a part of a folder's name."""
    text = value if isinstance(value, str) else written(value)
    if "/" in text:  # a path: what its file is called
        text = os.path.splitext(os.path.basename(text.rstrip("/")))[0]
    plain = re.sub(r"[^A-Za-z0-9._+-]+", "-", text).strip("-.") or "empty"
    if len(plain) > _LONGEST:
        plain = f"{plain[: _LONGEST - 7]}-{text_digest(text)[:6]}"
    return plain
