"""What overrides and ``override`` lines want of the group choices, and whether they get it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workflow_scripts.settings.defaults import Entry, Place
from workflow_scripts.settings.errors import ConfigError
from workflow_scripts.settings.overrides import Action, Override
from workflow_scripts.settings.suggestions import nearest
from workflow_scripts.settings.tree import describe


@dataclass(slots=True)
class Wish:
    """One choice that somebody wants changed."""

    option: str | list[str] | None
    source: str
    from_override: bool
    used: bool = False


@dataclass(slots=True)
class Wishes:
    """All wishes of one composition.

    Attributes
    ----------
    changes
        Options wanted, by the key of the choice. The first wish for a key counts.
    deletions
        Choices that overrides take out.
    added
        Choices that overrides add to the primary config's list.
    """

    changes: dict[str, Wish] = field(default_factory=dict)
    deletions: dict[str, Override] = field(default_factory=dict)
    added: list[Entry] = field(default_factory=list)
    _deleted: set[str] = field(default_factory=set)

    def request(self, override: Override, options: Sequence[str]) -> None:
        """Take in an override that chooses, adds or deletes an option of a group."""
        source = f"override {override.text!r}"
        value: Any = override.value
        if override.action is Action.DELETE:
            if not (value is None or isinstance(value, str)):
                raise ConfigError(f"{source}: an option is a name, not {value!r}")
            self.deletions[override.group_key] = override
            return
        if override.action is Action.FORCE:
            raise ConfigError(f"{source}: a group takes no ++: write +{override.text[2:]}")
        names = value if isinstance(value, list) else [value]
        if not all(isinstance(name, str) for name in names):
            raise ConfigError(
                f"{source}: `{override.key}` is a group and {describe(value)} none of its options: "
                f"{', '.join(options)} (~{override.group_key} takes the group out)"
            )
        if override.action is Action.ADD:
            self.added.append(Entry(override.key, value, override.package, source, added=True))
        else:
            self.changes[override.group_key] = Wish(value, source, from_override=True)

    def register(self, entries: Sequence[Entry], place: Place, interpolated: bool) -> None:
        """Note the ``override`` lines of a defaults list; wishes noted before them stay."""
        seen: Entry | None = None
        for entry in entries:
            if seen is not None and not (entry.override or entry.added or entry.is_self):
                raise ConfigError(
                    f"{seen.source}: `override {seen.group}: {seen.option}` stands before "
                    f"`{entry.group}: {entry.option}`: overrides go at the end of the list"
                )
            if not entry.override:
                continue
            seen = entry
            if interpolated:
                raise ConfigError(
                    f"{entry.source}: `override {entry.group}` can't stand in a config that was "
                    "chosen by an interpolation: choices are made by then"
                )
            wish = Wish(entry.option, entry.source, from_override=False)
            self.changes.setdefault(place.key_of(entry), wish)

    def deletes(self, key: str, option: str | list[str] | None) -> bool:
        """Tell whether a choice is to be taken out, and note that it was."""
        deletion = self.deletions.get(key)
        if deletion is None or deletion.value not in (None, option):
            return False
        self._deleted.add(key)
        return True

    def refuse_unused(self, choices: Mapping[str, Any]) -> None:
        """Raise ConfigError where a wish met no choice in any defaults list."""
        for key, wish in self.changes.items():
            if wish.used:
                continue
            group = key.partition("@")[0]
            alike = [known for known in choices if known.partition("@")[0] == group]
            hint = nearest(key, alike or choices)
            if "/" in group and not wish.from_override:
                hint += f" (in a file of a group, a group of the top is `/{group.split('/')[-1]}`)"
            if wish.from_override:
                hint += f" (to add it to the defaults list: +{key}={wish.option})"
            raise ConfigError(
                f"{wish.source}: no defaults list has the group `{key}` to override{hint}"
            )
        for key, deletion in self.deletions.items():
            if key in self._deleted:
                continue
            hint = f": it is {choices[key].option!r}" if key in choices else nearest(key, choices)
            raise ConfigError(
                f"override {deletion.text!r}: no defaults list has this choice to delete{hint}"
            )
