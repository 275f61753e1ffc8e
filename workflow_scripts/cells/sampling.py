"""Which cells make set n: a pure function of (seed, n), whoever asks and in whatever order.

A set holds cells of one group: one perturbation in one context (and one technical batch, where
controls are mapped by batch). All draws come from Philox, a counter-based generator at a place of
its own for (seed, purpose, position), so nothing is remembered between steps and a resumed run
draws what the unbroken one drew.

An epoch has as many sets as it takes to visit every training cell once. With the weighting
``proportional`` it does just that, in new sets and a new order every time. With ``uniform`` every
group has the same number of sets in an epoch, with ``sqrt`` one in proportion to the square root
of its cells (at least one): small groups are then visited several times, and of large ones another
random part in every epoch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import numpy as np
from jaxtyping import Bool, Int64

from workflow_scripts.cells.epochs import EpochPlan, Weighting
from workflow_scripts.cells.groups import Group
from workflow_scripts.errors import DataError

_EPOCH, _CONTROLS, _FIXED, _FIXED_CONTROLS = 1, 2, 3, 4
"""Purposes of a draw: kept apart, so that no two share random numbers."""


@dataclass(frozen=True)
class SetRows:
    """The cells of some sets, by row number.

    Attributes
    ----------
    groups
        Which group each set is of [sets].
    observed
        Rows of the cells to predict [sets, cells].
    control
        Rows of the control cells to predict them from [sets, cells].
    counts
        How many cells of each set, from its start, are there for their own sake; the others fill
        it [sets].
    numbers
        Which set each one is: its place in the stream, or among all sets of a split [sets].
    """

    groups: Int64[np.ndarray, " sets"]
    counts: Int64[np.ndarray, " sets"]
    numbers: Int64[np.ndarray, " sets"]
    observed: Int64[np.ndarray, "sets cells"]
    control: Int64[np.ndarray, "sets cells"]

    @property
    def wanted(self) -> Bool[np.ndarray, "sets cells"]:
        """Which cells are there for their own sake."""
        return np.arange(self.observed.shape[1]) < self.counts[:, None]

    def take(self, which: slice | Int64[np.ndarray, " chosen"]) -> SetRows:
        """Return some of the sets."""
        return SetRows(
            self.groups[which],
            self.counts[which],
            self.numbers[which],
            self.observed[which],
            self.control[which],
        )


Epoch = tuple[Int64[np.ndarray, " sets"], Int64[np.ndarray, "sets cells"]]
"""Group and rows of every set, in the epoch's order."""


