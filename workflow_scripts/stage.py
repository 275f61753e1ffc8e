"""What every stage does around its work: command line, settings, finished work, published outputs.

A stage is a function. Its parameters are its options, described by its docstring::

    @stage("predict")
    def predict(settings: Slice, cells: Cells, checkpoint: Path, predictions: Output) -> None:

``settings`` is the stage's part of the config. The function writes each `Output` (a file) and
`OutputFolder` (a folder of files); a `Folder` is a place whose content does not matter. All other
paths are inputs: a `Cells` is the manifest of packed cells, and of a `Store` the place counts.
The work is done again when one of them, or a file that the settings name, changes.
"""

from __future__ import annotations

import argparse
import inspect
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, cast, get_args, get_origin, get_type_hints

from workflow_scripts.cache.digests import canonical_json, file_digest, text_digest
from workflow_scripts.cache.identity import IdentityFolder
from workflow_scripts.cache.writing import publishing, refuse_damaged
from workflow_scripts.cells.manifest import Manifest
from workflow_scripts.command import command_parser
from workflow_scripts.errors import DataError
from workflow_scripts.settings.choices import ENSEMBLE, INIT_FROM, model_file
from workflow_scripts.settings.slices import Slice, read_settings
from workflow_scripts.settings.stages import FILES_OF_KEYS, engines_of, identity_of


def content_digest(path: Path) -> str:
    """Return the digest of a file, or of the names and contents of a folder's files."""
    if not path.is_dir():
        return file_digest(path)
    files = sorted(file for file in path.iterdir() if file.is_file() and file.suffix)
    return text_digest(canonical_json({file.name: file_digest(file) for file in files}))


def model_digest(path: str, key: str) -> str:
    """Return the digest of what a model is: of its checkpoint, or of what describes its folder.

    Parameters
    ----------
    path
        Where it lies.
    key
        Key of the config that names it.

    Raises
    ------
    DataError
        If there is no such model.
    """
    file = model_file(path)
    if not file.is_file():
        raise DataError(f"{file}: no such file; {key} names {path}")
    return file_digest(file)


def cells_digest(path: Path) -> str:
    """Return the digest of the packed cells that a manifest describes."""
    return Manifest.read(path).digest


def place_digest(path: Path) -> str:
    """Return an absolute path: of a store, the place counts."""
    return os.path.abspath(path)


Output = Annotated[Path, "output"]
OutputFolder = Annotated[Path, "output folder"]
Folder = Annotated[Path, "folder"]
Cells = Annotated[Path, cells_digest]
Store = Annotated[Path, place_digest, "params"]


@dataclass(frozen=True)
class Option:
    """One parameter of a stage's function.

    Attributes
    ----------
    name, help
        Its name, and its line in the docstring.
    kind
        ``input``, ``output``, ``output folder``, ``folder`` or ``value``.
    digest
        What tells one input from another.
    place
        Where a rule names it: ``input``, ``output`` or ``params``.
    type
        What it takes: a path, a number or text.
    many, optional
        Whether it takes several values, or can be left out.
    default
        Its value if it is left out.
    """

    name: str
    help: str
    kind: str
    digest: Callable[[Path], str]
    place: str
    type: Any
    many: bool
    optional: bool
    default: Any

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return f"--{self.name.replace('_', '-')}"


def options_of(function: Callable[..., None]) -> list[Option]:
    """Return the options of a stage's function, but for its settings.

    A parameter that is a dataclass stands for its fields.
    """
    found: list[Option] = []
    for name, hint in _hints(function).items():
        if is_dataclass(hint) and hint is not Slice:
            texts: dict[str, str] = {}
            for base in inspect.getmro(cast(type, hint)):
                texts = _descriptions(base, "Attributes") | texts
            found += _options(_hints(hint), texts, hint)
        elif hint is not Slice:
            found += _options({name: hint}, _descriptions(function, "Parameters"), function)
    return found


def _hints(described: Any) -> dict[str, Any]:
    hints = get_type_hints(described, include_extras=True)
    return {name: hint for name, hint in hints.items() if name != "return"}


