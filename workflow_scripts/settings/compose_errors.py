"""Turns the errors of Hydra and OmegaConf into messages with a place and a way out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from workflow_scripts.errors import ConfigError, kind_of
from workflow_scripts.settings.hydra_internals import Override
from workflow_scripts.settings.suggestions import RENAMED, nearest

if TYPE_CHECKING:
    from workflow_scripts.settings.config_files import ConfigFiles


def key_error(
    error: Exception, override: Override | None, config: Any, source: Callable[[Any], str]
) -> ConfigError:
    """Return the error of an override of a key, or of a reference, in our words.

    Parameters
    ----------
    error
        What Hydra or OmegaConf raised.
    override
        The override that was applied; None while references are resolved.
    config
        The config as it was.
    source
        Gives the place of a key.
    """
    if isinstance(error, ConfigError):
        return error
    cause = error.__cause__ if str(error).startswith("Error merging override") else None
    message = str(cause or error) or type(error).__name__
    if override is not None:
        return ConfigError(
            f"override {override.input_line!r}: {_said(message, override, config, source)}"
        )
    key = _culprit(config)
    raw = _selected(config, ".".join(key))
    text = f"`{'.'.join(key)}: {raw}`: " if key and isinstance(raw, str) else ""
    return ConfigError(f"{source(key)}: {text}{_reference(message, config)}")


def _culprit(config: Any) -> tuple[str, ...]:
    """Return the first key of a config whose value can't be resolved."""
    for path in _paths(OmegaConf.to_container(config)):
        try:
            value = OmegaConf.select(config, path)
            if OmegaConf.is_list(value):
                OmegaConf.to_container(value, resolve=True)
        except Exception:  # the errors of OmegaConf and its parser share no class
            return tuple(path.split("."))
    return ()


def _reference(message: str, config: Any) -> str:
    first = message.splitlines()[0]
    if found := re.match(r"Interpolation key '(.+)' not found", first):
        section, _, name = found[1].rpartition(".")
        return f"there is no key `{found[1]}`{nearest(name, _names(config, section))}"
    if found := re.match(r".*nvironment variable '(.+)' not found", first):
        return (
            f"the environment variable {found[1]} isn't set: set it, or write a default: "
            f"${{oc.env:{found[1]},default}}"
        )
    if "issing mandatory value: " in first:
        return f"`{first.rpartition(': ')[2]}` is mandatory and has no value (???)"
    return first.rpartition("resolving interpolation: ")[2]


def _said(message: str, override: Override, config: Any, source: Callable[[Any], str]) -> str:
    """Return what is wrong with an override of a key."""
    key, text = override.key_or_group, str(override.input_line)
    parts = tuple(key.split("."))
    if "does not exist" in message and "config group" in message:
        return f"`@` belongs to a choice of a group, and there is no group `{key}`"
    if message.startswith("Could not append"):
        found = _selected(config, key)
        return (
            f"`{key}` is there already, {kind_of(found)} from {source(parts)}: write {text[1:]} to "
            f"change it, or +{text} for both cases"
        )
    if found := re.search(r"The value of '.+' is (.+) and not (.+)\.$", message):
        return (
            f"`{key}` is {found[1]}, not {found[2]}: nothing was deleted (~{key} deletes it "
            "whatever it is)"
        )
    if re.match("Could not|list index|Key '.+' is not in struct", message):
        return _unknown(key, text, override, config)
    return message.splitlines()[0]


def _unknown(key: str, text: str, override: Override, config: Any) -> str:
    """Return that a key isn't there, and the one that was probably meant."""
    parts = key.split(".")
    for length, name in enumerate(parts):
        section = ".".join(parts[:length])
        inside = _selected(config, section)
        if isinstance(inside, list):
            return (
                f"the list `{section}` has {len(inside)} items, counted from 0, and no item "
                f"`{name}`: give the whole list, {section}=[…]"
            )
        if not isinstance(inside, dict):
            return f"`{section}` is {kind_of(inside)}: there is nothing inside"
        if name not in inside:
            break
    else:
        return f"`{key}` is null or ???: no value to delete"
    where = f"`{section}` has" if section else "the config has"
    everywhere = _paths(OmegaConf.to_container(config))
    elsewhere = [path for path in everywhere if path.rpartition(".")[2] == name]
    meant = (
        f": did you mean `{elsewhere[0]}`?" if elsewhere else nearest(name, _names(config, section))
    )
    if (path := f"{section}.{name}") in RENAMED:
        return f"{where} no key `{name}`: it is called {RENAMED[path]}"
    add = "" if override.is_delete() or override.is_add() else f" (to add a key: +{text})"
    return f"{where} no key `{name}`{meant}{add}"


def _selected(config: Any, key: str) -> Any:
    """Return a value of a config as it is written, None where there is none."""
    value = OmegaConf.to_container(config)
    for part in key.split(".") if key else ():
        if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value


