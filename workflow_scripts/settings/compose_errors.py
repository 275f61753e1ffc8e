"""Turns the errors of Hydra and OmegaConf into messages with a place and a way out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from omegaconf import OmegaConf

from workflow_scripts.errors import ConfigError, kind_of
from workflow_scripts.settings.config_files import ConfigFiles
from workflow_scripts.settings.hydra_internals import Override
from workflow_scripts.settings.suggestions import RENAMED, nearest
from workflow_scripts.settings.yaml_files import KeyPath, dotted, walk

_OF_A_LIST = {
    r"Could not override '(?P<key>.+?)'": "no defaults list has the group `{key}`{hint}",
    r"Could not delete '(?P<key>[^=]+)=(?P<option>.+)'\.": (
        "no defaults list has the group `{key}` with the option `{option}`"
    ),
    r"Could not delete '(?P<key>.+)'\.": "no defaults list has the group `{key}`",
    r"You must specify '(?P<key>.+?)'": (
        "`{key}` has no option yet (???): choose one with {key}=OPTION, of {options}"
    ),
    r"Multiple values for (?P<key>.+)\. To override a value": (
        "`{key}` has several options: {chosen}; to change a choice write `override {key}: OPTION` "
        "in a defaults list, or {key}=OPTION as an override"
    ),
    r"(?P<key>.+) appears more than once in the final defaults list": (
        "the group `{key}` is in the defaults list twice: take one out"
    ),
    r"Override '(?P<key>.+?) : (?P<option>.+?)' is defined before": (
        "overrides go at the end of a defaults list"
    ),
    r"Error resolving interpolation '(?P<option>.+)', possible.*: (?P<groups>.*)": (
        "{option!r} can refer to choices of groups alone: there are {groups}"
    ),
}
"""What Hydra says of a defaults list, and our words for it."""


def list_error(error: Exception, files: ConfigFiles) -> ConfigError:
    """Return the error of a defaults list, or of a choice of an option, in our words."""
    if isinstance(error, ConfigError):
        return error
    if isinstance(error, RecursionError):
        trail = files.trail
        again = next((n for n in range(len(trail) - 2, 0, -1) if trail[n] == trail[-1]), 0)
        names = [*dict.fromkeys(trail[again:]), trail[-1]]
        shown = " → ".join(str(files.files[name].path) for name in names)
        last = files.files[names[-2]].at(("defaults",))
        return ConfigError(f"{last}: defaults lists go in a circle: {shown}")
    message = str(error) or type(error).__name__
    within = re.match(r"In '?(.+?)'?: ", message)
    first = message.removeprefix(within[0] if within else "").splitlines()[0]
    if found := re.match(r"Could not (?:find|load) '(.+)'", first):
        group, _, option = found[1].rpartition("/")
        return ConfigError(f"{files.place(group, option)}: {files.no_option(group, option)}")
    if found := re.match(r"Duplicate _self_ defined in (.+)", first):
        file = files.files[found[1]]
        numbers = [n for n, item in enumerate(file.defaults or []) if item == "_self_"]
        return ConfigError(
            f"{file.at(('defaults', numbers[1]))}: _self_ stands in this defaults list twice"
        )
    for pattern, words in _OF_A_LIST.items():
        if found := re.match(pattern, first):
            facts: dict[str, Any] = {"key": "", "option": None, **found.groupdict()}
            group = facts["key"].partition("@")[0]
            place = files.place(facts["key"], facts["option"], within[1] if within else None)
            facts |= {
                "hint": _hint(message, group),
                "options": ", ".join(files.get_group_options(group)),
                "chosen": files.chosen(group),
            }
            return ConfigError(f"{place}: {words.format(**facts)}")
    return ConfigError(f"{files.config_dir}: {' '.join(message.split())}")


def _hint(message: str, group: str) -> str:
    """Return what was probably meant by a choice of an option of a group that no list has."""
    if found := re.search(r"Did you mean to override (.+)\?", message):
        return f": did you mean `{found[1]}`?"
    if found := re.search(r"To append to your default list use (.+)", message):
        return f"; to add it: {found[1]}"
    top = group.rpartition("/")[2]
    return f"; names are relative to the file's folder: the top is `/{top}`"


def reference_error(
    error: Exception, config: Any, values: Any, source: Callable[[KeyPath], str]
) -> ConfigError:
    """Return the error of a reference, in our words.

    Parameters
    ----------
    error
        What OmegaConf raised.
    config, values
        The config, and its values as they are written.
    source
        Gives the place of a key.
    """
    key = _culprit(config, values)
    raw = _at(values, key)
    message = str(error).splitlines()[0].rpartition("resolving interpolation: ")[2]
    if found := re.match(r"Interpolation key '(.+)' not found", message):
        section, _, name = found[1].rpartition(".")
        inside = _at(values, section.split(".")) if section else values
        close = nearest(name, inside) if isinstance(inside, dict) else ""
        message = f"there is no key `{found[1]}`{close}"
    elif found := re.match(r".*nvironment variable '(.+)' not found", message):
        message = (
            f"the environment variable {found[1]} isn't set: set it, or write a default: "
            f"${{oc.env:{found[1]},default}}"
        )
    elif found := re.match(r"Missing mandatory value: (.+)", message):
        message = f"`{found[1]}` is mandatory and has no value (???)"
    text = f"`{dotted(key)}: {raw}`: " if isinstance(raw, str) else ""
    return ConfigError(f"{source(key)}: {text}{message}")


def _culprit(config: Any, values: Any) -> KeyPath:
    """Return the first key whose value can't be resolved."""
    for key, _ in walk(values):
        try:
            value = OmegaConf.select(config, dotted(key)) if key else None
            if OmegaConf.is_list(value):
                OmegaConf.to_container(value, resolve=True)
        except Exception:  # the errors of OmegaConf and its parser share no class
            return key
    return ()


