"""Defaults lists: what each line says, and which group and package it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workflow_scripts.settings.errors import ConfigError
from workflow_scripts.settings.yaml_files import YamlFile

GLOBAL = "_global_"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a defaults list.

    Attributes
    ----------
    group
        The group as written, empty for a config beside the list's own file; ``/`` in front makes
        it absolute.
    option
        The config's name, a list of names, None for no choice.
    package
        What follows ``@``, None without it.
    is_choice
        Whether it was written ``group: option``, so that it can be overridden. ``- file`` can't.
    source
        ``file:line`` or the override's text.
    file
        A run file to take instead of looking the name up.
    """

    group: str
    option: str | list[str] | None
    package: str | None
    source: str
    is_choice: bool = True
    optional: bool = False
    override: bool = False
    added: bool = False
    file: YamlFile | None = None

    @property
    def is_self(self) -> bool:
        """Whether this is ``_self_``: the place of the file's own values."""
        return not self.is_choice and self.option == "_self_" and not self.group


@dataclass(frozen=True, slots=True)
class Place:
    """Where a defaults list stands: what relative groups and packages are relative to."""

    group: str = ""
    package: str = ""

    def group_path(self, entry: Entry) -> str:
        """Give an entry's group as a path from the top of the config directory."""
        if entry.group.startswith("/"):
            return entry.group[1:]
        return "/".join(part for part in (self.group, entry.group) if part)

    def package_of(self, entry: Entry, header: str | None = None) -> str:
        """Give the dotted path under which an entry's values go.

        The entry's own ``@package`` beats the header of its file, which beats its group.
        """
        package = entry.package
        if package is None:
            package = header
        elif package == "_here_":
            package = ""
        elif "_group_" in package:
            own = self.group_path(entry).replace("/", ".")
            package = f"{GLOBAL}.{package.replace('_group_', own)}"
        if package is None:
            package = entry.group.removeprefix("/").replace("/", ".")
        path = ".".join(part for part in (self.package, package) if part)
        before, found, after = path.rpartition(GLOBAL)
        return after.removeprefix(".") if found else before + after

    def key_of(self, entry: Entry) -> str:
        """Give the name by which overrides know a choice: ``group`` or ``group@package``."""
        group = self.group_path(entry)
        package = self.package_of(entry)
        if package == group.replace("/", "."):
            return group
        return f"{group}@{package or GLOBAL}"


def header_package(header: str | None) -> str | None:
    """Give the package a ``# @package`` header means: always counted from the top."""
    if header is None or header == GLOBAL or header.startswith(GLOBAL + "."):
        return header
    return f"{GLOBAL}.{header}"


def read_entries(file: YamlFile) -> list[Entry]:
    """Read the defaults list of a file, in its order."""
    return [
        _entry(item, file.at(("defaults", index))) for index, item in enumerate(file.defaults or ())
    ]


def _entry(item: Any, source: str) -> Entry:
    if isinstance(item, str):
        path, package = _split_package(item)
        if path == "_self_" and package is not None:
            raise ConfigError(f"{source}: {item!r}: _self_ takes no package")
        group, slash, option = path.rpartition("/")
        if slash and not group:
            group = "/"
        return Entry(group, option, package, source, is_choice=False)
    if not isinstance(item, dict):
        raise ConfigError(
            f"{source}: {item!r} is no line of a defaults list: write `group: option`, the name "
            "of a config, or _self_"
        )
    if len(item) != 1:
        raise ConfigError(
            f"{source}: {item!r} should be one `group: option`: put each on a line of its own, "
            "with a dash in front"
        )
    name, option = next(iter(item.items()))
    if not isinstance(name, str):
        raise ConfigError(f"{source}: the name of a group is a word, not {name!r}")
    *keywords, group_text = name.split(" ")
    for keyword in keywords:
        if keyword not in ("override", "optional"):
            raise ConfigError(
                f"{source}: {name!r}: only `override` and `optional` may stand before a group, "
                f"found {keyword!r}"
            )
    group, package = _split_package(group_text)
    if not group.strip("/") or option == "_self_":
        raise ConfigError(f"{source}: `{name}: {option}` names no option of a group")
    named = option if isinstance(option, list) else [option]
    if not (option is None or all(isinstance(each, str) for each in named)):
        raise ConfigError(
            f"{source}: `{name}: {option}`: an option is the name of a file, put quotes around "
            "names that look like a number or a boolean"
        )
    return Entry(
        group,
        option,
        package,
        source,
        optional="optional" in keywords,
        override="override" in keywords,
    )


def _split_package(text: str) -> tuple[str, str | None]:
    """Split ``group@package``; of Hydra's old ``@from:to`` the first name counts."""
    group, at, package = text.partition("@")
    return group, package.partition(":")[0] if at else None
