"""Show, trace, compare, explain or freeze the config of a run.

Example, one for each question:

    python -m workflow_scripts.config show first_run training.lr=3e-4
    python -m workflow_scripts.config trace first_run training.lr=3e-4
    python -m workflow_scripts.config diff model pertsets state_sm
    python -m workflow_scripts.config key training.lr --run first_run
"""

from __future__ import annotations

import argparse
import inspect
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts import __version__
from workflow_scripts.cache.records import sealed
from workflow_scripts.cache.writing import write_atomically
from workflow_scripts.command import command_parser, run_command
from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.compose import compose_traced
from workflow_scripts.settings.dump import to_yaml
from workflow_scripts.settings.runs import compose_run
from workflow_scripts.settings.tables import FORMATS

CALL = "python -m workflow_scripts.config"
CONFIG_DIR = Path(__file__).resolve().parents[1] / "config"


def main(arguments: Sequence[str]) -> None:
    """Answer the question, or write a run's frozen config."""
    parser = command_parser(CALL, __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (answer, example, names) in COMMANDS.items():
        purpose = inspect.cleandoc(answer.__doc__ or "")
        made = commands.add_parser(
            name,
            help=purpose[0].lower() + purpose[1:-1],
            description=f"Example:\n\n    {CALL} {name} {example}",
            formatter_class=parser.formatter_class,
        )
        made.purpose = purpose
        for argument in (*names.split(), "--config-dir"):
            made.add_argument(argument, **ARGUMENTS[argument])
    named = arguments[0] if arguments else ""
    if named not in COMMANDS:
        parser.parse_args(arguments)  # prints the help or the error, and ends
        return
    # A command's own parser lets options and overrides stand in any order.
    COMMANDS[named][0](commands.choices[named].parse_intermixed_args(arguments[1:]))


def show(given: argparse.Namespace) -> None:
    """Print the composed config of a run."""
    run = compose_run(given.config_dir, given.run, given.overrides)
    sys.stdout.write(to_yaml(run.config))


def trace(given: argparse.Namespace) -> None:
    """List what a run changes, and where."""
    from workflow_scripts.settings.explain import changes  # which a job need not wait for

    run = compose_run(given.config_dir, given.run, given.overrides)
    table = changes(run.composition, everything=given.all, lang=given.lang)
    sys.stdout.write(table.render(given.format))


def diff(given: argparse.Namespace) -> None:
    """Compare two options of a group."""
    from workflow_scripts.settings.explain import differences

    options = (given.group, *given.options)
    table = differences(given.config_dir, *options, everything=given.all, lang=given.lang)
    sys.stdout.write(table.render(given.format))


def key(given: argparse.Namespace) -> None:
    """Explain all there is to know of one key."""
    from workflow_scripts.settings.explain import one_key

    if given.run is None:
        composition = compose_traced(given.config_dir, "config", [], given.overrides)
    else:
        composition = compose_run(given.config_dir, given.run, given.overrides).composition
    sys.stdout.write(one_key(composition, given.key, given.lang).render(given.format))


def freeze(given: argparse.Namespace) -> None:
    """Write the config of a run and where it came from."""
    run = compose_run(given.config_dir, given.run, given.overrides)
    if given.digest is not None and run.digest != given.digest:
        raise ConfigError(
            f"{given.config_dir}: the config changed after the workflow was planned; "
            "start snakemake again"
        )
    for warning in run.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    write_atomically(given.out, to_yaml(run.config))
    write_atomically(given.trace, run.trace)
    run_file, root = run.run_file.resolve(), given.config_dir.resolve().parent
    record = {
        "stateline": __version__,
        "python": platform.python_version(),
        **_git(Path(__file__).parent),
        # As a person in the project's folder names it.
        "run_file": str(run_file.relative_to(root) if run_file.is_relative_to(root) else run_file),
        "overrides": run.overrides,
        "digest": run.digest,
    }
    files = {path.name: path for path in (given.out, given.trace)}
    write_atomically(given.provenance, json.dumps(sealed(record, files), indent=1) + "\n")


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


COMMANDS: Mapping[str, tuple[Callable[[argparse.Namespace], None], str, str]] = {
    "show": (show, "first_run model=pertsets", "run overrides"),
    "trace": (trace, "first_run training.lr=1", "run overrides --format --lang --all"),
    "diff": (diff, "model pertsets state_sm", "group options --format --lang --all"),
    "key": (key, "training.lr --run first_run", "key overrides --run --format --lang"),
    "freeze": (
        freeze,
        "demo --out c.yaml --trace c.tsv --provenance c.json",
        "run overrides --out --trace --provenance --digest",
    ),
}
"""What answers a command, an example, and the arguments that it takes."""

_FILE: Mapping[str, Any] = {"type": Path, "required": True}
ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "run": {"metavar": "RUN", "help": "name under config/runs, or a run file"},
    "group": {"metavar": "GROUP", "help": "model, training, …; runs compares run files"},
    "options": {"nargs": 2, "metavar": "OPTION", "help": "their names, without .yaml"},
    "key": {"metavar": "KEY", "help": "dotted path, such as training.lr"},
    "overrides": {"nargs": "*", "metavar": "OVERRIDE", "help": "key=value, as Hydra takes them"},
    "--run": {"help": "run whose value to explain; the bare config if not given"},
    "--format": {"choices": FORMATS, "default": "text", "help": "how to write it"},
    "--lang": {"choices": ("en", "zh"), "default": "en", "help": "language of the words"},
    "--all": {"action": "store_true", "help": "list the rest, too"},
    "--out": {**_FILE, "help": "frozen config to write (YAML)"},
    "--trace": {**_FILE, "help": "source of every value, to write (TSV)"},
    "--provenance": {**_FILE, "help": "how it was asked for, to write (JSON)"},
    "--digest": {"metavar": "SHA256", "help": "fail unless the config and its trace have this one"},
    "--config-dir": {"type": Path, "default": CONFIG_DIR, "help": "config tree; this project's"},
}


if __name__ == "__main__":
    run_command(main)
