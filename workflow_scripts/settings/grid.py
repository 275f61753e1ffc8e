"""One run file and its overrides become several runs, each with a name of its own."""

from __future__ import annotations

import itertools
import math
import os.path
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.cache.digests import text_digest
from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.config_files import SWEEP
from workflow_scripts.settings.overrides import SweepPart, sweep_parts, written
from workflow_scripts.settings.yaml_files import read_yaml

NAME = "name"
"""Inside a sweep: the template of the runs' names."""

MOST_RUNS = 1_000
"""Of one run file; a slip of the hand gives more."""

_LONGEST = 40
"""Characters of a value in a name; longer ones are cut, and told apart by a digest."""

_PLACE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Grid:
    """What a run file says of several runs.

    Attributes
    ----------
    overrides
        An override for each key, with all its values.
    template
        Of the names; None for the default.
    where
        Where it stands, for messages.
    """

    overrides: tuple[str, ...] = ()
    template: str | None = None
    where: str = ""


def read_grid(run_file: Path) -> Grid:
    """Read what a run file says of several runs.

    Raises
    ------
    ConfigError
        Where that can't be read.
    """
    file = read_yaml(run_file)
    if not isinstance(file.values, Mapping) or SWEEP not in file.values:
        return Grid()
    given, where = file.values[SWEEP], file.at((SWEEP,))
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"{where}: sweep is {given!r}; it takes a mapping of keys to lists of values, as "
            "sweep: {training.lr: [1e-4, 3e-4]}"
        )
    texts, template = [], None
    for key, values in given.items():
        at = file.at((SWEEP, key))
        if key == NAME:
            if not isinstance(values, str):
                raise ConfigError(
                    f"{at}: sweep.name is {values!r}; it is the template of the runs' names, as "
                    "'{name}_{training.lr}'"
                )
            template = values
            continue
        if not isinstance(key, str) or not isinstance(values, list) or not values:
            raise ConfigError(
                f"{at}: sweep.{key} is {values!r}; it takes a list of values, one a run"
            )
        texts.append(f"{key}={','.join(map(written, values))}")
    return Grid(tuple(texts), template, where)


def runs_of(config_dir: Path, run_file: Path, overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the overrides of each run that a run file and overrides ask for.

    The last key changes fastest. Where there are several runs, each is given a name: that of the
    file or of an override, and what tells the run from the others.

    Raises
    ------
    ConfigError
        Where a sweep can't be read, gives too many runs, or gives two the same name.
    """
    grid = read_grid(run_file)
    parts = sweep_parts(config_dir, [*grid.overrides, *overrides])
    n_runs = math.prod(len(part.texts) for part in parts)
    if n_runs > MOST_RUNS:
        raise ConfigError(
            f"{grid.where or run_file}: {n_runs:,} runs: more than {MOST_RUNS:,}; sweep over fewer "
            "values"
        )
    if n_runs == 1:
        # In their order, which says something where a key is deleted and set again.
        return [tuple(part.texts[0] for part in parts) if grid.overrides else tuple(overrides)]
    base, swept = _base_name(run_file), [part for part in parts if len(part.texts) > 1]
    shown = {part.key: values_in_names(part.values) for part in swept}
    runs: list[tuple[str, ...]] = []
    names: dict[str, str] = {}
    for chosen in itertools.product(*(range(len(part.texts)) for part in parts)):
        pairs = list(zip(parts, chosen, strict=True))
        values = {part.key: part.values[at] for part, at in pairs}
        own = str(values.get(NAME, base))
        told = {part.key: shown[part.key][at] for part, at in pairs if part.key in shown}
        name = _name(own, told, swept, grid)
        runs.append((*(part.texts[at] for part, at in pairs), f"{NAME}={written(name)}"))
        if name in names:
            raise ConfigError(
                f"{grid.where or run_file}: two runs would be called {name!r} "
                f"({names[name]}; {_said(values, swept)}); sweep.name has to hold each key that is "
                f"swept: {', '.join('{' + part.key + '}' for part in swept)}"
            )
        names[name] = _said(values, swept)
    return runs


def _base_name(run_file: Path) -> str:
    values = read_yaml(run_file).values
    given = values.get(NAME) if isinstance(values, Mapping) else None
    return given if isinstance(given, str) else run_file.stem


def _said(values: Mapping[str, Any], swept: Sequence[SweepPart]) -> str:
    return ", ".join(f"{part.key}={written(values[part.key])}" for part in swept)


def _name(base: str, shown: Mapping[str, str], swept: Sequence[SweepPart], grid: Grid) -> str:
    if grid.template is None:
        short = short_keys([part.key for part in swept if not part.is_group])
        said = [
            shown[part.key] if part.is_group else f"{short[part.key]}-{shown[part.key]}"
            for part in swept
            if part.key != NAME
        ]
        return "_".join([base, *said])
    known = {**shown, NAME: base}

    def fill(place: re.Match[str]) -> str:
        if place[1] not in known:
            raise ConfigError(
                f"{grid.where}: sweep.name has {place[0]}, and there are "
                f"{', '.join('{' + key + '}' for key in known)}"
            )
        return known[place[1]]

    return _PLACE.sub(fill, grid.template)


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
