"""Several processes train together: which one this is, and what part of a step it computes."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import psutil

from workflow_scripts.errors import DataError

LEAST_WATCHED = 0.3
"""Seconds over which it is watched what other work leaves free: the system counts in hundredths."""


@dataclass(frozen=True)
class Processes:
    """Which of several processes this is.

    Attributes
    ----------
    ranks
        How many there are, one a device.
    rank
        Number of this one. The first one alone keeps files and talks.
    nodes
        Machines that they are on, with equally many on each.
    """

    ranks: int = 1
    rank: int = 0
    nodes: int = 1

    @classmethod
    def of(cls, devices: int, nodes: int, environment: Mapping[str, str]) -> Processes:
        """Read which process this is of what started it.

        That is torchrun, Slurm (``srun`` with as many tasks as devices on all nodes), or the first
        process itself, which starts the others with its own command line (Lightning's way).

        Raises
        ------
        DataError
            Where there are several nodes, and nothing has started a process on each.
        """
        ranks = devices * nodes
        if ranks == 1:
            return cls()
        starter = started_by(ranks, environment)
        if starter is None and nodes > 1:
            tasks = environment.get("SLURM_NTASKS")
            there = f"; this Slurm job step has {tasks}" if tasks else ""
            raise DataError(
                f"engine.nodes is {nodes}: srun (with {ranks} tasks) or torchrun has to start "
                f"the processes{there}; docs/clusters.md has the lines of a profile"
            )
        name = {"torchrun": "RANK", "srun": "SLURM_PROCID", None: "LOCAL_RANK"}[starter]
        return cls(ranks, int(environment.get(name, "0")), nodes)

    @property
    def on_node(self) -> int:
        """How many there are on each machine."""
        return self.ranks // self.nodes

    @property
    def device(self) -> int:
        """Number of this one among those of its machine."""
        return self.rank % self.on_node

    def threads(self, given: int, environment: Mapping[str, str]) -> int:
        """Return how many CPU threads this process has of those that the command was given.

        Slurm gives them to each task; others leave it to the processes to share them.
        """
        own = started_by(self.ranks, environment) == "srun"
        return given if own else max(given // self.on_node, 1)


def idle_seconds() -> float:
    """Return how long the cores of this machine have been idle, or worked for this process."""
    machine, own = psutil.cpu_times(), os.times()
    return float(machine.idle + machine.iowait) + own.user + own.system


def free_cores(since: tuple[float, float]) -> int:
    """Return how many cores other work leaves free, one at least.

    Parameters
    ----------
    since
        ``time.monotonic()`` and `idle_seconds` of a moment before.
    """
    began, idle = since
    time.sleep(max(began + LEAST_WATCHED - time.monotonic(), 0))
    return max(round((idle_seconds() - idle) / (time.monotonic() - began)), 1)


def started_by(ranks: int, environment: Mapping[str, str]) -> Literal["torchrun", "srun"] | None:
    """Return what has started all of several processes; None where the first one does that."""
    if "TORCHELASTIC_RUN_ID" in environment:
        return "torchrun"
    return "srun" if environment.get("SLURM_NTASKS") == str(ranks) else None


ALONE = Processes()


@dataclass(frozen=True)
class Share:
    """What a process computes of each step, and in how many passes through the model.

    Attributes
    ----------
    sets_per_step
        Sets of a step, of all processes together.
    sets_per_pass
        Sets that go through the model at once.
    processes
        Which process this is.

    Raises
    ------
    DataError
        Where the sets can't be shared equally.
    """

    sets_per_step: int
    sets_per_pass: int
    processes: Processes = ALONE

    def __post_init__(self) -> None:
        ranks = self.processes.ranks
        if self.sets_per_step % ranks:
            raise DataError(
                f"a step's {self.sets_per_step} sets (training.batch_size) can't be shared equally "
                f"by {ranks} devices; choose a multiple of {ranks}"
            )
        own = self.sets_per_step // ranks
        if own % self.sets_per_pass:
            ways = ", ".join(map(str, divisors(own)))
            raise DataError(
                f"{own} sets a step can't be computed {self.sets_per_pass} at a time "
                f"(engine.batch); choose one of {ways}"
            )

    @property
    def passes(self) -> int:
        """Passes of this process in a step."""
        return self.sets_per_step // self.processes.ranks // self.sets_per_pass

    def numbers(self, at: int) -> range:
        """Return the numbers of the sets of a pass, both counted from the start of the training."""
        step, part = divmod(at, self.passes)
        own = self.sets_per_step // self.processes.ranks
        first = step * self.sets_per_step + self.processes.rank * own + part * self.sets_per_pass
        return range(first, first + self.sets_per_pass)


def divisors(number: int) -> list[int]:
    """Return what divides a number, ascending."""
    return [part for part in range(1, number + 1) if number % part == 0]
