r"""Compose a config from its tree, run files and overrides, and print or freeze it.

Example:

    python -m workflow_scripts.freeze_config --config-dir config --config-name config \
        --run-file config/runs/first_run.yaml -- training.max_steps=100 model=pertsets
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workflow_scripts import __version__
from workflow_scripts.command import command_parser, run_command
from workflow_scripts.settings.compose import compose_traced
from workflow_scripts.settings.dump import to_yaml
from workflow_scripts.settings.errors import ConfigError


def main(arguments: Sequence[str]) -> None:
    """Compose; print the YAML, or write it with a record of how it was asked for."""
    parser = command_parser("python -m workflow_scripts.freeze_config", __doc__)
    parser.add_argument("--config-dir", type=Path, required=True, help="the config tree")
    parser.add_argument(
        "--config-name", required=True, metavar="NAME", help="the primary config in it"
    )
    parser.add_argument(
        "--run-file", type=Path, action="append", default=[], help="run file, may be repeated"
    )
    parser.add_argument(
        "--out", type=Path, help="file to write (YAML); standard output if not given"
    )
    parser.add_argument("--trace", type=Path, help="where every value came from, to write (TSV)")
    parser.add_argument("--provenance", type=Path, help="how it was asked for, to write (JSON)")
    parser.add_argument(
        "--digest", metavar="SHA256", help="fail unless the config and its trace have this one"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="key=value, as Hydra takes them"
    )
    given = parser.parse_intermixed_args(arguments)

    composition = compose_traced(
        given.config_dir, given.config_name, given.run_file, given.overrides
    )
    for warning in composition.warnings:
        _warn(warning)
    text = to_yaml(composition.values)
    if given.out is None and given.trace is None:
        sys.stdout.write(text)
        return
    # Only now: printing a config shouldn't wait for the schema.
    from workflow_scripts.settings.finished import write_atomically
    from workflow_scripts.settings.known_digests import sealed
    from workflow_scripts.settings.runs import frozen_digest
    from workflow_scripts.settings.trace import inert_warnings, to_tsv, trace_rows

    rows = trace_rows(composition)
    trace = to_tsv(rows)
    digest = frozen_digest(composition.values, trace)
    if given.digest is not None and digest != given.digest:
        raise ConfigError(
            f"{given.config_dir}: the config changed after the workflow was planned; "
            "start snakemake again"
        )
    for warning in inert_warnings(rows):
        _warn(warning)
    if given.out is not None:
        write_atomically(given.out, text)
    if given.trace is not None:
        write_atomically(given.trace, trace)
    if given.provenance is not None:
        record = {
            "stateline": __version__,
            "python": platform.python_version(),
            **_git(Path(__file__).parent),
            "run_file": _from_here(given) if given.run_file else None,
            "overrides": given.overrides,
            "digest": digest,
        }
        files = {path.name: path for path in (given.out, given.trace) if path is not None}
        write_atomically(given.provenance, json.dumps(sealed(record, files), indent=1) + "\n")


def _warn(warning: str) -> None:
    print(f"warning: {warning}", file=sys.stderr)


def _from_here(given: argparse.Namespace) -> str:
    """Return the run file as a person in the project's folder names it."""
    path: Path = given.run_file[-1].resolve()
    root = given.config_dir.resolve().parent
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