def _options(hints: Mapping[str, Any], texts: Mapping[str, str], owner: Any) -> Iterator[Option]:
    for name, hint in hints.items():
        optional, many = type(None) in get_args(hint), get_origin(hint) is list
        inner = get_args(hint)[0] if optional or many else hint
        bare, *marks = get_args(inner) if get_origin(inner) is Annotated else (inner,)
        mark = marks[0] if marks else content_digest
        kind = "value" if bare is not Path else "input" if callable(mark) else mark
        places = {"input": "input", "output": "output", "output folder": "output"}
        place = marks[1] if len(marks) > 1 else places.get(kind, "params")
        default = inspect.signature(owner).parameters[name].default
        default = None if default is inspect.Parameter.empty else default
        left_out = optional or many or default is not None
        yield Option(name, texts[name], kind, mark, place, bare, many, left_out, default)


def _descriptions(described: Any, title: str) -> dict[str, str]:
    """Return the description of each name in a section of a docstring, as one line."""
    rule = "-" * len(title)
    _, _, section = inspect.cleandoc(described.__doc__ or "").partition(f"{title}\n{rule}\n")
    found: dict[str, str] = {}
    for names, text in re.findall(r"^(\w[\w, ]*)\n((?:    .*\n?)+)", section, re.MULTILINE):
        line = " ".join(text.split()).rstrip(".")
        found |= dict.fromkeys(names.split(", "), line[:1].lower() + line[1:])
    return found


class Stage:
    """A stage as a command."""

    def __init__(
        self,
        name: str,
        function: Callable[..., None],
        by_hand: Callable[[Sequence[str]], None] | None = None,
        *,
        shared: bool = False,
        kept: bool = True,
    ) -> None:
        self.name = name
        self.function = function
        self.by_hand = by_hand
        self.shared = shared
        self.kept = kept
        self.options = options_of(function)
        self.__doc__ = function.__doc__

    def __call__(self, arguments: Sequence[str]) -> None:
        """Do the work, or publish it if it was finished before."""
        if self.by_hand is not None and arguments and not arguments[0].startswith("-"):
            self.by_hand(arguments)
            return
        given = self.parser().parse_args(arguments)
        if not self.kept:
            self._run_anew(given)
            return
        job = Job.start(self, given)
        with job.work.lock():
            if job.is_finished():
                print(f"finished before: {job.work.path}")
            else:
                job.run()
            job.publish()

    @property
    def module(self) -> str:
        """Name of the script: of a command that is run, ``__module__`` is ``__main__``."""
        return Path(self.function.__code__.co_filename).stem

    def shell(self, *, config: bool) -> str:
        """Return the shell command of a rule whose inputs, outputs and params have these names.

        With ``config``, the stage reads operational keys from the frozen config.
        """
        words = [f"python -m workflow_scripts.{self.module}"]
        if Slice in _hints(self.function).values():
            words += ["--settings {input.settings:q}"]
            words += ["--config {input.config:q}"] * config
        for option in self.options:
            value = (
                "{threads}" if option.name == "threads" else f"{{{option.place}.{option.name}:q}}"
            )
            words.append(f"{option.flag} {value}")
        words += ["--work-dir {params.work_dir:q}"] * self.kept
        return " ".join([*words, "> {log:q} 2>&1"])

    def parser(self) -> argparse.ArgumentParser:
        """Return the parser of its command line."""
        purpose = (self.function.__doc__ or "").partition("\n\n    Parameters")[0]
        call = f"python -m workflow_scripts.{self.module}"
        also = "" if self.by_hand is None else f"\n\n{inspect.cleandoc(self.by_hand.__doc__ or '')}"
        parser = command_parser(call, inspect.cleandoc(purpose) + also)
        if Slice in _hints(self.function).values():
            parser.add_argument("--settings", type=Path, required=True, help="stage file (JSON)")
            parser.add_argument("--config", type=Path, help="frozen config (YAML)")
        for option in self.options:
            more: dict[str, Any] = {"nargs": "*" if option.many else "?"} if option.optional else {}
            parser.add_argument(
                option.flag,
                type=option.type,
                required=not option.optional,
                default=[] if option.many else option.default,
                help=option.help,
                **more,
            )
        if self.kept:
            parser.add_argument(
                "--work-dir", type=Path, required=True, help="folder of finished work"
            )
        return parser

    def _run_anew(self, given: argparse.Namespace) -> None:
        """Call the function, and put its outputs in place when all of them are written."""
        with ExitStack() as written:
            places = {
                option.name: written.enter_context(publishing(getattr(given, option.name)))
                for option in self.options
                if option.kind == "output"
            }
            settings = None
            if "settings" in given and Slice in _hints(self.function).values():
                settings = read_settings(given.settings, given.config)
            self.function(**self.arguments(vars(given) | places, settings))

    def arguments(self, values: Mapping[str, Any], settings: Slice | None) -> dict[str, Any]:
        """Return the function's arguments, from the values of its options."""
        found: dict[str, Any] = {}
        for name, hint in _hints(self.function).items():
            if hint is Slice:
                found[name] = settings
            elif is_dataclass(hint):
                of_class = {field.name: values[field.name] for field in fields(hint)}
                found[name] = cast(Any, hint)(**of_class)
            else:
                found[name] = values[name]
        return found