def _names(config: Any, section: str) -> list[str]:
    inside = _selected(config, section)
    return [str(name) for name in inside] if isinstance(inside, dict) else []


def _paths(value: Any, prefix: str = "") -> list[str]:
    if not isinstance(value, dict):
        return [prefix]
    inside = [_paths(item, f"{prefix}.{key}".lstrip(".")) for key, item in value.items()]
    return [*([prefix] if prefix else []), *(path for paths in inside for path in paths)]


def list_error(error: Exception, files: ConfigFiles) -> ConfigError:
    """Return the error of a defaults list, or of a choice of an option, in our words."""
    if isinstance(error, ConfigError):
        return error
    if isinstance(error, RecursionError):
        trail = files.trail
        again = next((n for n in range(len(trail) - 2, 0, -1) if trail[n] == trail[-1]), 0)
        names = dict.fromkeys(trail[again:])
        shown = " → ".join(str(files.files[name].path) for name in [*names, trail[-1]])
        last = files.files[list(names)[-1]].at(("defaults",))
        return ConfigError(f"{last}: defaults lists go in a circle: {shown}")
    message = str(error)
    within = re.match(r"In '?(.+?)'?: ", message)
    body = message.removeprefix(within[0]) if within else message
    first = body.splitlines()[0] if body else type(error).__name__

    def place(key: str, value: str | None = None) -> str:
        return files.place(key, value, within[1] if within else None)

    if found := re.match(r"Could not override '(.+?)'", first):
        key = found[1]
        other = re.search(r"Did you mean to override (.+)\?", body)
        hint = f": did you mean `{other[1]}`?" if other else ""
        text = next((o.input_line for o in files.overrides if o.get_key_element() == key), None)
        if text is not None:
            hint = hint or f"; to add it: +{text}"
            return ConfigError(f"override {text!r}: no defaults list has the group `{key}`{hint}")
        top = key.partition("@")[0].rpartition("/")[2]
        hint = hint or f"; names are relative to the file's folder: the top is `/{top}`"
        return ConfigError(f"{place(key)}: no defaults list has the group `{key}`{hint}")
    if found := re.match(r"Could not (?:find|load) '(.+)'", first):
        group, _, option = found[1].rpartition("/")
        return ConfigError(f"{files.place(group, option)}: {files.no_option(group, option)}")
    if found := re.match(r"You must specify '(.+?)'", first):
        options = ", ".join(files.get_group_options(found[1].partition("@")[0]))
        return ConfigError(
            f"{place(found[1])}: `{found[1]}` has no option yet (???): choose one with "
            f"{found[1]}=OPTION, of {options}"
        )
    if found := re.match(r"Multiple values for (.+)\. To override a value", first):
        key = found[1]
        given = sorted(files.options_chosen(key).items())
        chosen = ", ".join(f"{option} in {source}" for option, source in given)
        return ConfigError(
            f"{place(key)}: `{key}` has several options: {chosen}; to change a choice write "
            f"`override {key}: OPTION` in a defaults list, or {key}=OPTION as an override"
        )
    if found := re.match(r"(.+) appears more than once in the final defaults list", first):
        return ConfigError(
            f"{place(found[1])}: the group `{found[1]}` is in the defaults list twice: take one out"
        )
    if found := re.match(r"Duplicate _self_ defined in (.+)", first):
        file = files.files[found[1]]
        lines = [n for n, item in enumerate(file.defaults or []) if item == "_self_"]
        return ConfigError(
            f"{file.at(('defaults', lines[1]))}: _self_ stands in this defaults list twice"
        )
    if found := re.match(r"Override '(.+?) : (.+?)' is defined before", first):
        return ConfigError(
            f"{place(found[1], found[2])}: overrides go at the end of a defaults list"
        )
    if found := re.match(r"Error resolving interpolation '(.+)', possible.*: (.*)", first):
        return ConfigError(
            f"{files.place_of_option(found[1])}: {found[1]!r} can refer to choices of "
            f"groups alone: there are {found[2]}"
        )
    if found := re.match(r"Could not delete '(.+)'\.", first):
        key, _, option = found[1].partition("=")
        with_option = f" with the option `{option}`" if option else ""
        return ConfigError(
            f"override '~{found[1]}': no defaults list has the group `{key}`{with_option}"
        )
    for override in files.overrides:
        text, group = str(override.input_line), override.key_or_group
        if "force-add" in first and override.is_force_add():
            return ConfigError(f"override {text!r}: a group takes no ++: write {text[2:]}")
        if "must be a string" in first and not isinstance(override.value(), str | list):
            options = ", ".join(files.get_group_options(group))
            return ConfigError(
                f"override {text!r}: is none of the options of `{group}`: {options}; ~{group} "
                "leaves the group out"
            )
    return ConfigError(f"{files.config_dir}: {' '.join(message.split())}")
