"""Composes a config: defaults lists, run files, overrides, interpolation, in Hydra's order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.settings.applying import apply_override
from workflow_scripts.settings.config_directory import ConfigDirectory
from workflow_scripts.settings.errors import ConfigError
from workflow_scripts.settings.grid import without_sweep
from workflow_scripts.settings.interpolation import Resolver
from workflow_scripts.settings.layers import Choice, Composer
from workflow_scripts.settings.override_functions import Sweep
from workflow_scripts.settings.overrides import Override, parse_override
from workflow_scripts.settings.tree import MISSING, Setting, Tree, dotted, walk
from workflow_scripts.settings.yaml_files import KeyPath, YamlFile, read_yaml


@dataclass(frozen=True, slots=True)
class Composition:
    """A composed config that can say where everything in it came from.

    Attributes
    ----------
    config_dir
        The config tree it was composed from.
    values
        The config, resolved, in Hydra's key order.
    choices
        The option taken of every group, by the group's key, in the order of the defaults list.
    warnings
        What a person should know of it: keys that have a new name (``oc.deprecated``).
    """

    config_dir: Path
    values: dict[str, Any]
    choices: dict[str, Choice]
    warnings: tuple[str, ...]
    _tree: Tree

    @property
    def history(self) -> dict[KeyPath, list[Setting]]:
        """All settings of every key ever set, in order: the last one counts."""
        return self._tree.history

    def source(self, key: KeyPath) -> str:
        """Say where a key, or the nearest key around it, was set last."""
        return self._tree.source(key)

    def source_of(self, path: str) -> str | None:
        """Say, as people read it, where a dotted path was set; None where nobody set it."""
        key = tuple(path.split("."))
        settings = self.history.get(key)
        return self.shown(settings[-1].source) if settings else None

    def shown(self, source: str) -> str:
        """Shorten a source for people: files of the tree count from the folder that holds it."""
        folder = f"{self.config_dir}/"
        if not source.startswith(folder):
            return source
        name = self.config_dir.name or self.config_dir.resolve().name
        return f"{name}/{source.removeprefix(folder)}"

    def resolved(self, key: KeyPath, value: Any) -> Any:
        """Evaluate a value as if it stood at a key; as written where it can't be."""
        try:
            return Resolver(self._tree).as_if(value, key)
        except ConfigError:
            return value

    def missing(self) -> list[KeyPath]:
        """Give the mandatory keys (``???``) that nobody gave a value."""
        return [key for key, value in walk(self.values) if value == MISSING]

    def require_complete(self) -> None:
        """Raise ConfigError that names every mandatory key without a value."""
        missing = self.missing()
        if missing:
            lines = [f"{self.source(key)}: `{dotted(key)}` has no value (???)" for key in missing]
            raise ConfigError("\n".join([*lines, "give each one in a run file or as key=value"]))


def compose(
    config_dir: Path,
    config_name: str,
    run_files: Sequence[Path] = (),
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Compose a config and give its values.

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
    return compose_traced(config_dir, config_name, run_files, overrides).values


def compose_traced(
    config_dir: Path,
    config_name: str,
    run_files: Sequence[Path] = (),
    overrides: Sequence[str] = (),
) -> Composition:
    """Compose a config, keeping the source of every value; see ``compose``."""
    try:
        return _compose(Path(config_dir), config_name, run_files, overrides)
    except RecursionError as error:
        raise ConfigError(
            f"{config_dir}: the config or an override is nested too deeply to be read"
        ) from error


def _compose(
    config_dir: Path, config_name: str, run_files: Sequence[Path], overrides: Sequence[str]
) -> Composition:
    directory = ConfigDirectory(config_dir)
    directory.check(config_name)
    composer = Composer(directory)
    changes: list[Override] = []
    for override in map(parse_override, overrides):
        _refuse_unusable(override)
        if directory.is_group(override.key) and not isinstance(override.value, dict):
            composer.wishes.request(override, directory.options(override.key))
        else:
            changes.append(override)
    group, _, option = config_name.rpartition("/")
    _refuse_search_path(directory.find(group, option, str(directory.path)))
    files = [without_sweep(read_yaml(Path(path))) for path in run_files]
    layers = composer.expand(config_name, files)
    tree = Tree()
    for layer in layers:
        tree.merge_file(layer.file, layer.package, Resolver(tree).tentative, asked=layer.asked)
    for change in changes:
        apply_override(tree, change)
    tree.values.pop("hydra", None)  # Hydra's own settings, which files written for it may carry
    choices = dict(reversed(composer.choices.items()))  # lists are read from their end
    resolver = Resolver(tree)
    values = resolver.everything()
    return Composition(directory.path, values, choices, tuple(resolver.warnings), tree)


def _refuse_search_path(root: YamlFile | None) -> None:
    """Raise ConfigError where a tree for Hydra names folders beside it to look into."""
    hydra = root.values.get("hydra") if root and isinstance(root.values, dict) else None
    if root and isinstance(hydra, dict) and hydra.get("searchpath"):
        raise ConfigError(
            f"{root.at(('hydra', 'searchpath'))}: hydra.searchpath names other folders: only files "
            "of the config directory are read: copy the options into it"
        )


def _refuse_unusable(override: Override) -> None:
    if isinstance(override.value, Sweep):
        raise ConfigError(
            f"override {override.text!r}: gives several values, and a config has one: a list is "
            f"{override.key}=[a,b], a text with a comma {override.key}='a,b'; "
            "snakemake runs one run for each value"
        )
    if override.key.split(".")[0].split("/")[0] == "hydra":
        raise ConfigError(f"override {override.text!r}: there is no Hydra here to be configured")
