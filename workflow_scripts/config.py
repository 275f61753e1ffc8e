"""Show, trace, compare, explain or freeze the config of a run.

Example, one for each question:

    python -m workflow_scripts.config show first_run training.lr=3e-4
    python -m workflow_scripts.config trace first_run training.lr=3e-4
    python -m workflow_scripts.config diff model pertsets state_sm
    python -m workflow_scripts.config key training.lr --run first_run
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts import __version__
from workflow_scripts.command import CommandParser, command_parser, run_command
from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.compose import compose_traced
from workflow_scripts.settings.dump import to_yaml
from workflow_scripts.settings.runs import compose_run, frozen_digest
from workflow_scripts.settings.tables import FORMATS, Table

LANGUAGES = ("en", "zh")
CALL = "python -m workflow_scripts.config"
CONFIG_DIR = Path(__file__).resolve().parents[1] / "config"


def main(arguments: Sequence[str]) -> None:
    """Answer the question, or write a run's frozen config."""
    parser = command_parser(CALL, __doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, purpose: str, example: str) -> CommandParser:
        made = commands.add_parser(
            name,
            help=purpose,
            description=f"Example:\n\n    {CALL} {name} {example}",
            formatter_class=parser.formatter_class,
        )
        made.purpose = f"{purpose.capitalize()}."
        made.add_argument(
            "--config-dir", type=Path, default=CONFIG_DIR, help="config tree; this project's"
        )
        return made

    def with_run(made: CommandParser) -> CommandParser:
        made.add_argument("run", metavar="RUN", help="name under config/runs, or a run file")
        return made

    def with_overrides(made: CommandParser) -> CommandParser:
        made.add_argument(
            "overrides", nargs="*", metavar="OVERRIDE", help="key=value, as Hydra takes them"
        )
        return made

    def with_table(made: CommandParser) -> CommandParser:
        made.add_argument("--format", choices=FORMATS, default="text", help="how to write it")
        made.add_argument("--lang", choices=LANGUAGES, default="en", help="language of the words")
        return made

    with_overrides(
        with_run(command("show", "print the composed config of a run", "first_run model=pertsets"))
    )
    trace = with_overrides(
        with_run(command("trace", "list what a run changes, and where", "first_run training.lr=1"))
    )
    with_table(trace).add_argument("--all", action="store_true", help="list everything")
    diff = with_table(command("diff", "compare two options of a group", "model pertsets state_sm"))
    diff.add_argument("group", metavar="GROUP", help="model, training, …; runs compares run files")
    diff.add_argument("options", nargs=2, metavar="OPTION", help="their names, without .yaml")
    diff.add_argument("--all", action="store_true", help="list what doesn't differ, too")
    key = with_table(
        command("key", "explain all there is to know of one key", "training.lr --run first_run")
    )
    key.add_argument("key", metavar="KEY", help="dotted path, such as training.lr")
    with_overrides(key)
    key.add_argument("--run", help="run whose value to explain; the bare config if not given")
    freeze = with_overrides(
        with_run(
            command(
                "freeze",
                "write the config of a run and where it came from",
                "demo --out c.yaml --trace c.tsv --provenance c.json",
            )
        )
    )
    freeze.add_argument("--out", type=Path, required=True, help="frozen config to write (YAML)")
    freeze.add_argument(
        "--trace", type=Path, required=True, help="source of every value, to write (TSV)"
    )
    freeze.add_argument(
        "--provenance", type=Path, required=True, help="how it was asked for, to write (JSON)"
    )
    freeze.add_argument(
        "--digest", metavar="SHA256", help="fail unless the config and its trace have this one"
    )

    named = arguments[0] if arguments else None
    if named not in commands.choices:
        parser.parse_args(arguments)  # prints the help or the error, and ends
        return
    # A command's own parser lets options and overrides stand in any order.
    given = commands.choices[named].parse_intermixed_args(arguments[1:])
    if named == "freeze":
        _freeze(given)
    elif named == "show":
        asked = compose_run(given.config_dir, given.run, given.overrides)
        sys.stdout.write(to_yaml(asked.composition.values))
    else:
        sys.stdout.write(_TABLES[named](given).render(given.format))


def _trace(given: argparse.Namespace) -> Table:
    from workflow_scripts.settings.explain import changes

    asked = compose_run(given.config_dir, given.run, given.overrides).composition
    return changes(given.config_dir, asked, everything=given.all, lang=given.lang)


def _diff(given: argparse.Namespace) -> Table:
    from workflow_scripts.settings.explain import differences

    return differences(
        given.config_dir, given.group, *given.options, everything=given.all, lang=given.lang
    )


def _key(given: argparse.Namespace) -> Table:
    from workflow_scripts.settings.explain import one_key

    if given.run is None:
        composition = compose_traced(given.config_dir, "config", [], given.overrides)
    else:
        composition = compose_run(given.config_dir, given.run, given.overrides).composition
    return one_key(composition, given.key, given.lang)


_TABLES: dict[str, Callable[[argparse.Namespace], Table]] = {
    "trace": _trace,
    "diff": _diff,
    "key": _key,
}


def _freeze(given: argparse.Namespace) -> None:
    from workflow_scripts.cache.records import sealed
    from workflow_scripts.cache.writing import write_atomically
    from workflow_scripts.settings.trace import inert_warnings, to_tsv, trace_rows

    asked = compose_run(given.config_dir, given.run, given.overrides)
    rows = trace_rows(asked.composition)
    trace = to_tsv(rows)
    digest = frozen_digest(asked.composition.values, trace)
    if given.digest is not None and digest != given.digest:
        raise ConfigError(
            f"{given.config_dir}: the config changed after the workflow was planned; "
            "start snakemake again"
        )
    for warning in (*asked.composition.warnings, *inert_warnings(rows)):
        print(f"warning: {warning}", file=sys.stderr)
    write_atomically(given.out, to_yaml(asked.composition.values))
    write_atomically(given.trace, trace)
    record = {
        "stateline": __version__,
        "python": platform.python_version(),
        **_git(Path(__file__).parent),
        "run_file": _from_here(asked.run_file, given.config_dir),
        "overrides": asked.overrides,
        "digest": digest,
    }
    files = {path.name: path for path in (given.out, given.trace)}
    write_atomically(given.provenance, json.dumps(sealed(record, files), indent=1) + "\n")


def _from_here(run_file: Path, config_dir: Path) -> str:
    """Return the run file as a person in the project's folder names it."""
    path, root = run_file.resolve(), config_dir.resolve().parent
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _git(folder: Path) -> dict[str, Any]:
    """Return the commit of the code and whether it was edited since; None without git."""
    try:
        commit, status = (
            subprocess.run(
                ["git", "-C", str(folder), *command], capture_output=True, text=True, check=True
            ).stdout
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return {"git_commit": None, "git_dirty": None}
    return {"git_commit": commit.strip(), "git_dirty": bool(status.strip())}


if __name__ == "__main__":
    run_command(main)
