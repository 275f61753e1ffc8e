"""An epoch: which groups it visits how often, and its cells dealt out into sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numba
import numpy as np
from jaxtyping import Int32, Int64

from workflow_scripts.cells.groups import Group

Weighting = Literal["proportional", "uniform", "sqrt"]


@dataclass(frozen=True)
class EpochPlan:
    """The visits that make an epoch: each goes once through all cells of a group, or a part of it.

    Attributes
    ----------
    rows
        Rows of the store: the cells of the first visit, of the second, … [visited].
    visit
        Visit that each of them belongs to [visited].
    first, cells
        Where a visit's cells begin in ``rows``, and how many they are [visits].
    sets, group
        Sets that a visit makes, and its group's number [visits].
    """

    rows: Int64[np.ndarray, " visited"]
    visit: Int32[np.ndarray, " visited"]
    first: Int64[np.ndarray, " visits"]
    cells: Int64[np.ndarray, " visits"]
    sets: Int64[np.ndarray, " visits"]
    group: Int64[np.ndarray, " visits"]

    @classmethod
    def of(cls, groups: Sequence[Group], set_size: int, weighting: Weighting) -> EpochPlan:
        """Plan an epoch of about as many sets as visit every cell of the groups once."""
        sizes = np.array([len(group.rows) for group in groups], dtype=np.int64)
        whole = -(-sizes // set_size)
        wanted = _share(whole, sizes, weighting)
        visits = -(-wanted // whole)
        group = np.repeat(np.arange(len(groups)), visits)
        sets = whole[group]
        # The last visit of a group makes the sets that are still wanted.
        sets[np.cumsum(visits) - 1] -= visits * whole - wanted
        cells = sizes[group]
        first = np.cumsum(cells) - cells
        return cls(
            np.concatenate([groups[int(number)].rows for number in group]),
            np.repeat(np.arange(len(group), dtype=np.int32), cells),
            first,
            cells,
            sets,
            group,
        )

    @property
    def n_sets(self) -> int:
        """Sets of an epoch."""
        return int(self.sets.sum())

    def deal(
        self, generator: np.random.Generator, set_size: int
    ) -> tuple[Int64[np.ndarray, " sets"], Int64[np.ndarray, "sets cells"]]:
        """Return group and rows of each set of an epoch, in a random order.

        The last set of a visit is filled with cells of its first sets, which are a random part of
        the group; a group smaller than a set is repeated. Nearly all of the time is spent where
        the interpreter's lock is not held.
        """
        shuffled = generator.permutation(len(self.rows))
        order = generator.permutation(self.n_sets)
        groups = np.empty(self.n_sets, dtype=np.int64)
        rows = np.empty((self.n_sets, set_size), dtype=np.int64)
        _deal(
            *(shuffled, order),
            *(self.rows, self.visit, self.first, self.cells, self.sets, self.group),
            *(groups, rows),
        )
        return groups, rows


def _share(
    whole: Int64[np.ndarray, " groups"], sizes: Int64[np.ndarray, " groups"], weighting: Weighting
) -> Int64[np.ndarray, " groups"]:
    """Return the sets of each group in an epoch, at least one; ``whole`` visit each cell once."""
    if weighting == "proportional":
        return whole
    weights = np.ones(len(sizes)) if weighting == "uniform" else np.sqrt(sizes)
    exact = weights / weights.sum() * whole.sum()
    floor: np.ndarray = np.floor(exact).astype(np.int64)
    # What rounding down leaves goes to the largest remainders, the first of equal ones.
    left = int(whole.sum() - floor.sum())
    floor[np.argsort(floor - exact, kind="stable")[:left]] += 1
    return floor.clip(min=1)


@numba.njit(cache=True, nogil=True)
def _deal(
    shuffled: Int64[np.ndarray, " visited"],
    order: Int64[np.ndarray, " sets"],
    rows: Int64[np.ndarray, " visited"],
    visit: Int32[np.ndarray, " visited"],
    first: Int64[np.ndarray, " visits"],
    cells: Int64[np.ndarray, " visits"],
    sets: Int64[np.ndarray, " visits"],
    group: Int64[np.ndarray, " visits"],
    out_groups: Int64[np.ndarray, " sets"],
    out_rows: Int64[np.ndarray, "sets cells"],
) -> None:
    # A shuffle of all cells, dealt to their visits as they come, shuffles each of them.
    filled = first.copy()
    mixed = np.empty_like(rows)
    for cell in shuffled:
        mixed[filled[visit[cell]]] = rows[cell]
        filled[visit[cell]] += 1
    made = 0
    for number in range(first.shape[0]):
        for at in range(sets[number]):
            place = order[made]
            out_groups[place] = group[number]
            for cell in range(out_rows.shape[1]):
                position = (at * out_rows.shape[1] + cell) % cells[number]
                out_rows[place, cell] = mixed[first[number] + position]
            made += 1
