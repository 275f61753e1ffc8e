"""Which cells make step t: a pure function of (seed, t), whoever asks and in whatever order.

Every epoch visits every training cell once, in new sets and a new order. A set holds cells of one
group: one perturbation in one context (and one technical batch, where controls are mapped by
batch). All draws come from Philox, a counter-based generator keyed by (seed, purpose, position),
so nothing is remembered between steps and a resumed run draws what the unbroken one drew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Int64

from workflow_scripts.settings.errors import DataError
from workflow_scripts.settings.findings import listing

_EPOCH, _CONTROLS, _FIXED, _FIXED_CONTROLS = 1, 2, 3, 4
"""Purposes of a draw: kept apart, so that no two share random numbers."""


@dataclass(frozen=True)
class Group:
    """Cells that may share a set, and the controls that go with them.

    Attributes
    ----------
    context, perturbation
        Their labels.
    rows
        Row numbers of the group's cells in the store.
    controls
        Row numbers of the control cells that they are paired with.
    is_control
        The group is itself one of control cells.
    """

    context: str
    perturbation: str
    rows: Int64[np.ndarray, " cells"]
    controls: Int64[np.ndarray, " controls"]
    is_control: bool


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
    """

    groups: Int64[np.ndarray, " sets"]
    counts: Int64[np.ndarray, " sets"]
    observed: Int64[np.ndarray, "sets cells"]
    control: Int64[np.ndarray, "sets cells"]

    def take(self, which: slice | Int64[np.ndarray, " chosen"]) -> SetRows:
        """Return some of the sets."""
        return SetRows(
            self.groups[which], self.counts[which], self.observed[which], self.control[which]
        )


def make_groups(
    cells: pd.DataFrame, splits: pd.DataFrame, split: str, *, by_batch: bool, controls: bool
) -> list[Group]:
    """Return the groups of a split, in the store's order.

    Parameters
    ----------
    cells
        The store's table of cells.
    splits
        The table of split groups (`splits.SPLIT_COLUMNS`).
    split
        train, val or test.
    by_batch
        Sets and their controls share the technical batch; a batch without controls falls back to
        the context's.
    controls
        Control cells that train (their split is ``control``) are groups too.

    Raises
    ------
    DataError
        Where a context has no control cells in its own file.
    """
    keys = ["dataset", "file", "context", "perturbation"]
    table = cells[[*keys, "batch", "is_control"]].astype(dict.fromkeys(keys, str))
    table["row"] = np.arange(len(table), dtype=np.int64)
    joined = table.merge(
        splits[[*keys, "split"]].astype(str), on=keys, how="left", validate="many_to_one"
    )
    places = ["dataset", "file", "context"]
    wanted = joined[joined["split"] == split]
    if controls:
        wanted = joined[joined["split"].isin([split, "control"])]
    pools = _control_pools(joined[joined["is_control"]], places)
    by = [*keys, "batch"] if by_batch else keys
    groups = []
    for labels, part in wanted.groupby(by, sort=False, observed=True):
        names = tuple(str(label) for label in labels)
        place = names[:3]
        pool = pools.get(place)
        if by_batch:
            pool = pools.get((*place, names[4]), pool)
        if pool is None:
            raise DataError(
                f"{place[1]}: context {place[2]!r} has no control cells; "
                "every context needs controls in its own file"
            )
        groups.append(
            Group(
                place[2],
                names[3],
                part["row"].to_numpy(np.int64),
                pool,
                bool(part["is_control"].iloc[0]),
            )
        )
    return groups


def _control_pools(
    controls: pd.DataFrame, places: list[str]
) -> dict[tuple[str, ...], Int64[np.ndarray, " controls"]]:
    pools = {}
    for by in (places, [*places, "batch"]):
        for labels, part in controls.groupby(by, sort=False, observed=True):
            pools[tuple(str(label) for label in labels)] = part["row"].to_numpy(np.int64)
    return pools


