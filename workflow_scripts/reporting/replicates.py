"""Which runs are the same but for what makes them replicates, and in what the others differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workflow_scripts.cache.digests import canonical_json
from workflow_scripts.settings.grid import short_keys
from workflow_scripts.settings.overrides import written
from workflow_scripts.settings.schema import find, leaves

_APART = ("report.", "evaluation.resamples", "prediction.baselines", "prediction.negative_controls")
"""Keys that change no score of a model."""

_MOST_KEYS = 3
"""In which groups differ, and are still called by them."""

Config = Mapping[str, Any]


def values_that_count(config: Config) -> dict[str, Any]:
    """Return the values of a config that change a model or its scores, by dotted path."""
    kept = {}
    for path, value in leaves(config):
        key = find(path)
        counts = key is not None and key.kind in ("identity", "extent")
        if counts and not path.startswith(_APART):
            kept[path] = value
    return kept


def replicates_among(
    configs: Mapping[str, Config], replicates: Sequence[str]
) -> list[tuple[str, ...]]:
    """Return the runs in groups that differ in nothing that counts but these keys.

    Parameters
    ----------
    configs
        Frozen configs by the name of their run.
    replicates
        Dotted paths, as ``training.train_seed``.
    """
    groups: dict[str, list[str]] = {}
    for name, config in configs.items():
        counted = values_that_count(config)
        content = {path: value for path, value in counted.items() if path not in replicates}
        groups.setdefault(canonical_json(content), []).append(name)
    return [tuple(names) for names in groups.values()]


def differing(configs: Sequence[Config], besides: Sequence[str] = ()) -> dict[str, list[Any]]:
    """Return the keys that count in which configs differ, each with its value in every config.

    Parameters
    ----------
    configs
        Frozen configs.
    besides
        Dotted paths that are left out.

    Returns
    -------
    By dotted path; None where a config lacks the key.
    """
    values = [values_that_count(config) for config in configs]
    paths = dict.fromkeys(path for one in values for path in one if path not in besides)
    found = {path: [one.get(path) for one in values] for path in paths}
    return {path: row for path, row in found.items() if len(set(map(canonical_json, row))) > 1}


def replicate_groups(
    configs: Mapping[str, Config], replicates: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return the groups of `replicates_among`, each called by what tells it from the others.

    By the names of its runs where that is long, or where no group has several.
    """
    groups = replicates_among(configs, replicates)
    if all(len(names) == 1 for names in groups):
        return {names[0]: names for names in groups}
    apart = differing([configs[names[0]] for names in groups], replicates)
    short = short_keys(list(apart))
    labels = {
        ", ".join(f"{short[key]}={written(values[at])}" for key, values in apart.items()): names
        for at, names in enumerate(groups)
    }
    if len(labels) == len(groups) and 0 < len(apart) <= _MOST_KEYS:
        return labels
    return {
        f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]: names
        for names in groups
    }
