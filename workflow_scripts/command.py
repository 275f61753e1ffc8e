"""What every command of the package does in the same way: fail with one clear message."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from workflow_scripts.settings.errors import ConfigError, DataError


def run_command(main: Callable[[Sequence[str]], None]) -> None:
    """Run a script's ``main`` on the command line's arguments.

    A ConfigError ends it with 2 and a DataError with 1, each with its message alone on standard
    error; any other exception is a defect and keeps its traceback.
    """
    try:
        main(sys.argv[1:])
    except ConfigError as error:
        sys.exit(_say(error, 2))
    except DataError as error:
        sys.exit(_say(error, 1))


def _say(error: Exception, status: int) -> int:
    print(f"error: {error}", file=sys.stderr, flush=True)
    return status
