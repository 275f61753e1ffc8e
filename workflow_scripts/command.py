"""What every command of the package does in the same way: show findings, fail in clear words."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from workflow_scripts.settings.errors import NO_ROOM, ConfigError, DataError, StoppedError
from workflow_scripts.settings.findings import Finding, in_order

BY_HAND = Path(__file__).parents[1] / "config"
"""The config tree whose defaults hold for a command that is given files by hand."""


def run_command(main: Callable[[Sequence[str]], None]) -> None:
    """Run a script's ``main`` on the command line's arguments.

    A ConfigError ends it with 2, a DataError with 1, and work that was asked to stop with 75 (try
    again: `os.EX_TEMPFAIL`), each with its message alone on standard error; so does a full disk,
    with 1, and Ctrl-C, with 130 as shells do. Any other exception is a defect and keeps its
    traceback.
    """
    try:
        main(sys.argv[1:])
    except ConfigError as error:
        sys.exit(_say(error, 2))
    except DataError as error:
        sys.exit(_say(error, 1))
    except OSError as error:
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
        console.print(label.append(finding.message, style="default"))


def _say(error: Exception, status: int) -> int:
    print(f"error: {error}", file=sys.stderr, flush=True)
    return status
