"""The files of a config tree and the defaults lists in them, as Hydra reads them."""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.dump import inline
from workflow_scripts.settings.hydra_internals import (
    ConfigRepository,
    ConfigResult,
    GroupDefault,
    Override,
)
from workflow_scripts.settings.suggestions import nearest
from workflow_scripts.settings.yaml_files import YamlFile, read_yaml

SWEEP = "sweep"
"""Key of a run file: values of keys, and options of groups, of which each combination is a run."""

ROOT = "<root>"
"""Name of the list that holds the primary config and the run files."""


class Entry(NamedTuple):
    """Where an option of a group is named: in a defaults list, or by an override."""

    file: str | None  # None of an override
    group: str
    option: Any
    place: str
    key: str | None = None  # of an override: the group with its @package


class ConfigFiles(ConfigRepository):
    """The files that a defaults list can name, as Hydra asks for them.

    ``files`` holds those read so far, by their path in the tree without the ending, and the run
    files, whose names are ``runs``. The list of ``root`` orders all others.
    """

    def __init__(
        self,
        config_dir: Path,
        config_name: str,
        run_files: Sequence[Path],
        overrides: Sequence[Override],
    ) -> None:
        self.config_dir = config_dir
        self.overrides = overrides
        self.files: dict[str, YamlFile] = {}
        self.runs: list[str] = []
        self.root = ROOT if run_files else config_name
        self.trail: list[str] = []  # the names that Hydra asked for
        self.entries = [self._entry(override) for override in overrides]
        primary = self.file(config_name)
        if primary is None:
            raise ConfigError(
                f"{config_dir}: there is no config `{config_name}`"
                f"{nearest(config_name, options_of(config_dir, ''))}"
            )
        if run_files:
            self._list_runs(config_name, primary, run_files)

    def _entry(self, override: Override) -> Entry:
        """Return the option that an override names; refuse what Hydra says of no group."""
        group, option, text = override.key_or_group, override.value(), str(override.input_line)
        if override.is_force_add():
            raise ConfigError(f"override {text!r}: a group takes no ++: write {text[2:]}")
        if not isinstance(option, str | list) and not (override.is_delete() and option is None):
            raise ConfigError(
                f"override {text!r}: {self.no_option(group, inline(option))}; ~{group} leaves the "
                "group out"
            )
        key = override.get_key_element().lstrip("+~")
        return Entry(None, group, option, f"override {text!r}", key)

    def _list_runs(self, config_name: str, primary: YamlFile, run_files: Sequence[Path]) -> None:
        """Make the list of the primary config and the run files."""
        own = set(primary.values) if isinstance(primary.values, dict) else set()
        lists = primary.defaults or []
        groups = {group for entry in lists if isinstance(entry, dict) for group in entry}
        listed: list[Any] = [f"/{config_name}@_global_"]
        replaced: list[Any] = []
        for path in run_files:
            name = f"<run {len(self.runs)}>"
            whole = path.resolve()
            if whole.is_relative_to(self.config_dir.resolve()):
                # Relative groups in a run file of the tree count from its folder.
                name = whole.relative_to(self.config_dir.resolve()).with_suffix("").as_posix()
            file = read_yaml(path)
            if isinstance(file.values, dict):
                file = replace(file, values={k: v for k, v in file.values.items() if k != SWEEP})
            self.files[name] = file
            self.runs.append(name)
            listed.append(f"/{name}" if file.package else f"/{name}@_global_")
            if own and file.defaults is None and own <= set(file.values):
                # A frozen config: no list, and all of the primary config's own values. Its sections
                # stand for themselves, so that keys of default options don't come back.
                replaced += [{f"override /{g}": None} for g in groups if g in file.values]
                if groups <= set(file.values):
                    listed, replaced = listed[-1:], []
        self.files[ROOT] = YamlFile(self.config_dir, defaults=[*listed, "_self_", *replaced])

    def file(self, name: str) -> YamlFile | None:
        """Return a file of the tree by its path without the ending, None where there is none."""
        name = name.removesuffix(".yaml")
        if name not in self.files:
            path = self.config_dir / f"{name}.yaml"
            exists = os.path.isfile(path)  # False for a name that no file can have
            leads_out = exists and not path.resolve().is_relative_to(self.config_dir.resolve())
            if leads_out or ".." in Path(name).parts:
                raise ConfigError(
                    f"{self.place(*name.rpartition('/')[::2])}: `{name}` leads out of the config "
                    "directory: name a file in it"
                )
            if not exists:
                return None
            self.files[name] = read_yaml(path)
        return self.files[name]

    def load_config(self, config_path: str) -> ConfigResult | None:
        """Return the defaults list of a file; `Composition.merge` takes its values."""
        file = self.file(config_path)
        if file is None:
            return None
        self.trail.append(config_path.removesuffix(".yaml"))
        content = OmegaConf.create({"a": 1} if file.values else {})  # whether there is any
        listed = list(self._defaults(config_path, file))
        return ConfigResult("main", str(file.path), content, {"package": file.package}, listed)

    def _defaults(self, config_path: str, file: YamlFile) -> Iterator[Any]:
        for number, entry in enumerate(file.defaults or []):
            place = file.at(("defaults", number))
            if entry == "_self_" and entry in (file.defaults or [])[:number]:
                raise ConfigError(f"{place}: _self_ stands in this defaults list twice")
            words = " ".join(map(str, entry if isinstance(entry, dict) else [])).split(" ")
            if words[-1].lstrip("/").startswith("hydra/"):
                continue  # trees written for Hydra may choose options for Hydra itself
            if unknown := set(words[:-1]) - {"optional", "override"}:
                raise ConfigError(
                    f"{place}: only `optional` and `override` stand before a group, not "
                    f"{unknown.pop()!r}"
                )
            default: Any
            try:
                [default] = self._create_defaults_list(config_path, OmegaConf.create([entry]))
            except (ValueError, AssertionError, OmegaConfBaseException) as error:
                raise ConfigError(f"{place}: {error or 'is no `group: option`'}") from error
            if isinstance(default, GroupDefault):
                group, option = str(default.group).strip("/"), default.value
            else:
                group, _, option = default.get_name().strip("/").rpartition("/")
            default.entry = Entry(config_path, group, option, place)
            self.entries.append(default.entry)
            yield default

    def config_exists(self, config_path: str) -> bool:
        """Tell whether there is a file."""
        return self.file(config_path) is not None

    def group_exists(self, config_path: str) -> bool:
        """Tell whether there is a folder."""
        return is_group(self.config_dir, config_path)

    def get_group_options(self, group_name: str, results_filter: Any = None) -> list[str]:
        """Return the options of a group, sorted."""
        return options_of(self.config_dir, group_name)

    def get_sources(self) -> list[Any]:
        """Return nothing: there is one folder."""
        return []

    def place(self, key: str, option: Any = None, file: str | None = None) -> str:
        """Return where an option of a group was named: by an override, or in a defaults list.

        The group may have its ``@package``; ``file`` is where it stands, if that is known.
        """
        group = key.partition("@")[0]
        whole = f"{group}/{option}"

        def fit(entry: Entry) -> tuple[Any, ...]:
            # Its end tells, since Hydra places a group of a list below the list's own folder.
            named = f"{entry.group}/{entry.option}".strip("/")
            exact = whole.endswith(named) if group else entry.option == option
            exact = exact and option is not None
            return exact, entry.file == file, entry.key == key, len(entry.group)

        found = [e for e in self.entries if (e.group and group.endswith(e.group)) or fit(e)[0]]
        if found:
            return max(found, key=fit).place
        listing = self.files.get(file or self.root)
        return listing.at(("defaults",)) if listing else str(self.config_dir)

    def chosen(self, group: str) -> str:
        """Return each option that is named for a group, and where."""
        named = {
            str(entry.option): entry.place
            for entry in self.entries
            if entry.group and group.endswith(entry.group)
        }
        return ", ".join(f"{option} in {place}" for option, place in sorted(named.items()))

    def no_option(self, group: str, option: object) -> str:
        """Return that a group, or the top, has no such option, and which there are."""
        if group and not self.group_exists(group):
            return f"there is no group `{group}`{nearest(group, groups_of(self.config_dir))}"
        options = options_of(self.config_dir, group)
        close = nearest(option, options)
        if "did you mean" in close:
            close += f" There are {', '.join(options)}"
        if os.path.isfile(self.config_dir / group / f"{option}.yml"):
            close = f": {option}.yml is there: rename it, options end with .yaml"
        where = f"the group `{group}`" if group else f"{self.config_dir}"
        return f"{where} has no option `{option}`{close}"


def is_group(config_dir: Path, name: str) -> bool:
    """Tell whether a key of an override names a group."""
    return os.path.isdir(config_dir / name)


def options_of(config_dir: Path, group: str) -> list[str]:
    """Return the options of a group, sorted."""
    return sorted(path.stem for path in (config_dir / group).glob("*.yaml") if path.is_file())


def groups_of(config_dir: Path) -> list[str]:
    """Return the groups at the top of a config tree, sorted."""
    return sorted(path.name for path in config_dir.iterdir() if path.is_dir())