def stage(
    name: str,
    by_hand: Callable[[Sequence[str]], None] | None = None,
    *,
    shared: bool = False,
    kept: bool = True,
) -> Callable[[Callable[..., None]], Stage]:
    """Make a function a stage.

    Parameters
    ----------
    name
        Name of its slice of the settings.
    by_hand
        What to do with a command line that begins with no option.
    shared
        Whether several runs share the folder of finished work.
    kept
        Whether finished work is kept; otherwise the work is done anew whenever it is asked for.
    """
    return lambda function: Stage(name, function, by_hand, shared=shared, kept=kept)


@dataclass(frozen=True)
class Job:
    """One call of a stage.

    Attributes
    ----------
    stage
        What is called.
    given
        Its command line.
    settings
        What it may read of the config.
    work
        Where it works, and what it finished stays.
    """

    stage: Stage
    given: argparse.Namespace
    settings: Slice
    work: IdentityFolder

    @classmethod
    def start(cls, stage: Stage, given: argparse.Namespace) -> Job:
        """Work out the identity of what is asked for, and note that it is asked for."""
        settings = read_settings(given.settings, given.config)
        inputs = {**digests_of_keys(settings), **engine_versions(stage.name)}
        for option in stage.options:
            for number, path in enumerate(_listed(getattr(given, option.name))):
                if option.kind == "input":
                    if option.digest is content_digest:
                        refuse_damaged(path)
                    name = f"{option.name} {number}" if option.many else option.name
                    inputs[name] = option.digest(path)
        # The content of a starting model counts, not where it lies.
        values = {key: value for key, value in settings.identity.items() if key != INIT_FROM}
        work = IdentityFolder(given.work_dir, identity_of(stage.name, values, inputs))
        job = cls(stage, given, settings, work)
        if not stage.shared:
            work.note_current(job.outputs()[0].name)
        return job

    def outputs(self, *kinds: str) -> list[Path]:
        """Return the files and folders that are asked for."""
        kinds = kinds or ("output", "output folder")
        asked = (option for option in self.stage.options if option.kind in kinds)
        return [getattr(self.given, option.name) for option in asked]

    def is_finished(self) -> bool:
        """Return whether all that is asked for was finished before."""
        return self.work.has_finished(*(path.name for path in self.outputs("output")))

    def run(self) -> None:
        """Call the stage's function, whose outputs lie in the work's folder, and mark its end."""
        values = {option.name: getattr(self.given, option.name) for option in self.stage.options}
        for option in self.stage.options:
            if option.kind in ("output", "output folder"):
                values[option.name] = self.work.path / values[option.name].name
        for path in self.outputs("output folder"):
            (self.work.path / path.name).mkdir(exist_ok=True)
        self.stage.function(**self.stage.arguments(values, self.settings))
        names: list[str] = []
        for path in (self.work.path / output.name for output in self.outputs()):
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            names += [str(file.relative_to(self.work.path)) for file in files]
        self.work.finish(names)

    def publish(self) -> None:
        """Link what is finished to where it is asked for."""
        asked = {path.name: path for path in self.outputs()}
        links = {}
        for name in self.work.finished_files():
            first, _, inside = name.partition("/")
            links[name] = asked[first] / inside if inside else asked[first]
        for path in self.outputs("output folder"):
            path.mkdir(parents=True, exist_ok=True)
        self.work.publish(links)


def digests_of_keys(settings: Slice) -> dict[str, str]:
    """Return the digest of each file and model that a stage's settings name."""
    found = {}
    for key in FILES_OF_KEYS & settings.identity.keys():
        for number, path in enumerate(_listed(settings[key])):
            if key in (ENSEMBLE, INIT_FROM):
                found[f"{key} {number}"] = model_digest(path, key)
            elif Path(path).is_file():
                found[f"{key} {number}"] = file_digest(Path(path))
    return found


def engine_versions(name: str) -> dict[str, str]:
    """Return the version of each package that changes the result of a slice's stages."""
    return {package: version(package) for package in engines_of(name)}


def _listed(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [] if given is None else [given]
