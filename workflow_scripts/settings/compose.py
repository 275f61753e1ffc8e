"""Composes a config by Hydra's rules, and keeps the source of every value.

Hydra orders the defaults list and parses overrides; OmegaConf applies them and resolves ``${…}``.
Files are read and merged here, so that each value and each error can name its file and line.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from deepmerge import Merger
from omegaconf import OmegaConf

from workflow_scripts.errors import ConfigError, kind_of
from workflow_scripts.settings.compose_errors import key_error, list_error
from workflow_scripts.settings.config_files import (
    ROOT,
    ConfigFiles,
    Entry,
    is_file,
    options_of,
)
from workflow_scripts.settings.hydra_internals import (
    DefaultsList,
    DefaultsTreeNode,
    GroupDefault,
    Override,
    apply_overrides,
    create_defaults_list,
)
from workflow_scripts.settings.overrides import is_group, parse_override
from workflow_scripts.settings.references import check_references, is_interpolation
from workflow_scripts.settings.suggestions import nearest
from workflow_scripts.settings.yaml_files import KeyPath, YamlFile

MISSING = "???"  # a mandatory value that nobody gave yet
DELETED = object()  # the history's value of a key that an override deleted


@dataclass(frozen=True, slots=True)
class Setting:
    """One time that a key was given a value.

    Attributes
    ----------
    value
        What it was given, before interpolation, a list as a whole; an empty mapping for a mapping,
        whose items have settings of their own. ``DELETED`` where an override deleted the key.
    source
        ``file:line``, or ``override 'text'``.
    asked
        Whether a run file or an override set it; the rest is the config's default.
    """

    value: Any
    source: str
    asked: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """Which option of a group was taken.

    Attributes
    ----------
    key
        The group, with ``@package`` where it doesn't go under its own name.
    option, source
        What was taken, and where that was set.
    default, default_source
        What the defaults list names, and where; the same where nothing overrides it.
    """

    key: str
    option: Any
    source: str
    default: Any
    default_source: str


@dataclass(slots=True)
class Composition:
    """A composed config.

    Attributes
    ----------
    config_dir
        The config tree.
    values
        All values, interpolations resolved.
    history
        All settings of every key ever set, in order: the last one counts.
    choices
        The option taken of each group, by key.
    warnings
        What a person should know of it: keys that have a new name (``oc.deprecated``).
    """

    config_dir: Path
    values: dict[str, Any] = field(default_factory=dict)
    history: dict[KeyPath, list[Setting]] = field(default_factory=dict)
    choices: dict[str, Choice] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    _written: dict[str, Any] = field(default_factory=dict)

    def source(self, key: KeyPath) -> str:
        """Return where a key, or the nearest key around it, was set last."""
        around = (key[:length] for length in range(len(key), 0, -1))
        return next((self.history[k][-1].source for k in around if k in self.history), "the config")

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
            config = OmegaConf.create(self._written)
            OmegaConf.update(config, dotted(key), value, force_add=True)
            result = OmegaConf.select(config, dotted(key))
            is_plain = not OmegaConf.is_config(result)
            return result if is_plain else OmegaConf.to_container(result, resolve=True)
        except Exception:  # the errors of OmegaConf and its parser share no class
            return value

    def merge(self, file: YamlFile, package: str, *, asked: bool) -> None:
        """Merge a file over the config, at its package: later values replace earlier ones."""
        prefix: KeyPath = tuple(package.split(".")) if package else ()
        values: Any = copied(file.values)
        for part in reversed(prefix):
            values = {part: values}
        if not isinstance(values, dict):
            raise ConfigError(f"{file.path}:1: is a list: at the top of a config stands a mapping")

        def meet(merger: Merger, path: list[Any], base: Any, new: Any) -> Any:
            if isinstance(new, str) and new == MISSING:
                return base
            if isinstance(new, dict) and is_interpolation(base):
                # As OmegaConf does, merge into a copy of what the reference leads to.
                self._written = self.values
                base = copied(self.resolved(tuple(path), base))
            if isinstance(new, dict) and isinstance(base, dict):
                return merger.merge(base, new)
            if {type(base), type(new)} == {dict, list}:
                raise ConfigError(
                    f"{file.at(tuple(path[len(prefix) :]))}: `{dotted(path)}` is {kind_of(new)} "
                    f"here, but {kind_of(base)} in {self.source(tuple(path))}: give both one form"
                )
            return new

        Merger([(dict, ["merge"])], [meet], [meet]).merge(self.values, values)
        for key, value in walk(file.values):
            if key or prefix:
                self.note((*prefix, *key), value, file.at(key), asked=asked)

    def note(self, key: KeyPath, value: Any, source: str, *, asked: bool) -> None:
        """Note that a key was set."""
        if not (isinstance(value, str) and value == MISSING and key in self.history):
            value = {} if isinstance(value, dict) else value
            self.history.setdefault(key, []).append(Setting(value, source, asked))

    def note_override(self, override: Override) -> None:
        """Note what an override of a key set or deleted."""
        source = f"override {override.input_line!r}"
        key: KeyPath = tuple(override.key_or_group.split("."))
        if override.is_delete():
            for path, settings in self.history.items():
                if path[: len(key)] == key and settings[-1].value is not DELETED:
                    settings.append(Setting(DELETED, source, True))
            return
        around: Any = self._written
        for length, part in enumerate(key):
            if isinstance(around, list):  # a list changes as a whole
                self.note(key[:length], copied(around), source, asked=True)
                return
            around = around.get(part) if isinstance(around, dict) else None
        for path, value in walk(override.value()):
            self.note((*key, *path), value, source, asked=True)


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
        Files merged over the config, in order, wherever they are. Each may have a defaults list,
        with ``override /group: option``.
    overrides
        Single overrides in Hydra's grammar; they win over everything else.

    Raises
    ------
    ConfigError
        For everything a person can get wrong.
    """
    config_dir = Path(config_dir)
    if not config_dir.is_dir():
        raise ConfigError(f"{config_dir}: there is no such config directory")
    parsed = [_usable(parse_override(text)) for text in overrides]
    composed = Composition(config_dir)
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        try:
            _compose(composed, config_name, [Path(path) for path in run_files], parsed)
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


