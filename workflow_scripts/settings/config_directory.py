"""The folder of a config tree: its groups are folders, their options YAML files."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from workflow_scripts.settings.errors import ConfigError
from workflow_scripts.settings.suggestions import nearest
from workflow_scripts.settings.yaml_files import YamlFile, read_yaml


@dataclass(frozen=True, slots=True)
class ConfigDirectory:
    """Finds configs under one folder, and nothing outside it."""

    path: Path

    def check(self, config_name: str) -> None:
        """Raise ConfigError where the folder or its primary config isn't there."""
        if not self.path.is_dir():
            raise ConfigError(f"{self.path}: there is no such config directory")
        group, _, option = config_name.rpartition("/")
        if self._file(group, option).is_file():
            return
        raise ConfigError(
            f"{self.path}: has no config `{config_name}` ({self._file(group, option).name})"
            f"{nearest(option, self.options(group))}"
        )

    def is_group(self, name: str) -> bool:
        """Tell whether a key of an override names a group."""
        try:
            return (self.path / name).is_dir()
        except (OSError, ValueError):  # a circle of links, a NUL in the name
            return False

    def options(self, group: str) -> list[str]:
        """Give the names of all options of a group, sorted."""
        return sorted(file.stem for file in (self.path / group).glob("*.yaml") if _is_file(file))

    def groups(self) -> list[str]:
        """Give the names of the groups at the top."""
        return sorted(
            folder.name
            for folder in self.path.iterdir()
            if not (folder.is_symlink() and _leads_back(folder)) and folder.is_dir()
        )

    def group_of(self, file: Path) -> str:
        """Give the group a file of this tree is in; the top for a file elsewhere."""
        folder, root = file.parent.resolve(), self.path.resolve()
        if folder == root or not folder.is_relative_to(root):
            return ""
        return folder.relative_to(root).as_posix()

    def find(
        self, group: str, option: str, source: str, *, optional: bool = False
    ) -> YamlFile | None:
        """Read an option of a group.

        Returns
        -------
        The file, None where it doesn't exist and is optional.

        Raises
        ------
        ConfigError
            Where it doesn't exist, with the options there are, or lies outside the folder.
        """
        file = self._file(group, option)
        named = Path(group, option)
        if ".." in named.parts or named.is_absolute():
            raise ConfigError(
                f"{source}: `{option}` leads out of the config directory: name a file in it"
            )
        self._refuse_circle(group, source)
        if _is_file(file):
            inside = takewhile(lambda place: place != self.path, (file, *file.parents))
            linked = any(map(_is_link, inside))
            if linked and not file.resolve().is_relative_to(self.path.resolve()):
                raise ConfigError(
                    f"{source}: {file} is a link out of the config directory: refused"
                )
            return read_yaml(file)
        if _is_link(file):
            raise ConfigError(f"{source}: {file} is a link that leads nowhere, or in a circle")
        if optional:
            return None
        if group and not self.is_group(group):
            raise ConfigError(
                f"{source}: there is no group `{group}`{nearest(group, self.groups())}"
            )
        where = f"the group `{group}`" if group else f"{self.path}"
        close = nearest(option, self.options(group))
        known = ", ".join(self.options(group))
        if "did you mean" in close and known:
            close += f" There are {known}"
        if _is_file(other := file.with_suffix(".yml")):
            close = f": {other.name} is there: rename it, options end with .yaml"
        raise ConfigError(f"{source}: {where} has no option `{option}`{close}")

    def _refuse_circle(self, group: str, source: str) -> None:
        """Raise ConfigError where a folder on the way to a group is a link to one around it."""
        folder = self.path
        for part in Path(group).parts:
            folder = folder / part
            if _is_link(folder) and _leads_back(folder):
                raise ConfigError(f"{source}: {folder} is a link in a circle: refused")

    def _file(self, group: str, option: str) -> Path:
        name = option if option.endswith(".yaml") else f"{option}.yaml"
        return self.path / group / name


def _is_file(file: Path) -> bool:
    """Tell whether there is a file; what no file can be called, is none."""
    try:
        return file.is_file()
    except (OSError, ValueError):
        return False


def _is_link(file: Path) -> bool:
    try:
        return file.is_symlink()
    except (OSError, ValueError):
        return False


def _leads_back(link: Path) -> bool:
    """Tell whether a link leads to a folder that it lies in, or to no end at all."""
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: what Python 3.11 makes of a circle of links
        return True
    return link.parent.resolve().is_relative_to(target)
