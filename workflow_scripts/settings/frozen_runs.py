"""Recognises a frozen config given as a run file, and which options it was frozen with.

A frozen config has no defaults list any more. Merged over other options than its own it would keep
keys of theirs, so its options are found again by their keys.
"""

from __future__ import annotations

from typing import Any

from workflow_scripts.settings.config_directory import ConfigDirectory
from workflow_scripts.settings.defaults import Entry, Place, read_entries
from workflow_scripts.settings.tree import walk
from workflow_scripts.settings.yaml_files import KeyPath, YamlFile


def frozen_options(directory: ConfigDirectory, root: YamlFile, run: YamlFile) -> dict[str, str]:
    """Give the options that a frozen config was made with, where they aren't the default ones.

    Parameters
    ----------
    root
        The primary config.
    run
        A run file.

    Returns
    -------
    Options by the key of their choice; empty where the file isn't a whole config: it has a
    defaults list, or lacks a key of the primary config or the section of a group.
    """
    if (
        run.defaults is not None
        or not root.values
        or not _leaves(root.values) <= _leaves(run.values)
    ):
        return {}
    changed: dict[str, str] = {}
    for entry in read_entries(root):
        if not entry.is_choice or not isinstance(entry.option, str) or "${" in entry.option:
            continue
        section = _section(run.values, Place().package_of(entry))
        option = _fitting(directory, entry, _leaves(section))
        if option is None:
            return {}
        if option != entry.option:
            changed[Place().key_of(entry)] = option
    return changed


def _fitting(directory: ConfigDirectory, entry: Entry, keys: set[KeyPath]) -> str | None:
    """Give the default option if all its keys are there, else the largest one of which they are."""
    group = Place().group_path(entry)
    best, most = None, 0
    for option in directory.options(group):
        file = directory.find(group, option, entry.source, optional=True)
        needed = _leaves(file.values) if file is not None else set()
        if not needed <= keys:
            continue
        if option == entry.option:
            return option
        if len(needed) > most:
            best, most = option, len(needed)
    return best


def _leaves(value: Any) -> set[KeyPath]:
    """Give the paths of all values that aren't mappings or parts of a list."""
    return {
        key
        for key, item in walk(value)
        if not isinstance(item, dict) and not any(isinstance(part, int) for part in key)
    }


def _section(values: Any, package: str) -> Any:
    for part in package.split(".") if package else ():
        values = values.get(part) if isinstance(values, dict) else None
    return values if isinstance(values, dict) else {}
