"""Which cells are predicted, and from which controls: the same ones for every predictor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd
from jaxtyping import Int64

from workflow_scripts.cells.groups import Group
from workflow_scripts.cells.sampling import SetRows, fixed_sets
from workflow_scripts.cells.store import CellStore
from workflow_scripts.errors import DataError
from workflow_scripts.settings.findings import listing


@dataclass(frozen=True)
class Targets:
    """The cells that are predicted, in sets, and the observed controls that go with them.

    Attributes
    ----------
    groups
        What is predicted: of observed cells in the store's order, of a list in its own.
    sets
        Their cells in sets, each cell once; the last set of a group is filled.
    observed
        Rows of the cells that were measured, in the order of prediction [cells]; none of a list.
    paired
        Rows of the control cell that each is predicted from [cells].
    controls
        Rows of all control cells of the contexts asked for [controls].
    n_draws
        How many draws of controls there are, one below the other.
    """

    groups: list[Group]
    sets: SetRows
    observed: Int64[np.ndarray, " observed"]
    paired: Int64[np.ndarray, " cells"]
    controls: Int64[np.ndarray, " controls"]
    n_draws: int = 1

    @classmethod
    def draw(
        cls, groups: list[Group], *, set_size: int, seed: int, measured: bool = True
    ) -> Targets:
        """Draw the controls that groups are predicted from.

        They depend on (seed, group, set), so that neither the model nor the number of sets in
        a forward pass changes which control cell a prediction starts from.

        Parameters
        ----------
        groups, set_size, seed
            As `fixed_sets` takes them.
        measured
            Whether the rows of the groups are those of measured cells.
        """
        sets = fixed_sets(groups, set_size=set_size, seed=seed)
        pools = {id(group.controls): group.controls for group in groups}
        return cls(
            groups,
            sets,
            sets.observed[sets.wanted] if measured else np.empty(0, dtype=np.int64),
            sets.control[sets.wanted],
            np.unique(np.concatenate(list(pools.values()))),
        )

    @classmethod
    def all_controls(cls, groups: list[Group], *, set_size: int, seed: int) -> Targets:
        """Ask for each group of each of its controls once, instead of for its own cells."""
        of_controls = [replace(group, rows=group.controls) for group in groups]
        sets = fixed_sets(of_controls, set_size=set_size, seed=seed)
        sets = replace(sets, control=sets.observed)
        paired = sets.control[sets.wanted]
        return cls(of_controls, sets, np.empty(0, dtype=np.int64), paired, np.unique(paired))

    def and_draws(self, others: Sequence[Targets]) -> Targets:
        """Return the same cells, and below them those of other draws of their controls."""
        draws = [self, *others]
        sets = [
            replace(draw.sets, groups=draw.sets.groups + number * len(self.groups))
            for number, draw in enumerate(draws)
        ]
        joined = {
            field.name: np.concatenate([getattr(part, field.name) for part in sets])
            for field in fields(SetRows)
        }
        return replace(
            self,
            groups=[group for draw in draws for group in draw.groups],
            sets=SetRows(**joined),
            paired=np.concatenate([draw.paired for draw in draws]),
            n_draws=len(draws),
        )

    def passes(self, n_sets: int) -> Iterator[SetRows]:
        """Yield the sets, so many at a time."""
        for start in range(0, len(self.sets.groups), n_sets):
            yield self.sets.take(slice(start, start + n_sets))

    @property
    def group_of_cell(self) -> Int64[np.ndarray, " cells"]:
        """Number of each predicted cell's group."""
        return np.repeat(np.arange(len(self.groups)), [len(group.rows) for group in self.groups])


def seed_of_draw(seed: int, draw: int) -> int:
    """Return the seed of a draw of controls: of the first, the one given."""
    return seed if draw == 0 else int(np.random.SeedSequence([seed, draw]).generate_state(1)[0])


def groups_of_list(store: CellStore, asked: pd.DataFrame, *, by_batch: bool) -> list[Group]:
    """Return what a list asks to predict, from the controls alone.

    Parameters
    ----------
    store
        The cells that are predicted from.
    asked
        Columns perturbation, context and n_cells.
    by_batch
        Sets and their controls share the technical batch: the cells of a target are shared out
        among the batches of its context in the proportion of their controls.

    Returns
    -------
    Groups whose rows are places among the predicted cells, since nobody measured them.

    Raises
    ------
    DataError
        Where a context has no control cells.
    """
    rows = np.flatnonzero(store.cells["is_control"])
    controls = store.cells.iloc[rows].reset_index(drop=True)
    pools: dict[str, list[np.ndarray]] = {}
    for labels, places in controls.groupby(
        ["context", "batch"] if by_batch else ["context"], observed=True
    ).indices.items():
        context = str(labels[0] if isinstance(labels, tuple) else labels)
        pools.setdefault(context, []).append(rows[places])
    if lacking := sorted(set(asked["context"]) - set(pools)):
        raise DataError(f"contexts without control cells to predict from: {listing(lacking, 8)}")
    groups, filled = [], 0
    for name, context, count in asked[["perturbation", "context", "n_cells"]].itertuples(
        index=False
    ):
        # In the proportion of the pools: cumulated and rounded, so that no cell is lost.
        edges = np.cumsum([0, *map(len, pools[context])])
        sizes = np.diff(edges * int(count) // edges[-1])
        for pool, size in zip(pools[context], sizes.tolist(), strict=True):
            if size:
                rows = np.arange(filled, filled + size, dtype=np.int64)
                groups.append(Group(context, name, rows, pool, is_control=False))
                filled += size
    return groups


def groups_of_controls(groups: Sequence[Group], control: str) -> list[Group]:
    """Return what asks to predict the control cells of groups, from other controls.

    Parameters
    ----------
    groups
        What is predicted of perturbed cells.
    control
        Label of the control.
    """
    pools = {id(group.controls): group for group in groups}
    found, asked = [], np.empty(0, dtype=np.int64)
    for of_pool in pools.values():
        # A pool of a technical batch is a part of its context's, where some batch has none.
        rows = np.setdiff1d(of_pool.controls, asked)
        if len(rows):
            asked = np.concatenate([asked, rows])
            found.append(Group(of_pool.context, control, rows, of_pool.controls, is_control=True))
    return found
