"""Expands defaults lists into the flat list of files that make a config, in merging order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workflow_scripts.settings.config_directory import ConfigDirectory
from workflow_scripts.settings.defaults import GLOBAL, Entry, Place, header_package, read_entries
from workflow_scripts.settings.errors import ConfigError
from workflow_scripts.settings.frozen_runs import frozen_options
from workflow_scripts.settings.interpolation import Resolver
from workflow_scripts.settings.suggestions import nearest
from workflow_scripts.settings.tree import MISSING, Tree
from workflow_scripts.settings.wishes import Wish, Wishes
from workflow_scripts.settings.yaml_files import YamlFile

_MAX_DEPTH = 60


@dataclass(frozen=True, slots=True)
class Layer:
    """A file's own values and the package they go under.

    ``asked`` marks what a run file or an override brings; the rest is the config's default.
    """

    file: YamlFile
    package: str
    choice: str | None = None
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """Which option of a group was taken.

    Attributes
    ----------
    key
        The group, with ``@package`` where it doesn't go under its own name.
    option, source
        What was taken and who said so.
    default, default_source
        What the defaults list says and where; the same where nothing overrode it.
    """

    key: str
    option: str | list[str] | None
    source: str
    default: str | list[str] | None
    default_source: str


@dataclass(slots=True)
class Composer:
    """Expands one config's defaults lists.

    Later entries and files are read first, because Hydra lets the last ``override`` in a tree win
    and lets an interpolated option see the choices of the entries after it.
    """

    directory: ConfigDirectory
    choices: dict[str, Choice] = field(default_factory=dict)
    wishes: Wishes = field(default_factory=Wishes)

    def expand(self, config_name: str, run_files: Sequence[YamlFile]) -> list[Layer]:
        """Give all layers of a config, first merged first.

        Run files come after everything the config lists, then groups added by overrides.
        """
        group, _, option = config_name.rpartition("/")
        root = Entry(group, option, None, str(self.directory.path), is_choice=False)
        runs = [self._run_entry(file) for file in run_files]
        self._recognise_frozen(self.directory.find(group, option, root.source), run_files)
        layers = self._expand(root, Place(), (), False, [*runs, *self.wishes.added])
        self._refuse_repetition(layers)
        self.wishes.refuse_unused(self.choices)
        return layers

    def _recognise_frozen(self, root: YamlFile | None, run_files: Sequence[YamlFile]) -> None:
        """Choose the options of run files that are frozen configs; the last one decides."""
        for file in reversed(run_files if root is not None else ()):
            assert root is not None
            for key, option in frozen_options(self.directory, root, file).items():
                wish = Wish(option, str(file.path), from_override=False)
                self.wishes.changes.setdefault(key, wish)

    def _run_entry(self, file: YamlFile) -> Entry:
        """Make the entry of a run file: global unless its header says otherwise.

        Relative groups in a run file of the config directory count from its folder, as they would
        for Hydra; those of a file elsewhere count from the top.
        """
        folder = self.directory.group_of(file.path)
        package = GLOBAL if file.package is None else None
        return Entry(
            folder, file.path.stem, package, str(file.path), is_choice=False, added=True, file=file
        )

    def _expand(
        self,
        entry: Entry,
        place: Place,
        chain: tuple[Path, ...],
        interpolated: bool,
        added: Sequence[Entry] = (),
    ) -> list[Layer]:
        """Expand an entry whose options are one name or none."""
        key = place.key_of(entry) if entry.is_choice else None
        if key is not None and self.wishes.deletes(key, entry.option):
            return []
        if key is not None:
            self._note_choice(key, entry)
        if entry.option is None:
            return []
        file = entry.file or self._find(entry, place)
        if file is None:
            return []
        if file.path in chain or len(chain) > _MAX_DEPTH:
            names = " → ".join(str(path) for path in (*chain, file.path))
            raise ConfigError(f"{entry.source}: defaults lists go in a circle: {names}")
        package = place.package_of(entry, header_package(file.package))
        entries = read_entries(file)
        if not entries and not added:
            return [Layer(file, package, key)]
        inner = Place(place.group_path(entry), package)
        return self._expand_list(
            file,
            [*self._with_self(file, entries), *added],
            inner,
            (*chain, file.path),
            interpolated,
        )

    def _with_self(self, file: YamlFile, entries: list[Entry]) -> list[Entry]:
        """Add ``_self_`` where a list leaves it out: the file's own values come last."""
        selves = [entry for entry in entries if entry.is_self]
        if len(selves) > 1:
            raise ConfigError(f"{selves[1].source}: _self_ stands in this defaults list twice")
        if selves:
            return entries
        return [*entries, Entry("", "_self_", None, str(file.path), is_choice=False, added=True)]

    def _expand_list(
        self,
        file: YamlFile,
        entries: list[Entry],
        place: Place,
        chain: tuple[Path, ...],
        interpolated: bool,
    ) -> list[Layer]:
        # Trees written for Hydra may choose options for Hydra itself: no part of the config.
        entries = [e for e in entries if not f"{place.group_path(e)}/".startswith("hydra/")]
        self.wishes.register(entries, place, interpolated)
        kept = [entry for entry in entries if not entry.override]
        expanded: list[list[Layer]] = [[] for _ in kept]
        later: list[int] = []
        for index in reversed(range(len(kept))):
            entry = kept[index]
            if entry.is_self:
                expanded[index] = [Layer(file, place.package)]
                continue
            kept[index] = entry = self._overridden(entry, place)
            if isinstance(entry.option, str) and "${" in f"{entry.group}/{entry.option}":
                later.append(index)
            else:
                expanded[index] = self._expand_options(entry, place, chain, interpolated)
        made: dict[Any, Any] = {key: choice.option for key, choice in self.choices.items()}
        for index in later:  # once all plain choices beside them are made, and from those alone
            written = kept[index].option
            entry = self._resolve_option(kept[index], made)
            known = self.choices.get(place.key_of(entry))
            if known is not None and known.option == written:  # by an override, as it was written
                self.choices[known.key] = replace(known, option=entry.option)
            expanded[index] = self._expand(entry, place, chain, True)
        return [
            replace(layer, asked=True) if entry.added and not entry.is_self else layer
            for entry, layers in zip(kept, expanded, strict=True)
            for layer in layers
        ]

    def _expand_options(
        self, entry: Entry, place: Place, chain: tuple[Path, ...], interpolated: bool
    ) -> list[Layer]:
        if not isinstance(entry.option, list):
            return self._expand(entry, place, chain, interpolated)
        parts: list[list[Layer]] = []
        for option in reversed(entry.option):
            if "${" in option:
                raise ConfigError(f"{entry.source}: a list of options can't hold {option!r}")
            single = replace(entry, option=option, is_choice=False)
            parts.append(self._expand(single, place, chain, interpolated))
        self._note_choice(place.key_of(entry), entry)
        return [layer for layers in reversed(parts) for layer in layers]

    def _overridden(self, entry: Entry, place: Place) -> Entry:
        wish = self.wishes.changes.get(place.key_of(entry)) if entry.is_choice else None
        if wish is None:
            return entry
        wish.used = True
        key = place.key_of(entry)
        known = self.choices.get(key)
        options = [wish.option] if known is None else [wish.option, known.option]
        # Beside another choice, made before this wish was read, _note_choice refuses it.
        if options[0] == options[-1] or any(isinstance(option, list) for option in options):
            self.choices[key] = Choice(key, wish.option, wish.source, entry.option, entry.source)
        return replace(entry, option=wish.option, source=wish.source)

    def _resolve_option(self, entry: Entry, made: dict[Any, Any]) -> Entry:
        """Evaluate ``${group}`` in an option, from the choices that have been made."""
        tree = Tree({**made, "": f"{entry.option}"})
        tree.record(("",), entry.option, entry.source)
        try:
            option = Resolver(tree).value(("",))
        except ConfigError as error:
            raise ConfigError(
                f"{entry.source}: {entry.option!r} can refer to choices of groups alone"
                f"{nearest(entry.option, made)}"
            ) from error
        if not isinstance(option, str):
            raise ConfigError(f"{entry.source}: {entry.option!r} is {option!r}, not one option")
        return replace(entry, option=option)

    def _note_choice(self, key: str, entry: Entry) -> None:
        """Note which option of a group is taken; two different ones are an error.

        Lists of options are no part of that rule: a group may have a list and an option beside it.
        """
        known = self.choices.get(key)
        if known is not None and known.option == entry.option:
            return
        if known is None or isinstance(known.option, list):
            self.choices[key] = Choice(key, entry.option, entry.source, entry.option, entry.source)
        elif not isinstance(entry.option, list):
            here, there = (option or "null" for option in (entry.option, known.option))
            raise ConfigError(
                f"{entry.source}: `{key}` is {here!r} here, but {there!r} in {known.source}: to "
                f"change a choice write `override {key}: {there}` in a defaults list, or "
                f"{key}={there} as an override"
            )

    def _find(self, entry: Entry, place: Place) -> YamlFile | None:
        group, option = place.group_path(entry), entry.option
        assert isinstance(option, str)
        if option == MISSING:
            options = ", ".join(self.directory.options(group))
            key = place.key_of(entry)
            raise ConfigError(
                f"{entry.source}: `{key}` has no option yet (???): choose one with {key}=OPTION, "
                f"of {options}"
            )
        return self.directory.find(group, option, entry.source, optional=entry.optional)

    def _refuse_repetition(self, layers: list[Layer]) -> None:
        seen: set[str] = set()
        for layer in layers:
            if layer.choice in seen:
                raise ConfigError(
                    f"{self.choices[layer.choice].source}: the group `{layer.choice}` is in the "
                    "defaults list twice: take one out"
                )
            if layer.choice is not None:
                seen.add(layer.choice)
