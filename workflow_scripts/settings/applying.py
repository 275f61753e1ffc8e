"""Applies overrides to a composed config, refusing keys that aren't there."""

from __future__ import annotations

from typing import Any

from workflow_scripts.settings.errors import ConfigError
from workflow_scripts.settings.interpolation import Resolver
from workflow_scripts.settings.interpolation_grammar import check_interpolation
from workflow_scripts.settings.literals import GrammarError
from workflow_scripts.settings.overrides import Action, Override
from workflow_scripts.settings.suggestions import nearest
from workflow_scripts.settings.tree import (
    DELETED,
    MISSING,
    Setting,
    Tree,
    clashes,
    copy_plain,
    describe,
    dotted,
    is_interpolation,
    leaf,
    walk,
)
from workflow_scripts.settings.yaml_files import KeyPath

_ABSENT = object()


def apply_override(tree: Tree, override: Override) -> None:
    """Change, add or delete one key.

    Raises
    ------
    ConfigError
        Where the key doesn't exist (or, for ``+``, exists), or the value doesn't fit there.
    """
    if override.package is not None:
        raise _error(
            override,
            f"`@` belongs to a choice of a group, and there is no group `{override.key}`",
        )
    _check_value(override)
    parts: KeyPath = tuple(override.key.split("."))
    if override.action is Action.DELETE:
        _delete(tree, override, parts)
        return
    source = f"override {override.text!r}"
    parent, key = _open_parent(tree, override, parts)
    existing = _child(parent, parts[-1])
    _check_place(tree, override, parent, (*key, parts[-1]), existing)
    part = int(parts[-1]) if isinstance(parent, list) else parts[-1]
    value = copy_plain(override.value)
    if isinstance(value, dict) and isinstance(existing, dict):
        _merge(tree, override, existing, value, (*key, part))
    else:
        parent[part] = value
    tree.record((*key, part), override.value, source)
    _record_list(tree, key, source)


def _record_list(tree: Tree, key: KeyPath, source: str) -> None:
    """Note that a list changed as a whole, where an override changed something inside it."""
    value: Any = tree.values
    for length in range(len(key) + 1):
        if isinstance(value, list):
            tree.history.setdefault(key[:length], []).append(Setting(leaf(value), source, True))
            return
        if length < len(key):
            value = value[key[length]]


def _error(override: Override, problem: str) -> ConfigError:
    return ConfigError(f"override {override.text!r}: {problem}")


def _check_value(override: Override) -> None:
    for path, item in walk(override.value):
        if is_interpolation(item):
            try:
                check_interpolation(item)
            except GrammarError as error:
                raise _error(override, f"in {item!r}: {error}") from error
        if None in path:
            raise _error(override, "null can't be a key")


def _child(parent: Any, part: Any) -> Any:
    """Give what a mapping has under a name, or a list at an index."""
    if isinstance(parent, dict):
        return parent.get(part, _ABSENT)
    if isinstance(parent, list) and part.isdecimal() and int(part) < len(parent):
        return parent[int(part)]
    return _ABSENT


def _open_parent(tree: Tree, override: Override, parts: KeyPath) -> tuple[Any, KeyPath]:
    """Find the mapping or list that an override changes; ``+`` and ``++`` make it."""
    adds = override.action in (Action.ADD, Action.FORCE)
    parent: Any = tree.values
    key: KeyPath = ()
    for part in parts[:-1]:
        child = _child(parent, part)
        name = int(part) if isinstance(parent, list) and child is not _ABSENT else part
        if not isinstance(child, dict | list):
            if not adds:
                raise _unknown(tree, override, parent, (*key, part), child)
            if isinstance(parent, list) and child is _ABSENT:
                raise _no_item(override, parent, key, part)
            if child is not _ABSENT and clashes(child, {}) and override.action is Action.ADD:
                raise _clash(tree, override, (*key, part), child, {})
            child = parent[name] = {}
        parent, key = child, (*key, name)
    return parent, key


