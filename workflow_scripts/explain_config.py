"""Explain a config: where its values came from, how options differ, what a key does.

Example, one for each question:

    python -m workflow_scripts.explain_config trace first_run training.lr=3e-4
    python -m workflow_scripts.explain_config diff model pertsets state_sm
    python -m workflow_scripts.explain_config key training.lr --run first_run
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.command import CommandParser, command_parser, run_command
from workflow_scripts.settings.compose import compose_traced
from workflow_scripts.settings.explain import LANGUAGES, changes, differences, one_key
from workflow_scripts.settings.runs import compose_run
from workflow_scripts.settings.tables import FORMATS, Table

CALL = "python -m workflow_scripts.explain_config"
CONFIG_DIR = Path(__file__).resolve().parents[1] / "config"


def main(arguments: Sequence[str]) -> None:
    """Print the table that was asked for."""
    shared = CommandParser(add_help=False)
    shared.add_argument("--format", choices=FORMATS, default="text", help="how to write the table")
    shared.add_argument("--lang", choices=LANGUAGES, default="en", help="language of the words")
    shared.add_argument("--config-dir", type=Path, help="config tree; this project's if not given")
    parser = command_parser(CALL, __doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def question(name: str, purpose: str, example: str) -> CommandParser:
        made = commands.add_parser(
            name,
            parents=[shared],
            help=purpose,
            description=f"Example:\n\n    {CALL} {name} {example}",
            formatter_class=parser.formatter_class,
        )
        made.purpose = f"Show {purpose}."
        return made

    trace = question("trace", "what a run changes, and where", "first_run training.lr=3e-4")
    trace.add_argument("run", metavar="RUN", help="name under config/runs, or a run file")
    trace.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="key=value, as Hydra takes them"
    )
    trace.add_argument("--all", action="store_true", help="list what isn't changed, too")

    diff = question("diff", "how two options of a group differ", "model pertsets state_sm")
    diff.add_argument("group", metavar="GROUP", help="model, training, …; runs compares run files")
    diff.add_argument("options", nargs=2, metavar="OPTION", help="their names, without .yaml")
    diff.add_argument("--all", action="store_true", help="list what doesn't differ, too")

    key = question("key", "all there is to know of one key", "training.lr --run first_run")
    key.add_argument("key", metavar="KEY", help="dotted path, such as training.lr")
    key.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="key=value, as Hydra takes them"
    )
    key.add_argument("--run", help="run whose value to explain; the bare config if not given")

    named = arguments[0] if arguments else None
    if named not in commands.choices:
        parser.parse_args(arguments)  # prints the help or the error, and ends
        return
    # A command's own parser lets options and overrides stand in any order.
    given = commands.choices[named].parse_intermixed_args(arguments[1:])
    sys.stdout.write(_table(named, given).render(given.format))


def _table(command: str, given: argparse.Namespace) -> Table:
    folder: Path = given.config_dir or CONFIG_DIR
    if command == "trace":
        asked = compose_run(folder, given.run, given.overrides).composition
        return changes(folder, asked, everything=given.all, lang=given.lang)
    if command == "diff":
        return differences(
            folder, given.group, *given.options, everything=given.all, lang=given.lang
        )
    if given.run is None:
        composition = compose_traced(folder, "config", [], given.overrides)
    else:
        composition = compose_run(folder, given.run, given.overrides).composition
    return one_key(composition, given.key, given.lang)


if __name__ == "__main__":
    run_command(main)
