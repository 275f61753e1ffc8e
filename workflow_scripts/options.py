"""The options of a stage's command line: from the parameters of its function, and its docstring."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from workflow_scripts.cache.digests import canonical_json, file_digest, text_digest
from workflow_scripts.cache.identity import IdentityFolder
from workflow_scripts.cells.manifest import Manifest
from workflow_scripts.errors import DataError
from workflow_scripts.settings.choices import model_file
from workflow_scripts.settings.slices import Slice


def content_digest(path: Path) -> str:
    """Return the digest of a file, or of the names and contents of a folder's files."""
    if not path.is_dir():
        return file_digest(path)
    files = sorted(file for file in path.iterdir() if file.is_file() and file.suffix)
    return text_digest(canonical_json({file.name: file_digest(file) for file in files}))


def cells_digest(path: Path) -> str:
    """Return the digest of the packed cells that a manifest describes."""
    return Manifest.read(path).digest


def model_digest(path: str, key: str) -> str:
    """Return the digest of the model that a key of the config names.

    Raises
    ------
    DataError
        If there is no such model.
    """
    file = model_file(path)
    if not file.is_file():
        raise DataError(f"{file}: no such file; {key} names {path}")
    return file_digest(file)


Cells = Annotated[Path, cells_digest]
Output = Annotated[Path, "output"]
OutputFolder = Annotated[Path, "output folder"]
Store = Annotated[Path, "store"]
Folder = Annotated[Path, "folder"]
Config = Annotated[Path, "config"]


@dataclass(frozen=True)
class Option:
    """One option of a command line.

    Attributes
    ----------
    name, kind
        Its name, and what the type of its parameter says: input, output, value and so on.
    parsed
        What argparse is told of it.
    digest
        What tells one input from another; None if it does not count what is given.
    place
        Where its rule names it: input, output or params.
    """

    name: str
    kind: str
    parsed: Mapping[str, Any]
    digest: Callable[[Path], str] | None = None
    place: str = "params"

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def words(self) -> str:
        """Its part of the shell command of a rule."""
        known = {"threads": "{threads}", "run": "{wildcards.run:q}"}
        return f"{self.flag} {known.get(self.name, f'{{{self.place}.{self.name}:q}}')}"


def options_of(function: Callable[..., None]) -> Iterator[Option]:
    """Yield the options of a function's parameters."""
    hints = parameters_of(function)
    for name, hint in hints.items():
        if hint is Slice:
            of_config = _needed(optional=Config not in hints.values())
            for option, text, needed in (
                ("settings", "stage file (JSON)", _needed(optional=False)),
                ("config", "frozen config (YAML)", of_config),
            ):
                parsed = {"type": Path, "help": text, **needed}
                yield Option(option, option, parsed, place="input")
        elif is_expanded(hint):
            for field, of_field in parameters_of(hint).items():
                yield _option(hint, field, of_field)
        elif hint not in (Config, IdentityFolder):
            yield _option(function, name, hint)


def is_expanded(hint: Any) -> bool:
    """Return whether a parameter of this type stands for its fields."""
    return is_dataclass(hint) and hint is not Slice


def parameters_of(described: Any) -> dict[str, Any]:
    """Return the type of each parameter of a function, or field of a dataclass, by name."""
    hints = get_type_hints(described, include_extras=True)
    return {name: hint for name, hint in hints.items() if name != "return"}


def _option(owner: Any, name: str, hint: Any) -> Option:
    default = inspect.signature(owner).parameters[name].default
    if optional := type(None) in get_args(hint):
        hint = get_args(hint)[0]
    if many := get_origin(hint) is list:
        hint = get_args(hint)[0]
    bare, *marks = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    parsed: dict[str, Any] = {"type": bare, "help": _description(owner, name)}
    if default not in (None, inspect.Parameter.empty):
        parsed["default"] = default
    elif many:
        parsed |= {"nargs": "*", "default": None if optional else []}
    else:
        parsed |= _needed(optional=optional)
    if marks and isinstance(kind := marks[0], str):
        place = "output" if kind.startswith("output") else "params"
        return Option(name, kind, parsed, os.path.abspath if kind == "store" else None, place)
    if bare is Path:
        digest = marks[0] if marks else content_digest
        return Option(name, "input", parsed, digest, marks[1] if marks[1:] else "input")
    return Option(name, "value", parsed)


def _needed(*, optional: bool) -> dict[str, Any]:
    """Return what argparse is told: a rule names an input that a run lacks by nothing."""
    return {"nargs": "?"} if optional else {"required": True}


def _description(owner: Any, name: str) -> str:
    """Return what a docstring, or that of a base class, says of a name, as one line."""
    names = rf"^(?:\w+, )*{name}(?:, \w+)*\n((?:    .*\n?)+)"
    for one in inspect.getmro(owner) if inspect.isclass(owner) else [owner]:
        if found := re.search(names, inspect.cleandoc(one.__doc__ or ""), re.MULTILINE):
            line = " ".join(found[1].split()).rstrip(".")
            return line[:1].lower() + line[1:]
    raise LookupError(f"{owner.__name__} doesn't describe {name}")