def _unknown(tree: Tree, override: Override, parent: Any, key: KeyPath, child: Any) -> ConfigError:
    if child is not _ABSENT:
        return _error(override, f"`{dotted(key)}` is {describe(child)}: there is nothing inside")
    if isinstance(parent, list):
        return _no_item(override, parent, key[:-1], key[-1])
    where = f"`{dotted(key[:-1])}` has" if len(key) > 1 else "the config has"
    elsewhere = [path for path, _ in walk(tree.values) if path and path[-1] == key[-1]]
    meant = f": did you mean `{dotted(elsewhere[0])}`?" if elsewhere else nearest(key[-1], parent)
    add = f" (to add a key: +{override.text})" if override.action is Action.CHANGE else ""
    return _error(override, f"{where} no key `{key[-1]}`{meant}{add}")


def _no_item(override: Override, parent: list[Any], key: KeyPath, part: Any) -> ConfigError:
    return _error(
        override,
        f"the list `{dotted(key)}` has {len(parent)} items, counted from 0, and no item `{part}`: "
        f"give the whole list, {dotted(key)}=[…]",
    )


def _clash(tree: Tree, override: Override, key: KeyPath, base: Any, new: Any) -> ConfigError:
    return _error(
        override,
        f"`{dotted(key)}` is {describe(base)} in {tree.source(key)}, {describe(new)} can't take "
        "its place; ++ in front of the override replaces it nevertheless",
    )


def _check_place(tree: Tree, override: Override, parent: Any, key: KeyPath, existing: Any) -> None:
    """Raise where an override may not put its value at a key."""
    value, action = override.value, override.action
    if isinstance(parent, list) and existing is _ABSENT:
        raise _no_item(override, parent, key[:-1], key[-1])
    if action is Action.CHANGE and existing is _ABSENT:
        raise _unknown(tree, override, parent, key, existing)
    taken = existing is not _ABSENT and existing is not None and existing != MISSING
    if action is Action.ADD and taken and not isinstance(value, dict | list):
        raise _error(
            override,
            f"`{dotted(key)}` is there already, {describe(existing)} from {tree.source(key)}: "
            f"write {override.text[1:]} to change it, or +{override.text} for both cases",
        )
    if not taken:
        return
    kinds = {type(existing), type(value)}
    if kinds == {dict, list}:  # not even ++ does this in Hydra
        raise _error(
            override,
            f"`{dotted(key)}` is {describe(existing)} in {tree.source(key)}, and "
            f"{describe(value)} can't take its place: delete it first with ~{dotted(key)}",
        )
    if clashes(existing, value) and action is not Action.FORCE:
        raise _clash(tree, override, key, existing, value)


def _merge(
    tree: Tree, override: Override, base: dict[Any, Any], new: dict[Any, Any], key: KeyPath
) -> None:
    """Merge a mapping given by an override; without ``+`` it may bring no new keys."""
    for part, value in new.items():
        existing = base.get(part, _ABSENT)
        if existing is _ABSENT and override.action is Action.CHANGE:
            raise _unknown(tree, override, base, (*key, part), existing)
        if value == MISSING and existing is not _ABSENT:
            continue
        if isinstance(existing, dict) and isinstance(value, dict):
            _merge(tree, override, existing, value, (*key, part))
            continue
        if {type(existing), type(value)} == {dict, list} or (
            existing is not _ABSENT
            and clashes(existing, value)
            and override.action is not Action.FORCE
        ):
            path = dotted((*key, part))
            raise _error(
                override, f"`{path}` is {describe(existing)}, {describe(value)} can't replace it"
            )
        base[part] = value


def _delete(tree: Tree, override: Override, parts: KeyPath) -> None:
    parent: Any = tree.values
    for length, part in enumerate(parts[:-1], start=1):
        child = _child(parent, part)
        if not isinstance(child, dict | list):
            raise _unknown(tree, override, parent, parts[:length], child)
        parent = child
    existing = _child(parent, parts[-1])
    if existing is _ABSENT:
        raise _unknown(tree, override, parent, parts, existing)
    if existing is None or existing == MISSING:
        raise _error(override, f"`{override.key}` is {describe(existing)}: no value to delete")
    if isinstance(parent, list):
        raise _error(override, f"an item of a list can't be deleted: give {dotted(parts[:-1])}=[…]")
    if override.value is not None:
        actual = Resolver(tree).value(parts)
        if actual != override.value:
            raise _error(
                override,
                f"`{override.key}` is {describe(actual)}, not {describe(override.value)}: "
                f"nothing was deleted (~{override.key} deletes it whatever it is)",
            )
    for path, _ in list(walk(existing, parts)):
        tree.record(path, DELETED, f"override {override.text!r}")
    del parent[parts[-1]]
