"""What every stage does around its work: command line, settings, finished work, published outputs.

A stage is a function. Its parameters are the options of a command, described by its docstring::

    @stage("predict")
    def predict(settings: Slice, cells: Cells, checkpoint: Path, predictions: Output) -> None:

The type of a parameter says what it is:

- `Slice`: the stage's part of the config; `Config`: all of it, to be shown.
- `Path`, or a path with what tells its content from another one's (as `Cells`): an input.
- `Output`, `OutputFolder`: a file, or a folder of files, that the function writes.
- `Store`: a place that counts; `Folder`: a place that does not.
- `IdentityFolder`: where the function finds what it had done when it was killed.
- a dataclass stands for its fields; anything else is a value that changes no result.

The work is done again when an input, a key of the settings, or a file that a key names changes.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from workflow_scripts.cache.digests import file_digest
from workflow_scripts.cache.identity import IdentityFolder
from workflow_scripts.cache.writing import publishing, refuse_damaged
from workflow_scripts.command import command_parser
from workflow_scripts.errors import StoppedError
from workflow_scripts.options import (
    Cells,
    Config,
    Folder,
    Option,
    Output,
    OutputFolder,
    Store,
    is_expanded,
    model_digest,
    options_of,
    parameters_of,
)
from workflow_scripts.settings.choices import ENSEMBLE, INIT_FROM
from workflow_scripts.settings.slices import Slice, read_settings
from workflow_scripts.settings.stages import FILES_OF_KEYS, engines_of, identity_of

__all__ = ["Cells", "Config", "Folder", "Output", "OutputFolder", "Stage", "Store", "stage"]


@dataclass(frozen=True)
class Stage:
    """A stage as a command; `stage` describes its attributes."""

    name: str
    function: Callable[..., None]
    by_hand: Callable[[Sequence[str]], None] | None
    shared: bool
    kept: bool
    rank: Callable[[Slice], int] | None

    def __call__(self, arguments: Sequence[str]) -> None:
        """Do the work, or publish it if it was finished before."""
        if self.by_hand is not None and arguments and not arguments[0].startswith("-"):
            self.by_hand(arguments)
            return
        given = vars(self.parser().parse_args(arguments))
        for option in self.options:
            if option.kind in ("input", "settings", "config"):
                for _, path in _numbered(option.name, given[option.name]):
                    refuse_damaged(path)
        if Slice in parameters_of(self.function).values():
            given["settings"] = read_settings(given["settings"], given["config"])
        if self.kept:
            self._finish(given)
        else:
            self._do_anew(given)

    @cached_property
    def options(self) -> list[Option]:
        """The options of its command line."""
        parsed = {"type": Path, "required": True, "help": "folder of finished work"}
        work_dir = Option("work_dir", "work", parsed)
        return [*options_of(self.function), *([work_dir] if self.kept else [])]

    @property
    def call(self) -> str:
        """How a shell calls it: of a script that is run, ``__module__`` is ``__main__``."""
        return f"python -m workflow_scripts.{Path(self.function.__code__.co_filename).stem}"

    def parser(self) -> argparse.ArgumentParser:
        """Return the parser of its command line."""
        purpose, *_ = (self.function.__doc__ or "").partition("\n\n    Parameters")
        by_hand = "" if self.by_hand is None else self.by_hand.__doc__ or ""
        texts = [inspect.cleandoc(text) for text in (purpose, by_hand) if text]
        parser = command_parser(self.call, "\n\n".join(texts))
        for option in self.options:
            parser.add_argument(option.flag, **option.parsed)
        return parser

    @cached_property
    def in_rule(self) -> list[Option]:
        """The options that its rule gives: all that have no value of their own."""
        from workflow_scripts.settings.schema import KEYS  # which takes a job too long to import

        kinds = [key.kind for key in KEYS.values() if self.name in key.stages]
        left_out = "" if "operational" in kinds else "config"
        given = (option for option in self.options if option.kind != left_out)
        return [option for option in given if option.parsed.get("default") in (None, [])]

    def shell(self, work_dir: str = "{wildcards.run:q}/finished") -> str:
        """Return the shell command of its rule, whose files and params are named as the options."""
        words = [self.call, *(option.words for option in self.in_rule), "> {log:q} 2>&1"]
        return " ".join(words).replace("{params.work_dir:q}", work_dir)

    def _outputs(self, given: dict[str, Any]) -> dict[str, Path]:
        """Return where each output is asked for, by its parameter's name."""
        return {o.name: given[o.name] for o in self.options if o.kind.startswith("output")}

    def _do_anew(self, given: dict[str, Any]) -> None:
        """Do the work, and put its outputs in place when all of them are written."""
        with ExitStack() as written:
            for name, path in self._outputs(given).items():
                given[name] = written.enter_context(publishing(path))
            self._call(given)

    def _finish(self, given: dict[str, Any]) -> None:
        """Do the work if it was not finished before, and link its outputs into place."""
        settings, inputs = given["settings"], self._inputs(given)
        # The content of a starting model counts, not where it lies.
        values = {key: value for key, value in settings.identity.items() if key != INIT_FROM}
        identity = identity_of(self.name, values, inputs)
        work = IdentityFolder(given["work_dir"], identity, inputs, until=settings.extent)
        asked = self._outputs(given)
        outputs = {path.name: path for path in asked.values()}
        given |= {"work": work, **{name: work.path / path.name for name, path in asked.items()}}
        if self.rank is not None and self.rank(settings):
            # The first process holds the lock, keeps the files, and says what goes wrong.
            if not work.has_finished(*outputs):
                with suppress(StoppedError):
                    self._call(given)
            return
        if not self.shared:
            work.note_current(next(iter(outputs)))
        with work.lock():
            if work.has_finished(*outputs):
                print(f"finished before: {work.path}")
            else:
                for option in self.options:
                    if option.kind == "output folder":
                        given[option.name].mkdir(exist_ok=True)
                self._call(given)
                work.finish(*outputs)
            work.publish(outputs)

    def _inputs(self, given: dict[str, Any]) -> dict[str, str]:
        """Return the name and digest of everything but settings that the result depends on."""
        settings: Slice = given["settings"]
        found = {package: version(package) for package in engines_of(self.name)}
        for key in FILES_OF_KEYS & settings.identity.keys():
            for name, path in _numbered(key, settings[key]):
                if key in (ENSEMBLE, INIT_FROM):
                    found[name] = model_digest(path, key)
                elif Path(path).is_file():
                    found[name] = file_digest(Path(path))
        for option in self.options:
            if option.digest is not None:
                for name, path in _numbered(option.name, given[option.name]):
                    found[name] = option.digest(path)
        return found

    def _call(self, values: dict[str, Any]) -> None:
        """Call the function with the values of its options."""
        for name, hint in parameters_of(self.function).items():
            if is_expanded(hint):
                values[name] = hint(**{field: values[field] for field in parameters_of(hint)})
        self.function(**{name: values[name] for name in parameters_of(self.function)})


def stage(
    name: str,
    by_hand: Callable[[Sequence[str]], None] | None = None,
    *,
    shared: bool = False,
    kept: bool = True,
    rank: Callable[[Slice], int] | None = None,
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
    rank
        Gives the number of this process, of several that do the work together.
    """
    return lambda function: Stage(name, function, by_hand, shared, kept, rank)


def _numbered(name: str, given: Any) -> list[tuple[str, Any]]:
    """Return the value that has a name; of a list, each value with a name of its own."""
    if isinstance(given, list):
        return [(f"{name} {number}", value) for number, value in enumerate(given)]
    return [] if given is None else [(name, given)]
