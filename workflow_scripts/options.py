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
    name, help
        Its name, and its line in the docstring.
    kind
        ``input``, ``output``, ``value`` and so on: what the type of the parameter says.
    type
        What makes a value of its text.
    digest
        What tells one input from another; None if it does not count what is given.
    place
        Where a rule names it: ``input``, ``output`` or ``params``.
    many, optional
        Whether it takes several values, or can be left out.
    default
        Its value then.
    """

    name: str
    help: str
    kind: str
    type: Callable[[str], Any] = Path
    digest: Callable[[Path], str] | None = None
    place: str = "params"
    many: bool = False
    optional: bool = False
    default: Any = None

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def words(self) -> str:
        """Its part of the shell command of a rule."""
        known = {"threads": "{threads}", "run": "{wildcards.run:q}"}
        return f"{self.flag} {known.get(self.name, f'{{{self.place}.{self.name}:q}}')}"

    @property
    def has_default(self) -> bool:
        """Whether it has a value of its own where it is not given."""
        return self.default not in (None, [])

    @property
    def settings(self) -> dict[str, Any]:
        """What argparse is told of it."""
        more: dict[str, Any] = {"required": True}
        if self.optional and not self.has_default:
            # A rule names an input that a run lacks by nothing.
            more = {"nargs": "*" if self.many else "?"}
        elif self.optional:
            more = {}
        return {"type": self.type, "default": self.default, "help": self.help, **more}


def is_expanded(hint: Any) -> bool:
    """Return whether a parameter of this type stands for its fields."""
    return is_dataclass(hint) and hint is not Slice


def options_of(function: Callable[..., None]) -> Iterator[Option]:
    """Yield the options of a function's parameters."""
    hints = parameters_of(function)
    for name, hint in hints.items():
        if hint is Slice:
            yield Option("settings", "stage file (JSON)", "settings", place="input")
            config = "frozen config (YAML)"
            optional = Config not in hints.values()
            yield Option("config", config, "config", place="input", optional=optional)
        elif is_expanded(hint):
            texts: dict[str, str] = {}
            for base in inspect.getmro(hint):
                texts = _descriptions(base, "Attributes") | texts
            for field, of_field in parameters_of(hint).items():
                yield _option(hint, field, of_field, texts)
        elif hint not in (Config, IdentityFolder):
            yield _option(function, name, hint, _descriptions(function, "Parameters"))


def parameters_of(described: Any) -> dict[str, Any]:
    """Return the type of each parameter of a function, or field of a dataclass, by name."""
    hints = get_type_hints(described, include_extras=True)
    return {name: hint for name, hint in hints.items() if name != "return"}


def _option(owner: Any, name: str, hint: Any, texts: Mapping[str, str]) -> Option:
    default = inspect.signature(owner).parameters[name].default
    default = None if default is inspect.Parameter.empty else default
    optional = type(None) in get_args(hint)
    if optional:
        hint = get_args(hint)[0]
    many = get_origin(hint) is list
    if many:
        hint = get_args(hint)[0]
    if many and not optional and default is None:
        default = []
    bare, *marks = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    digest: Callable[[Path], str] | None = None
    kind, place = "value", "params"
    if marks and isinstance(marks[0], str):
        kind = marks[0]
        digest = os.path.abspath if kind == "store" else None
        place = "output" if kind.startswith("output") else "params"
    elif bare is Path:
        kind, digest = "input", marks[0] if marks else content_digest
        place = marks[1] if marks[1:] else "input"
    optional = optional or default is not None
    return Option(name, texts[name], kind, bare, digest, place, many, optional, default)


def _descriptions(described: Any, title: str) -> dict[str, str]:
    """Return the description of each name in a section of a docstring, as one line."""
    rule = "-" * len(title)
    _, _, section = inspect.cleandoc(described.__doc__ or "").partition(f"{title}\n{rule}\n")
    found: dict[str, str] = {}
    for names, text in re.findall(r"^(\w[\w, ]*)\n((?:    .*\n?)+)", section, re.MULTILINE):
        line = " ".join(text.split()).rstrip(".")
        found |= dict.fromkeys(names.split(", "), line[:1].lower() + line[1:])
    return found
