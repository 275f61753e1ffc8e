"""Composes a config by Hydra's rules, and keeps the source of every value.

Hydra orders the defaults list and parses overrides; OmegaConf applies them and resolves ``${…}``.
Files are read and merged here, so that each value and each error can name its file and line.
"""

from __future__ import annotations

import os.path
import re
import warnings
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from deepmerge import Merger
from omegaconf import OmegaConf

from workflow_scripts.errors import ConfigError, kind_of
from workflow_scripts.settings.compose_errors import list_error, override_error, reference_error
from workflow_scripts.settings.config_files import ROOT, ConfigFiles, is_group
from workflow_scripts.settings.hydra_internals import (
    DefaultsList,
    DefaultsTreeNode,
    GroupDefault,
    Override,
    apply_overrides,
    create_defaults_list,
)
from workflow_scripts.settings.overrides import parse_override
from workflow_scripts.settings.references import check_references, is_interpolation
from workflow_scripts.settings.yaml_files import KeyPath, YamlFile, dotted, walk

MISSING = "???"  # a mandatory value that nobody gave yet
DELETED = object()  # the history's value of a key that an override deleted


@dataclass(frozen=True, slots=True)
class Setting:
    """One time that a key was given a value, or a group an option."""

    value: Any
    """Before interpolation; a list as a whole, {} for a mapping, whose items have their own."""
    source: str
    """``file:line``, or ``override 'text'``."""
    asked: bool
    """Whether a run file or an override set it; the rest is the config's default."""


@dataclass(slots=True)
class Composition:
    """A composed config."""

    config_dir: Path
    written: dict[str, Any] = field(default_factory=dict)
    """All values, interpolations as they are written."""
    values: dict[str, Any] = field(default_factory=dict)
    """All values, interpolations resolved."""
    history: dict[KeyPath, list[Setting]] = field(default_factory=dict)
    """All settings of every key ever set, in order: the last one counts."""
    choices: dict[str, list[Setting]] = field(default_factory=dict)
    """Of each group (or ``group@package``): what the defaults list names, and what overrides it."""
    warnings: tuple[str, ...] = ()
    """What a person should know: keys that have a new name (``oc.deprecated``)."""

    def settings(self, key: KeyPath) -> list[Setting]:
        """Return all settings of a key in order, or else those of the nearest key around it."""
        around = (key[:length] for length in range(len(key), 0, -1))
        return next((self.history[k] for k in around if k in self.history), [])

    def source(self, key: KeyPath) -> str:
        """Return where a key, or the nearest key around it, was set last."""
        settings = self.settings(key)
        return settings[-1].source if settings else "the config"

    def source_of(self, path: str) -> str | None:
        """Return, as people read it, where a dotted path was set; None where nobody set it."""
        settings = self.history.get(tuple(path.split(".")))
        return self.shown(settings[-1].source) if settings else None

    def shown(self, source: str) -> str:
        """Return a source for people: files of the tree count from the folder that holds it."""
        inside = source.removeprefix(f"{self.config_dir}/")
        return source if inside == source else f"{self.config_dir.resolve().name}/{inside}"

    def resolved(self, key: KeyPath, value: Any) -> Any:
        """Return a value as if it stood at a key, resolved; as written where that fails."""
        try:
            config = OmegaConf.create(self.written)
            OmegaConf.update(config, dotted(key), value, force_add=True)
            result = OmegaConf.select(config, dotted(key))
            is_plain = not OmegaConf.is_config(result)
            return result if is_plain else OmegaConf.to_container(result, resolve=True)
        except Exception:  # the errors of OmegaConf and its parser share no class
            return value

    def merge(self, file: YamlFile, package: str, *, asked: bool) -> None:
        """Merge a file over the config, at its package: later values replace earlier ones."""
        prefix: KeyPath = tuple(package.split(".")) if package else ()
        values = file.values
        for part in reversed(prefix):
            values = {part: values}
        if not isinstance(values, dict):
            raise ConfigError(f"{file.path}:1: is a list: at the top of a config stands a mapping")

        def meet(merger: Merger, path: list[Any], base: Any, value: Any) -> Any:
            key = tuple(path)
            if value == MISSING:
                return base
            if isinstance(value, dict) and is_interpolation(base):
                # As OmegaConf does, merge into a copy of what the reference leads to.
                base = deepcopy(self.resolved(key, base))
            if isinstance(value, dict) and isinstance(base, dict):
                return merger.value_strategy(path, base, value)
            if {type(base), type(value)} == {dict, list}:
                raise ConfigError(
                    f"{file.at(key[len(prefix) :])}: `{dotted(key)}` is {kind_of(value)} here, but "
                    f"{kind_of(base)} in {self.source(key)}: give both one form"
                )
            return value

        Merger([(dict, ["merge"])], [meet], [meet]).merge(self.written, deepcopy(values))
        for key, value in walk(values):
            if key and not (value == MISSING and key in self.history):
                self._note(key, value, file.at(key[len(prefix) :]), asked=asked)

    def _note(self, key: KeyPath, value: Any, source: str, *, asked: bool) -> None:
        plain = {} if isinstance(value, dict) else value
        self.history.setdefault(key, []).append(Setting(plain, source, asked))

    def note(self, override: Override) -> None:
        """Note what an override of a key set or deleted."""
        source = f"override {override.input_line!r}"
        key: KeyPath = tuple(override.key_or_group.split("."))
        if override.is_delete():
            for path, settings in self.history.items():
                if path[: len(key)] == key and settings[-1].value is not DELETED:
                    settings.append(Setting(DELETED, source, True))
            return
        value, around = override.value(), cast(Any, self.written)
        for length, part in enumerate(key):
            if isinstance(around, list):  # a list changes as a whole
                key, value = key[:length], deepcopy(around)
                break
            around = around.get(part) if isinstance(around, dict) else None
        for path, item in walk(value, key):
            self._note(path, item, source, asked=True)


