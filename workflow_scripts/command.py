"""What every command does in the same way: explain itself, show findings, fail in clear words."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from workflow_scripts.errors import NO_ROOM, ConfigError, DataError, StoppedError
from workflow_scripts.settings.findings import Finding, in_order, printable

BY_HAND = Path(__file__).parents[1] / "config"
"""The config tree whose defaults hold for a command that is given files by hand."""

WIDTH = 100
"""Characters of the widest line of a help text."""

_TAKES: Mapping[object, str] = {Path: "PATH", int: "N", float: "NUMBER"}
"""What an option takes, in the help, by the type that its value becomes."""


class CommandParser(argparse.ArgumentParser):
    """A parser whose help opens with what the command is for."""

    purpose = ""

    def format_help(self) -> str:
        """Return the help: purpose, usage, documentation, options."""
        return f"{self.purpose}\n\n{super().format_help()}"


def command_parser(call: str, documentation: str) -> CommandParser:
    """Return a parser whose help is a script's documentation, with its lines as they stand there.

    Its options are shown with what they take and with their defaults. It is called as `call` says,
    as in ``python -m workflow_scripts.train``.
    """
    purpose, _, rest = documentation.strip().partition("\n\n")
    parser = CommandParser(prog=call, description=rest, formatter_class=_HelpLayout)
    parser.purpose = purpose
    return parser


class _HelpLayout(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        columns = min(shutil.get_terminal_size().columns, WIDTH)
        super().__init__(prog, max_help_position=28, width=columns - 2)

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return _TAKES.get(action.type, action.dest.upper())

    def _get_help_string(self, action: argparse.Action) -> str:
        default, text = action.default, action.help or ""
        if isinstance(default, list | tuple):
            default = " ".join(map(str, default))
        if default in (None, "", argparse.SUPPRESS) or isinstance(default, bool):
            return text  # which says itself what holds then
        shown = str(default).replace("%", "%%")
        return f"{text} (default: {shown})"


def run_command(main: Callable[[Sequence[str]], None]) -> None:
    """Run a script's ``main`` on the command line's arguments.

    A ConfigError ends it with 2, a DataError with 1, and work that was asked to stop with 75 (try
    again: `os.EX_TEMPFAIL`), each with its message alone on standard error; so does a full disk,
    or a file of the command line that isn't there, with 1, and Ctrl-C, with 130 as shells do. Any
    other exception is a defect and keeps its traceback.
    """
    # Threads that wait in a long loop take the cores from other work, which then keeps them
    # waiting. Those that sleep at once are slow on idle cores (benchmarks/RESULTS.md).
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        main(sys.argv[1:])
    except ConfigError as error:
        sys.exit(_say(error, 2))
    except DataError as error:
        sys.exit(_say(error, 1))
    except OSError as error:
        if isinstance(error, FileNotFoundError) and (option := _naming(str(error.filename))):
            text = f"{error.filename}: no such file; {option} names it, relative to {Path.cwd()}"
            sys.exit(_say(DataError(text), 1))
        if error.errno not in NO_ROOM:
            raise
        # HDF5 says it in a paragraph, with the file's name in its midst.
        named = re.search(r"filename = '([^']+)'", str(error))
        path = error.filename or (named[1] if named else None)
        where = f" ({path})" if path else ""
        text = f"{os.strerror(error.errno or 0)}{where}; make room, and start again"
        sys.exit(_say(DataError(text), 1))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        sys.exit(128 + signal.SIGINT)
    except StoppedError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(os.EX_TEMPFAIL)


def show_findings(findings: Sequence[Finding]) -> None:
    """Print findings, errors first, in colour on a terminal.

    A terminal wraps them, a log keeps each on its line.
    """
    from rich.console import Console
    from rich.text import Text

    styles = {"error": "bold red", "warning": "yellow", "note": "dim"}
    console = Console(soft_wrap=True, highlight=False)
    for finding in in_order(findings):
        label = Text(f"{finding.severity}: ", style=styles[finding.severity])
        console.print(label.append(printable(finding.message), style="default"))


def tell(line: str) -> None:
    """Print a line that may hold labels of a file, at once."""
    print(printable(line), flush=True)


def _naming(file: str) -> str | None:
    """Return the option of the command line that names a file; None where none does."""
    option = "the command line"
    for word in sys.argv[1:]:
        if word.startswith("--"):
            option = word.partition("=")[0]
        if word in (file, f"{option}={file}"):
            return option
    return None


def _say(error: Exception, status: int) -> int:
    print(printable(f"error: {error}"), file=sys.stderr, flush=True)
    return status
