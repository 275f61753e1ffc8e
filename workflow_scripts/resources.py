"""What jobs ask for of a machine: functions of their inputs and of how often they were tried."""

# ruff: noqa: A002, A006  (Snakemake goes by the names of arguments, and one is input)

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Resource = Callable[[Any, Any, int], int]
"""What Snakemake calls with wildcards, input and attempt."""


def memory(megabytes: int, per_mb: float = 0) -> Resource:
    """Return what a job asks for of memory: so much, more for large inputs and at a retry."""
    return lambda wildcards, input, attempt: int(
        (megabytes + (per_mb * size_mb(input) if per_mb else 0)) * _growth(attempt)
    )


def minutes(least: int, per_gb: float = 0) -> Resource:
    """Return the time of a job: so much, more for large inputs, as much more at each retry."""
    return lambda wildcards, input, attempt: int(
        (least + (per_gb * size_mb(input) / 1000 if per_gb else 0)) * attempt
    )


def training_memory(wildcards: Any, input: Any, attempt: int) -> int:
    """Return the memory of a training: what preflight worked out, and half as much more."""
    try:
        needed = json.loads(Path(input.passed).read_text())["estimate"]["host_bytes"]
    except (ValueError, LookupError, TypeError):  # damaged, which the report refuses
        needed = 8e9
    return int((2000 + 1.5 * needed / 1e6) * _growth(attempt))


def size_mb(paths: Iterable[str]) -> float:
    """Return the size of the files that are there; folders count with what is in them.

    A job's resources are asked for when it is planned and again when its inputs are there.
    Snakemake's own `input.size_mb` takes milliseconds each time, and warns of itself.
    """
    found = 0
    for path in map(Path, paths):
        files = path.iterdir() if path.is_dir() else [path]
        found += sum(file.stat().st_size for file in files if file.is_file())
    return found / 1e6


def _growth(attempt: int) -> float:
    """Return by how much the memory of a retry grows: half as much each, twice at most.

    Most retries are of jobs that ran out of time or lost their node, and no node has any memory.
    """
    return min(1 + (attempt - 1) / 2, 2)


def launcher(wildcards: Any, resources: Any) -> str:
    """Return what starts the processes of a training: nothing, or srun if a profile says so."""
    if not resources.get("mpi"):
        return ""
    nodes, tasks = resources.get("nodes", 1), resources.get("tasks_per_node", 1)
    return f"{resources.mpi} --nodes={nodes} --ntasks-per-node={tasks} "
