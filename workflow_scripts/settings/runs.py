"""The runs that were asked for: run files and overrides become settings. Nothing is written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.choices import EACH_CONTEXT, LEAVE_OUT
from workflow_scripts.settings.compose import compose_traced
from workflow_scripts.settings.grid import runs_of, values_in_names
from workflow_scripts.settings.overrides import split_overrides, written
from workflow_scripts.settings.run import Run
from workflow_scripts.settings.yaml_files import read_yaml


def compose_run(config_dir: Path, run: str, overrides: Sequence[str]) -> Run:
    """Compose one run, unchecked.

    Parameters
    ----------
    config_dir
        The config tree, with ``config.yaml`` and ``runs/``.
    run
        Name of a file under ``runs/``, or the path of a run file.
    overrides
        On top of the run file, in Hydra's grammar.
    """
    run_file = find_run_file(config_dir, run)
    named = "name" in read_yaml(run_file).values
    named = named or any(override.startswith("name=") for override in overrides)
    implied = () if named else (f"name={json.dumps(run_file.stem)}",)
    applied = (*implied, *overrides)
    return Run(compose_traced(config_dir, "config", [run_file], applied), run_file, applied)


def resolve_run(config_dir: Path, run: str, overrides: Sequence[str]) -> Run:
    """Compose and check one run; see ``compose_run``."""
    return _checked(compose_run(config_dir, run, overrides))


def resolve_by_hand(config_dir: Path, overrides: Sequence[str]) -> Run:
    """Compose and check what overrides alone make of the config tree, for a look by hand."""
    composition = compose_traced(config_dir, "config", [], overrides)
    return _checked(Run(composition, config_dir / "config.yaml", tuple(overrides)))


def _checked(run: Run) -> Run:
    from workflow_scripts.settings.check import check_config  # which composing alone needn't

    check_config(run.config, str(run.run_file), run.composition.source_of)
    return run


def resolve_runs(
    config_dir: Path,
    runs: object,
    overrides: object,
    contexts_of: Callable[[Run], Sequence[str]],
) -> dict[str, Run]:
    """Resolve everything that was asked for, by run folder.

    Parameters
    ----------
    config_dir
        The config tree.
    runs
        Names or paths: a list, or one text with commas between them.
    overrides
        Applied to every run: a list, or one text as a person types it.
    contexts_of
        Gives the contexts that `splits.leave_out=each_context` stands for.
    """
    names = [str(runs)] if not isinstance(runs, list | tuple) else [str(run) for run in runs]
    asked = [name.strip() for text in names for name in text.split(",") if name.strip()]
    asked = [name for name in asked if name != "None"]
    if not asked:
        raise ConfigError("runs: no run was asked for; name one, as in --config runs=demo")
    texts = split_overrides(overrides)
    resolved: dict[str, Run] = {}
    members = [
        run
        for name in asked
        for chosen in runs_of(config_dir, find_run_file(config_dir, name), texts)
        for run in _folds(config_dir, find_run_file(config_dir, name), chosen, contexts_of)
    ]
    writers: dict[str, Run] = {}
    for run in members:
        other = writers.setdefault(os.path.abspath(run.folder), run)
        if other is not run:
            raise ConfigError(
                f"runs {other.run_file} and {run.run_file} both write to {run.folder}; give one "
                "of them another name or output_dir"
            )
        resolved[run.folder] = run
    return resolved


def _folds(
    config_dir: Path,
    run_file: Path,
    overrides: Sequence[str],
    contexts_of: Callable[[Run], Sequence[str]],
) -> Iterator[Run]:
    """Give one run, or where each context is left out in turn, one for each."""
    run = resolve_run(config_dir, str(run_file), overrides)
    if run.config["splits"]["leave_out"] != EACH_CONTEXT:
        yield run
        return
    contexts = contexts_of(run)
    short = [name.partition(".")[2] for name in contexts]
    told = short if len(set(short)) == len(short) else contexts
    key = LEAVE_OUT.rpartition(".")[2]
    for context, label in zip(contexts, values_in_names(told), strict=True):
        name = f"{run.config['name']}_{key}-{label}"
        more = (f"{LEAVE_OUT}={written(context)}", f"name={written(name)}")
        yield resolve_run(config_dir, str(run_file), (*overrides, *more))


def find_run_file(config_dir: Path, run: str) -> Path:
    """Return the run file that a person means; a ConfigError lists the names there are."""
    named = config_dir / "runs" / f"{run}.yaml"
    if named.is_file():
        return named
    if Path(run).is_file():
        return Path(run)
    there = sorted(path.stem for path in (config_dir / "runs").glob("*.yaml"))
    raise ConfigError(
        f"runs: {run!r} is neither a name under {config_dir / 'runs'} ({', '.join(there)}) "
        "nor the path of a run file"
    )
