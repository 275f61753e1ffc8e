"""Puts the place, and what was probably meant, before what Hydra and OmegaConf say is wrong."""

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

_NAMED_BY_HYDRA = re.compile(
    r"Could not \w+ '(.+?)'(?:\.| |$)|You must specify '(.+?)'|Multiple values for (.+?)\. To"
    r"|(.+) appears more than once|Override '(.+?)' is|Error resolving interpolation '(.+?)'"
)
"""A group, a group with an option (``db=x``, ``db : x``, ``db/x``), or an interpolation."""


def list_error(error: Exception, files: ConfigFiles) -> ConfigError:
    """Return the error of a defaults list, or of a choice of an option."""
    if isinstance(error, ConfigError):
        return error
    if isinstance(error, RecursionError):
        trail = files.trail
        again = next((n for n in range(len(trail) - 2, 0, -1) if trail[n] == trail[-1]), 0)
        names = [*dict.fromkeys(trail[again:]), trail[-1]]
        shown = " → ".join(str(files.files[name].path) for name in names)
        last = files.files[names[-2]].at(("defaults",))
        return ConfigError(f"{last}: defaults lists go in a circle: {shown}")
    message = _text_of(error).partition(" Config search path")[0]
    within = re.match(r"In '?(.+?)'?: ", message)
    message = message.removeprefix(within[0] if within else "")
    found = _NAMED_BY_HYDRA.match(message)
    if found is None:
        return ConfigError(f"{files.config_dir}: {message}")
    name = next(filter(None, found.groups()))
    if message.startswith(("Could not find", "Could not load")):
        group, _, option = name.rpartition("/")
        return ConfigError(f"{files.place(group, option)}: {files.no_option(group, option)}")
    key, option = ("", name) if "${" in name else re.split(r" : |=|$", name, maxsplit=1)
    if message.startswith("Multiple values"):
        message += f". Named are {files.chosen(key)}"
    elif within and "No match" in message:
        top = key.partition("@")[0].rpartition("/")[2]
        message += f" Names count from the file's folder: the top is `/{top}`"
    return ConfigError(f"{files.place(key, option or None, within and within[1])}: {message}")


def override_error(
    error: Exception, override: Override, values: Any, source: Callable[[KeyPath], str]
) -> ConfigError:
    """Return the error of an override of a key.

    ``values`` are those of the config before it, as they are written.
    """
    key, text = override.key_or_group, str(override.input_line)
    cause = error.__cause__ or error
    if unknown := _unknown(str(getattr(cause, "full_key", None) or key), values):
        is_new = not (override.is_delete() or override.is_add()) and "has no key" in unknown
        message = unknown + (f" (to add a key: +{text})" if is_new else "")
    else:
        hydras = cause if str(error).startswith("Error merging override") else error
        place = source(tuple(key.split(".")))
        found = kind_of(_at(values, key.split(".")))
        message = f"{_text_of(hydras).rstrip('.')}; it is {found} from {place}"
    return ConfigError(f"override {text!r}: {message}")


def reference_error(
    error: Exception, config: Any, values: Any, source: Callable[[KeyPath], str]
) -> ConfigError:
    """Return the error of a reference of a config; ``values`` are its values as written."""
    key = _culprit(config, values)
    raw = _at(values, key)
    message = _text_of(error).rpartition("resolving interpolation: ")[2].strip('"')
    if found := re.match(r"Interpolation key '(.+)' not found", message):
        section, _, name = found[1].rpartition(".")
        inside = _at(values, section.split(".")) if section else values
        message += nearest(name, inside) if isinstance(inside, dict) else ""
    elif found := re.match(r"Environment variable '(.+)' not found", message):
        message += f": set it, or write ${{oc.env:{found[1]},default}}"
    text = f"`{dotted(key)}: {raw}`: " if isinstance(raw, str) else ""
    return ConfigError(f"{source(key)}: {text}{message}")


def _text_of(error: BaseException) -> str:
    """Return on one line what an error of Hydra or OmegaConf says, without its table of facts."""
    text = str(error).partition("\n    full_key")[0]
    return " ".join(text.split()) or type(error).__name__


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


def _unknown(key: str, values: Any) -> str:
    """Return which part of a key isn't there, and what was probably meant; empty where all is."""
    section, inside = "", values
    for name in re.findall(r"[^.\[\]]+", key):
        where = f"`{section}`" if section else "the config"
        path = f"{section}.{name}".lstrip(".")
        if isinstance(inside, list) and not (name.isdecimal() and int(name) < len(inside)):
            return f"the list {where} has {len(inside)} items, counted from 0, and no `{name}`"
        if not isinstance(inside, dict | list):
            return f"{where} is {kind_of(inside)}: there is nothing inside"
        if isinstance(inside, dict) and name not in inside:
            if path in RENAMED:
                return f"{where} has no key `{name}`: it is called {RENAMED[path]}"
            other = next((k for k, _ in walk(values) if k[-1:] == (name,)), None)
            meant = f": did you mean `{dotted(other)}`?" if other else nearest(name, inside)
            return f"{where} has no key `{name}`{meant}"
        section, inside = path, _at(inside, [name])
    return ""


def _at(values: Any, key: Sequence[str]) -> Any:
    """Return what stands at a key of a config, None where there is nothing."""
    for name in key:
        if isinstance(values, list):
            values = dict(enumerate(values)).get(int(name) if name.isdecimal() else -1)
        else:
            values = values.get(name) if isinstance(values, dict) else None
    return values
