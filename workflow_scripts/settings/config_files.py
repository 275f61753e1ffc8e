"""The files of a config tree and the defaults lists in them, as Hydra reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.hydra_internals import (
    ConfigRepository,
    ConfigResult,
    GroupDefault,
    Override,
)
from workflow_scripts.settings.overrides import is_group
from workflow_scripts.settings.suggestions import nearest
from workflow_scripts.settings.yaml_files import YamlFile, read_yaml, without_sweep

ROOT = "<root>"
"""Name of the list that holds the primary config and the run files."""


class Entry(NamedTuple):
    """An entry of a defaults list: the file it stands in, what it names, and its place."""

    config_path: str
    group: str
    option: Any
    place: str

    def ends(self, name: str) -> bool:
        """Tell whether it may name ``group/option``: the end tells, since Hydra places it."""
        return name.endswith(f"{self.group}/{self.option}".strip("/"))


class ConfigFiles(ConfigRepository):
    """The files that a defaults list can name.

    Attributes
    ----------
    config_dir
        The config tree.
    overrides
        Those that choose options of groups.
    files
        The files read so far, by their path in the tree without the ending.
    runs
        The names of the run files among them.
    root
        The name of the file whose list orders all others.
    trail
        The names that Hydra asked for, in order.
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
        self.trail: list[str] = []
        self._entries: list[Entry] = []
        if run_files:
            self._list_runs(config_name, run_files)

    def _list_runs(self, config_name: str, run_files: Sequence[Path]) -> None:
        """Make the list of the primary config and the run files."""
        primary = self.file(config_name)
        own = set(primary.values) if primary else set()
        lists = (primary.defaults if primary else None) or []
        groups = {group for entry in lists if isinstance(entry, dict) for group in entry}
        listed: list[Any] = [f"/{config_name}@_global_"]
        replaced: list[Any] = []
        for path in run_files:
            name = f"<run {len(self.runs)}>"
            whole = path.resolve()
            if whole.is_relative_to(self.config_dir.resolve()):
                # Relative groups in a run file of the tree count from its folder.
                name = whole.relative_to(self.config_dir.resolve()).with_suffix("").as_posix()
            self.files[name] = file = without_sweep(read_yaml(path))
            self.runs.append(name)
            listed.append(f"/{name}" if file.package else f"/{name}@_global_")
            if own and file.defaults is None and own <= set(file.values):
                # A frozen config: no list, and all of the primary config's own values. Its sections
                # stand for themselves, so that keys of default options don't come back.
                replaced += [{f"override /{g}": None} for g in groups if g in file.values]
                if groups <= set(file.values):
                    listed, replaced = listed[-1:], []
        self.files[ROOT] = YamlFile(self.config_dir, {}, [*listed, "_self_", *replaced], None, {})

    def file(self, name: str) -> YamlFile | None:
        """Return a file of the tree by its path without the ending, None where there is none."""
        name = name.removesuffix(".yaml")
        if name not in self.files:
            path = self.config_dir / f"{name}.yaml"
            exists = is_file(path)
            inside = path.resolve().is_relative_to(self.config_dir.resolve()) if exists else True
            if ".." in Path(name).parts or not inside:
                group, _, option = name.rpartition("/")
                raise ConfigError(
                    f"{self.place(group, option)}: `{name}` leads out of the config directory: "
                    "name a file in it"
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
        content = OmegaConf.create({"a": 1} if file.values else {})
        listed = list(self._defaults(config_path, file))
        return ConfigResult("main", str(file.path), content, {"package": file.package}, listed)

    def _defaults(self, config_path: str, file: YamlFile) -> Iterator[Any]:
        for number, entry in enumerate(file.defaults or []):
            place = file.at(("defaults", number))
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
            self._entries.append(default.entry)
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

    def place(self, key: str, option: Any = None, config_path: str | None = None) -> str:
        """Return where an option of a group was chosen: by an override, or in a defaults list.

        Parameters
        ----------
        key
            The group, with or without ``@package``.
        option
            The option, if it is known.
        config_path
            The file in whose list it stands, if it is known.
        """
        group = key.partition("@")[0]
        named = f"{group}/{option}".lstrip("/")
        for override in () if config_path else self.overrides:
            whole = f"{override.key_or_group}/{override.value()}"
            if whole == named or (option is None and override.key_or_group == group):
                return f"override {override.input_line!r}"
        found = [e for e in self._entries if e.ends(named) or group.endswith(e.group)]
        if found:
            return max(found, key=lambda e: (e.ends(named), e.config_path == config_path)).place
        file = self.files.get(config_path or self.root)
        return file.at(("defaults",)) if file else str(self.config_dir)

    def place_of_option(self, option: str) -> str:
        """Return where an option is written in a defaults list."""
        return next((e.place for e in self._entries if e.option == option), self.root)

    def options_chosen(self, key: str) -> dict[str, str]:
        """Return each option that is given for a group, and where."""
        group = key.partition("@")[0]
        chosen = {
            str(e.option): e.place for e in self._entries if e.group and group.endswith(e.group)
        }
        overrides = [o for o in self.overrides if o.key_or_group == group]
        return chosen | {str(o.value()): f"override {o.input_line!r}" for o in overrides}

    def no_option(self, group: str, option: str) -> str:
        """Return that a group, or the top, has no such option, and which there are."""
        if group and not self.group_exists(group):
            return f"there is no group `{group}`{nearest(group, groups_of(self.config_dir))}"
        options = options_of(self.config_dir, group)
        close = nearest(option, options)
        if "did you mean" in close:
            close += f" There are {', '.join(options)}"
        if is_file(self.config_dir / group / f"{option}.yml"):
            close = f": {option}.yml is there: rename it, options end with .yaml"
        where = f"the group `{group}`" if group else f"{self.config_dir}"
        return f"{where} has no option `{option}`{close}"


def is_file(path: Path) -> bool:
    """Tell whether there is a file; a name that no file can have has none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def options_of(config_dir: Path, group: str) -> list[str]:
    """Return the options of a group, sorted."""
    return sorted(path.stem for path in (config_dir / group).glob("*.yaml") if path.is_file())


def groups_of(config_dir: Path) -> list[str]:
    """Return the groups at the top of a config tree, sorted."""
    return sorted(path.name for path in config_dir.iterdir() if path.is_dir())