class SetSampler:
    """Endless stream of cell sets for training: `step(t)` is a pure function of (seed, t)."""

    def __init__(
        self,
        groups: Sequence[Group],
        *,
        set_size: int,
        sets_per_step: int,
        seed: int,
        map_controls: bool = True,
    ) -> None:
        """Prepare the stream.

        Parameters
        ----------
        groups
            What there is to visit; not empty.
        set_size
            Cells a set.
        sets_per_step
            Sets a step.
        seed
            Seed of everything drawn here.
        map_controls
            Sets of control cells are predicted from other controls (true) or from themselves.
        """
        if not groups:
            raise DataError("no cells to train on; see splits_audit.json of the run")
        self._groups = groups
        self._set_size = set_size
        self._sets_per_step = sets_per_step
        self._seed = seed
        self._map_controls = map_controls
        per_group = [-(-len(group.rows) // set_size) for group in groups]
        self.sets_per_epoch = int(sum(per_group))
        self._epochs: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def epoch_of(self, step: int) -> int:
        """Return the epoch in which ``step`` begins."""
        return step * self._sets_per_step // self.sets_per_epoch

    def step(self, step: int) -> SetRows:
        """Return the sets of one step, counted from 0."""
        first = step * self._sets_per_step
        positions = range(first, first + self._sets_per_step)
        groups, observed, control = [], [], []
        for position in positions:
            epoch, at = divmod(position, self.sets_per_epoch)
            group, rows = (part[at] for part in self._epoch(epoch))
            groups.append(group)
            observed.append(rows)
            control.append(self._controls(int(group), rows, position))
        counts = np.full(len(groups), self._set_size, dtype=np.int64)
        return SetRows(np.array(groups), counts, np.stack(observed), np.stack(control))

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        if epoch not in self._epochs:
            # Two at most are needed at once: a step may lie across the border of two epochs.
            self._epochs = {n: sets for n, sets in self._epochs.items() if abs(n - epoch) == 1}
            self._epochs[epoch] = self._make_epoch(epoch)
        return self._epochs[epoch]

    def _make_epoch(
        self, epoch: int
    ) -> tuple[Int64[np.ndarray, " sets"], Int64[np.ndarray, "sets cells"]]:
        generator = _generator(self._seed, _EPOCH, epoch)
        groups, sets = [], []
        for number, group in enumerate(self._groups):
            rows = fill(generator.permutation(group.rows), self._set_size, generator)
            sets.append(rows.reshape(-1, self._set_size))
            groups.append(np.full(len(sets[-1]), number, dtype=np.int64))
        order = generator.permutation(self.sets_per_epoch)
        return np.concatenate(groups)[order], np.concatenate(sets)[order]

    def _controls(
        self, number: int, rows: Int64[np.ndarray, " cells"], position: int
    ) -> Int64[np.ndarray, " cells"]:
        group = self._groups[number]
        if group.is_control and not self._map_controls:
            return rows
        return draw(group.controls, self._set_size, _generator(self._seed, _CONTROLS, position))


def fixed_sets(
    groups: Sequence[Group], *, set_size: int, seed: int, limit: int | None = None
) -> SetRows:
    """Return sets that cover every cell of the groups once, always the same ones.

    The last set of a group is filled from the same group. With ``limit``, that many sets are
    picked, spread evenly over the groups in their order.
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
    keep = np.arange(len(chosen))
    if limit is not None and len(keep) > limit:
        keep = np.unique(np.linspace(0, len(keep) - 1, limit).astype(np.int64))
    whole = SetRows(np.array(chosen), np.array(counts), np.stack(observed), np.stack(control))
    return whole.take(keep)


def draw(
    pool: Int64[np.ndarray, " pool"], count: int, generator: np.random.Generator
) -> Int64[np.ndarray, " count"]:
    """Draw ``count`` rows without replacement while they last, then from the whole pool again."""
    parts = [generator.permutation(pool) for _ in range(-(-count // len(pool)))]
    return np.concatenate(parts)[:count]


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


def _generator(seed: int, *purpose: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *purpose])))


def describe_small_groups(groups: Sequence[Group], set_size: int) -> list[str]:
    """Return a sentence for each kind of group too small for its sets, for the log."""
    small = [
        f"{g.context}/{g.perturbation} ({len(g.rows)})" for g in groups if len(g.rows) < set_size
    ]
    if not small:
        return []
    return [
        f"{len(small)} groups have fewer cells than a set ({set_size}); "
        f"their cells are repeated to fill it: {listing(small, 8)}"
    ]