def override_error(
    error: Exception, override: Override, values: Any, source: Callable[[KeyPath], str]
) -> ConfigError:
    """Return the error of an override of a key, in our words.

    Parameters
    ----------
    error
        What Hydra or OmegaConf raised.
    override
        The one that was applied.
    values
        The config before it, interpolations as they are written.
    source
        Gives the place of a key.
    """
    cause = error.__cause__ if str(error).startswith("Error merging override") else None
    message = (str(cause or error) or type(error).__name__).splitlines()[0]
    key, text = override.key_or_group, str(override.input_line)
    if override.package is not None:
        message = f"`@` belongs to a choice of a group, and there is no group `{key}`"
    elif message.startswith("Could not append"):
        parts = tuple(key.split("."))
        message = (
            f"`{key}` is there already, {kind_of(_at(values, parts))} from {source(parts)}: write "
            f"{text[1:]} to change it, or +{text} for both cases"
        )
    elif found := re.search(r"The value of '.+' is (.+) and not (.+)\.$", message):
        message = (
            f"`{key}` is {found[1]}, not {found[2]}: nothing was deleted (~{key} deletes it "
            "whatever it is)"
        )
    elif re.match("Could not|list index|Key '.+' is not in struct", message):
        message = _unknown(override, values)
    return ConfigError(f"override {text!r}: {message}")


def _unknown(override: Override, values: Any) -> str:
    """Return that a key isn't there, and the one that was probably meant."""
    key = override.key_or_group
    section, inside = "", values
    for name in key.split("."):
        if not isinstance(inside, dict | list):
            return f"`{section}` is {kind_of(inside)}: there is nothing inside"
        if isinstance(inside, list) and not _has_item(inside, name):
            return (
                f"the list `{section}` has {len(inside)} items, counted from 0, and no item "
                f"`{name}`: give the whole list, {section}=[…]"
            )
        path = f"{section}.{name}".lstrip(".")
        if isinstance(inside, dict) and name not in inside:
            break
        section, inside = path, _at(inside, [name])
    else:
        return f"`{key}` is null or ???: no value to delete"
    unknown = f"{f'`{section}`' if section else 'the config'} has no key `{name}`"
    if path in RENAMED:
        return f"{unknown}: it is called {RENAMED[path]}"
    elsewhere = [dotted(other) for other, _ in walk(values) if other[-1:] == (name,)]
    meant = f": did you mean `{elsewhere[0]}`?" if elsewhere else nearest(name, inside)
    is_new = not (override.is_delete() or override.is_add())
    return unknown + meant + (f" (to add a key: +{override.input_line})" if is_new else "")


def _has_item(items: list[Any], name: str) -> bool:
    return name.isdecimal() and int(name) < len(items)


def _at(values: Any, key: Sequence[str]) -> Any:
    """Return what stands at a key of a config, None where there is nothing."""
    for name in key:
        if isinstance(values, list):
            values = values[int(name)] if _has_item(values, name) else None
        else:
            values = values.get(name) if isinstance(values, dict) else None
    return values