def compose(
    config_dir: Path,
    config_name: str,
    run_files: Sequence[Path] = (),
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Compose a config and return its values; see `compose_traced`."""
    return compose_traced(config_dir, config_name, run_files, overrides).values


def compose_traced(
    config_dir: Path,
    config_name: str,
    run_files: Sequence[Path] = (),
    overrides: Sequence[str] = (),
) -> Composition:
    """Compose a config, keeping the source of every value.

    Parameters
    ----------
    config_dir
        The folder with the primary config and the groups.
    config_name
        The primary config, ``config`` for ``config.yaml``.
    run_files
        Merged over it in order, wherever they are; each may have a defaults list, with
        ``override /group: option``.
    overrides
        In Hydra's grammar; they win over everything else.

    Raises
    ------
    ConfigError
        For everything a person can get wrong.
    """
    config_dir = Path(config_dir)
    if not config_dir.is_dir():
        raise ConfigError(f"{config_dir}: there is no such config directory")
    parsed = [_usable(parse_override(text)) for text in overrides]
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        try:
            composed = _composed(config_dir, config_name, [*map(Path, run_files)], parsed)
        except RecursionError as error:
            raise ConfigError(
                f"{config_dir}: the config or an override is nested too deeply"
            ) from error
    for text in dict.fromkeys(str(one.message) for one in noted if one.category is UserWarning):
        old = re.match(r"'(.+?)' is deprecated", text)
        place = f"{composed.source(tuple(old[1].split('.')))}: " if old else ""
        composed.warnings += (place + text,)
    return composed


def _usable(override: Override) -> Override:
    """Return an override; raise ConfigError where it gives several values, or is for Hydra."""
    key, text = override.key_or_group, override.input_line
    if override.is_sweep_override():
        raise ConfigError(
            f"override {text!r}: gives several values, and a config has one: a list is "
            f"{key}=[a,b], a text with a comma {key}='a,b'; snakemake runs one run for each value"
        )
    if re.split(r"[./]", key)[0] == "hydra":
        raise ConfigError(f"override {text!r}: there is no Hydra here to configure")
    return override


def _composed(
    config_dir: Path, config_name: str, run_files: list[Path], overrides: list[Override]
) -> Composition:
    chooses = [
        override
        for override in overrides
        if is_group(config_dir, override.key_or_group) and not isinstance(override.value(), dict)
    ]
    changes = [override for override in overrides if override not in chooses]
    files = [path for path in (*config_dir.rglob("*.yaml"), *run_files) if os.path.isfile(path)]
    states = tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in files)
    texts = tuple(str(override.input_line) for override in chooses)
    base = _merged(config_dir, config_name, tuple(run_files), texts, states)
    config = OmegaConf.create(base.written, flags={"struct": True})
    for number, override in enumerate(changes):
        try:
            apply_overrides([override], config)
        except Exception as error:  # the errors of Hydra and OmegaConf share no class
            # What fails may have changed the config.
            before = OmegaConf.create(base.written, flags={"struct": True})
            apply_overrides(changes[:number], before)
            raise override_error(
                error, override, OmegaConf.to_container(before), base.source
            ) from error
    written: Any = OmegaConf.to_container(config)
    history = {key: [*settings] for key, settings in base.history.items()}
    composed = replace(base, written=written, history=history)
    for override in changes:
        composed.note(override)
    check_references(written, composed.source)
    try:
        values: Any = OmegaConf.to_container(config, resolve=True)
    except Exception as error:
        raise reference_error(error, config, written, composed.source) from error
    return replace(composed, values=values)


@lru_cache(maxsize=256)
def _merged(
    config_dir: Path,
    config_name: str,
    run_files: tuple[Path, ...],
    chooses: tuple[str, ...],
    _file_states: tuple[Any, ...],
) -> Composition:
    """Merge the files of a config, without overrides of keys: shared by the runs of a sweep."""
    files = ConfigFiles(config_dir, config_name, run_files, [*map(parse_override, chooses)])
    try:
        order = create_defaults_list(
            files, files.root, [*files.overrides], prepend_hydra=False, skip_missing=False
        )
    except Exception as error:  # the errors of Hydra share no class
        raise list_error(error, files) from error
    asked = _asked_files(order, files)
    composed = Composition(config_dir)
    for layer in order.defaults:
        name = str(layer.config_path).removesuffix(".yaml")
        if name != ROOT:
            composed.merge(files.files[name], layer.package or "", asked=layer.config_path in asked)
    # Settings of Hydra, which files written for it may hold.
    if "searchpath" in (composed.written.pop("hydra", None) or {}):
        raise ConfigError(
            f"{composed.source(('hydra', 'searchpath'))}: hydra.searchpath names other folders: "
            "only files of the config directory are read: copy the options into it"
        )
    composed.choices = dict(_choices(order.defaults_tree, order, files))
    return composed


def _asked_files(order: DefaultsList, files: ConfigFiles) -> set[str | None]:
    """Return the files that run files and overrides bring: themselves, and what they list."""
    added = {o.get_key_element().removeprefix("+") for o in files.overrides if o.is_add()}
    asked: set[str | None] = {
        *files.runs,
        *(d.config_path for d in order.defaults if d.override_key in added),
    }
    while more := {d.config_path for d in order.defaults if d.parent in asked} - asked:
        asked |= more
    return asked


def _choices(
    tree: Any, order: DefaultsList, files: ConfigFiles
) -> Iterator[tuple[str, list[Setting]]]:
    """Yield the settings of each group, in the order of the lists."""
    node = tree.node if isinstance(tree, DefaultsTreeNode) else tree
    if isinstance(node, GroupDefault) and not node.is_deleted():
        key, entry = node.get_override_key(), getattr(node, "entry", None)
        metadata = order.overrides.override_metadata.get(key)
        file = metadata.containing_config_path if metadata else None
        settings = [Setting(node.value, files.place(key, node.value, file), metadata is not None)]
        if entry is not None:
            default = Setting(entry.option if metadata else node.value, entry.place, False)
            overrides = metadata and settings[0].source != entry.place
            settings = [default, *settings] if overrides else [default]
        yield key, settings
    if isinstance(tree, DefaultsTreeNode):
        for child in tree.children or ():
            yield from _choices(child, order, files)
