"""Several processes train together: which one this is, and what part of a step it computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workflow_scripts.settings.errors import DataError


@dataclass(frozen=True)
class Processes:
    """Which of several processes this is.

    Attributes
    ----------
    ranks
        How many there are, one a device.
    rank
        Number of this one. The first one alone keeps files and talks.
    """

    ranks: int = 1
    rank: int = 0

    @classmethod
    def of(cls, devices: int, environment: Mapping[str, str]) -> Processes:
        """Read which process this is of what started it.

        That is torchrun, Slurm (``srun`` with as many tasks as devices), or the first process
        itself, which starts the others with its own command line (Lightning's way).
        """
        if devices == 1:
            return cls()
        if "TORCHELASTIC_RUN_ID" in environment:
            return cls(devices, int(environment["RANK"]))
        if environment.get("SLURM_NTASKS") == str(devices):
            return cls(devices, int(environment["SLURM_PROCID"]))
        return cls(devices, int(environment.get("LOCAL_RANK", "0")))

    def started_outside(self, environment: Mapping[str, str]) -> bool:
        """Tell whether something else starts all of them."""
        together = environment.get("SLURM_NTASKS") == str(self.ranks)
        return "TORCHELASTIC_RUN_ID" in environment or together


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