class SetSampler:
    """Endless stream of cell sets for training: each one a pure function of (seed, its number).

    It keeps the epoch in use, and has the next one prepared in the background.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        *,
        set_size: int,
        seed: int,
        map_controls: bool = True,
        weighting: Weighting = "proportional",
    ) -> None:
        """Prepare the stream.

        Parameters
        ----------
        groups
            What there is to visit; not empty.
        set_size
            Cells a set.
        seed
            Seed of everything drawn here.
        map_controls
            Sets of control cells are predicted from other controls (true) or from themselves.
        weighting
            How often an epoch visits each group.

        Raises
        ------
        DataError
            Where there is no group.
        """
        if not groups:
            raise DataError("no cells to train on; see splits_audit.json of the run")
        self._groups = groups
        self._set_size = set_size
        self._seed = seed
        self._map_controls = map_controls
        self._plan = EpochPlan.of(groups, set_size, weighting)
        self.sets_per_epoch = self._plan.n_sets
        self._epochs: dict[int, Future[Epoch]] = {}
        self._background = ThreadPoolExecutor(1, thread_name_prefix="epoch")
        self._one_at_a_time = Lock()

    def take(self, numbers: range) -> SetRows:
        """Return the sets of these numbers, counted from 0 at the start of the training."""
        groups, observed, control = [], [], []
        for number in numbers:
            epoch, at = self._place(number)
            group, rows = (part[at] for part in self._epoch(epoch))
            groups.append(group)
            observed.append(rows)
            control.append(self._controls(int(group), rows, number))
        counts = np.full(len(groups), self._set_size, dtype=np.int64)
        return SetRows(
            np.array(groups), counts, np.array(numbers), np.stack(observed), np.stack(control)
        )

    def groups_of(self, numbers: Sequence[int]) -> list[Group]:
        """Return the group of each of some sets."""
        return [self._groups[self._epoch(epoch)[0][at]] for epoch, at in map(self._place, numbers)]

    def _place(self, number: int) -> tuple[int, int]:
        return divmod(number, self.sets_per_epoch)

    def _epoch(self, epoch: int) -> Epoch:
        with self._one_at_a_time:
            for wanted in (epoch, epoch + 1):
                if wanted not in self._epochs:
                    kept = {n: made for n, made in self._epochs.items() if 0 <= n - epoch <= 1}
                    made = self._background.submit(self._make_epoch, wanted)
                    self._epochs = {**kept, wanted: made}
            current = self._epochs[epoch]
        return current.result()

    def _make_epoch(self, epoch: int) -> Epoch:
        return self._plan.deal(_generator(self._seed, _EPOCH, epoch), self._set_size)

    def _controls(
        self, number: int, rows: Int64[np.ndarray, " cells"], position: int
    ) -> Int64[np.ndarray, " cells"]:
        group = self._groups[number]
        if group.is_control and not self._map_controls:
            return rows
        generator = _generator(self._seed, _CONTROLS, position)
        if group.is_control:
            return draw_others(group.controls, rows, generator)
        return draw(group.controls, self._set_size, generator)


def fixed_sets(
    groups: Sequence[Group],
    *,
    set_size: int,
    seed: int,
    limit: int | None = None,
    fraction: float = 1.0,
) -> SetRows:
    """Return sets that cover every cell of the groups once, always the same ones.

    The last set of a group is filled from the same group. With a ``fraction`` below 1, that part
    of the sets (rounded up) is picked, and with ``limit`` at most that many, spread evenly over
    the groups in their order.
    """
    chosen, counts, observed, control = [], [], [], []
    for number, group in enumerate(groups):
        generator = _generator(seed, _FIXED, number)
        rows = fill(group.rows, set_size, generator).reshape(-1, set_size)
        for at, members in enumerate(rows):
            chosen.append(number)
            counts.append(min(set_size, len(group.rows) - at * set_size))
            observed.append(members)
            # Keyed by group and set, so that the draw does not depend on the other groups.
            own = _generator(seed, _FIXED_CONTROLS, number, at)
            control.append(draw(group.controls, set_size, own))
    if not chosen:
        raise DataError("no cells in this split; see splits_audit.json of the run")
    keep = math.ceil(len(chosen) * fraction)
    if limit is not None:
        keep = min(keep, limit)
    numbers = np.arange(len(chosen))
    whole = SetRows(
        np.array(chosen), np.array(counts), numbers, np.stack(observed), np.stack(control)
    )
    return whole.take(np.unique(np.linspace(0, len(chosen) - 1, keep).astype(np.int64)))


def draw(
    pool: Int64[np.ndarray, " pool"], count: int, generator: np.random.Generator
) -> Int64[np.ndarray, " count"]:
    """Draw ``count`` rows without replacement while they last, then from the whole pool again.

    The time depends on ``count``, not on the pool (numpy's choice remembers what it took).
    """
    whole, rest = divmod(count, len(pool))
    parts = [generator.permutation(pool) for _ in range(whole)]
    parts.append(pool[generator.choice(len(pool), rest, replace=False)])
    return np.concatenate(parts)


def draw_others(
    pool: Int64[np.ndarray, " pool"],
    rows: Int64[np.ndarray, " cells"],
    generator: np.random.Generator,
) -> Int64[np.ndarray, " cells"]:
    """Draw as many rows as there are, none of them itself, as `draw` does from what is left.

    From the whole pool, where nothing else is in it. The time depends on the rows alone.
    """
    # So many hold as many others, or are all that there are.
    count = min(len(pool), 2 * len(rows))
    drawn = pool[generator.choice(len(pool), count, replace=False)]
    others = drawn[~np.isin(drawn, rows)]
    if len(others) >= len(rows):
        return others[: len(rows)]
    return draw(others if len(others) else pool, len(rows), generator)


def fill(
    rows: Int64[np.ndarray, " cells"], set_size: int, generator: np.random.Generator
) -> Int64[np.ndarray, " filled"]:
    """Fill rows up to a multiple of the set size with cells of the same group."""
    lacking = -len(rows) % set_size
    if lacking == 0:
        return rows
    # The cells of the last set are left out of its own filling, as long as there are others.
    others = rows[: len(rows) - len(rows) % set_size]
    return np.concatenate([rows, draw(others if len(others) else rows, lacking, generator)])


def _generator(seed: int, purpose: int, *place: int) -> np.random.Generator:
    # The generator counts in the low words: two places share no number.
    counter = [0, 0, *(place if len(place) == 2 else (0, *place))]
    return np.random.Generator(np.random.Philox(counter=counter, key=[seed, purpose]))