def _compose(
    composed: Composition, config_name: str, run_files: list[Path], overrides: list[Override]
) -> None:
    folder = composed.config_dir
    chooses = [
        override
        for override in overrides
        if is_group(folder, override.key_or_group) and not isinstance(override.value(), dict)
    ]
    changes = [override for override in overrides if override not in chooses]
    texts = tuple(str(override.input_line) for override in chooses)
    base = _merged(folder, config_name, tuple(run_files), texts, _states(folder, run_files))
    composed.choices = base.choices
    composed.history = {key: list(settings) for key, settings in base.history.items()}
    config = OmegaConf.create(base.values, flags={"struct": True})
    for number, override in enumerate(changes):
        try:
            apply_overrides([override], config)
        except Exception as error:  # the errors of Hydra and OmegaConf share no class
            # What fails may have changed the config.
            before = OmegaConf.create(base.values, flags={"struct": True})
            apply_overrides(changes[:number], before)
            raise key_error(error, override, before, composed.source) from error
    plain: Any = OmegaConf.to_container(config)
    composed._written = plain
    for override in changes:
        composed.note_override(override)
    check_references(composed._written, composed.source)
    try:
        plain = OmegaConf.to_container(config, resolve=True)
        composed.values = plain
    except Exception as error:
        raise key_error(error, None, config, composed.source) from error


def _states(config_dir: Path, run_files: Sequence[Path]) -> tuple[Any, ...]:
    """Return what changes when a file does: its name, time and size."""
    files = filter(is_file, [*config_dir.rglob("*.yaml"), *run_files])
    states = ((file, file.stat()) for file in files)
    return tuple((str(file), state.st_mtime_ns, state.st_size) for file, state in states)


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
    if files.file(config_name) is None:
        raise ConfigError(
            f"{config_dir}: there is no config `{config_name}`"
            f"{nearest(config_name, options_of(config_dir, ''))}"
        )
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
    if "searchpath" in (composed.values.pop("hydra", None) or {}):
        raise ConfigError(
            f"{composed.source(('hydra', 'searchpath'))}: hydra.searchpath names other folders: "
            "only files of the config directory are read: copy the options into it"
        )
    composed.choices = {
        choice.key: choice for choice in _choices(order.defaults_tree, order, files)
    }
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


def _choices(tree: DefaultsTreeNode, order: DefaultsList, files: ConfigFiles) -> Iterator[Choice]:
    """Yield the choices of a tree in the order of its lists."""
    if isinstance(tree.node, GroupDefault):
        yield _choice(tree.node, order, files)
    for child in tree.children or ():
        if isinstance(child, DefaultsTreeNode):
            yield from _choices(child, order, files)
        elif isinstance(child, GroupDefault) and not child.is_deleted():
            yield _choice(child, order, files)


def _choice(node: GroupDefault, order: DefaultsList, files: ConfigFiles) -> Choice:
    key = node.get_override_key()
    entry: Entry | None = getattr(node, "entry", None)
    source = default_source = entry.place if entry else files.place(key, node.value)
    default = node.value
    if overridden := order.overrides.override_metadata.get(key):
        default = entry.option if entry else None
        source = files.place(key, node.value, overridden.containing_config_path)
    return Choice(key, node.value, source, default, default_source)


def walk(value: Any, key: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield a value and all inside it that mappings hold, a list as one value."""
    yield key, value
    if isinstance(value, dict):
        for part, item in value.items():
            yield from walk(item, (*key, part))


def copied(value: Any) -> Any:
    """Return a copy of plain values that shares no mapping or list with them."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list) else value


def dotted(key: Sequence[Any]) -> str:
    """Return a key as people write it."""
    return ".".join(map(str, key))
