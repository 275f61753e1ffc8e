"""Which cells are predicted, and from which controls: the same ones for every model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int64

from workflow_scripts.cells.groups import Group, make_groups
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
        What is predicted: of observed cells in the store's order, of a list in its own. The rows of
        a group of a list, where nobody measured its cells, are places among the predicted ones.
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

    def and_draws(self, others: Sequence[Targets]) -> Targets:
        """Return the same cells, and below them those of other draws of their controls."""
        draws = [self, *others]
        n_groups = len(self.groups)
        sets = [
            replace(draw.sets, groups=draw.sets.groups + at * n_groups)
            for at, draw in enumerate(draws)
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

    def kept(self, sets: SetRows) -> Bool[np.ndarray, "sets cells"]:
        """Tell which cells of some sets are wanted, and which only fill their set."""
        return _wanted(sets)

    @property
    def group_of_cell(self) -> Int64[np.ndarray, " cells"]:
        """Number of each predicted cell's group."""
        return np.repeat(np.arange(len(self.groups)), [len(group.rows) for group in self.groups])


def targets_of_test(
    store: CellStore,
    splits: pd.DataFrame,
    *,
    set_size: int,
    by_batch: bool,
    seed: int,
    split: str = "test",
) -> Targets:
    """Return what the test split asks to predict, or another one.

    Controls are drawn by (seed, group, set), so that neither the model nor the number of sets in
    a forward pass changes which control cell a prediction starts from.
    """
    groups = make_groups(store.cells, splits, split, by_batch=by_batch, controls=False)
    sets = fixed_sets(groups, set_size=set_size, seed=seed)
    return Targets(groups, sets, sets.observed[_wanted(sets)], *_sources(groups, sets))


def targets_of_list(
    store: CellStore, asked: pd.DataFrame, *, set_size: int, by_batch: bool, seed: int
) -> Targets:
    """Return what a list asks to predict, from the controls alone.

    Parameters
    ----------
    store
        The cells that are predicted from.
    asked
        Columns perturbation, context and n_cells.
    set_size, seed
        As `targets_of_test` takes them.
    by_batch
        Sets and their controls share the technical batch: the cells of a target are shared out
        among the batches of its context in the proportion of their controls.

    Raises
    ------
    DataError
        Where a context has no control cells.
    """
    pools = {
        context: _by_batch(store, rows) if by_batch else [rows]
        for context, rows in _controls(store, asked["context"]).items()
    }
    groups, filled = [], 0
    for name, context, count in asked[["perturbation", "context", "n_cells"]].itertuples(
        index=False
    ):
        for pool, size in zip(pools[context], _shares(pools[context], count), strict=True):
            if size:
                rows = np.arange(filled, filled + size, dtype=np.int64)
                groups.append(Group(context, name, rows, pool, is_control=False))
                filled += size
    sets = fixed_sets(groups, set_size=set_size, seed=seed)
    return Targets(groups, sets, np.empty(0, dtype=np.int64), *_sources(groups, sets))


def targets_of_controls(targets: Targets, control: str, *, set_size: int, seed: int) -> Targets:
    """Return what asks to predict the control cells that targets go with, from other controls.

    Parameters
    ----------
    targets
        What is predicted of perturbed cells.
    control
        Label of the control.
    set_size, seed
        As `targets_of_test` takes them.
    """
    pools = {id(group.controls): group for group in targets.groups}
    groups, asked = [], np.empty(0, dtype=np.int64)
    for of_pool in pools.values():
        # A pool of a technical batch is a part of its context's, where some batch has none.
        rows = np.setdiff1d(of_pool.controls, asked)
        if len(rows):
            asked = np.concatenate([asked, rows])
            groups.append(Group(of_pool.context, control, rows, of_pool.controls, is_control=True))
    sets = fixed_sets(groups, set_size=set_size, seed=seed)
    return Targets(groups, sets, sets.observed[_wanted(sets)], *_sources(groups, sets))


def seed_of_draw(seed: int, draw: int) -> int:
    """Return the seed of a draw of controls: of the first, the one given."""
    return seed if draw == 0 else int(np.random.SeedSequence([seed, draw]).generate_state(1)[0])


def novelty(targets: Targets, splits: pd.DataFrame) -> np.ndarray:
    """Return a remark for each predicted cell: what of it the training cells did not hold."""
    trained = splits[splits["split"] == "train"]
    known = {name: set(trained[name].astype(str)) for name in ("perturbation", "context")}
    texts = [
        "; ".join(f"{name} not trained on" for name in known if getattr(g, name) not in known[name])
        for g in targets.groups
    ]
    said: np.ndarray = np.array(texts, dtype=object)[targets.group_of_cell]
    return said


def _wanted(sets: SetRows) -> Bool[np.ndarray, "sets cells"]:
    return np.arange(sets.observed.shape[1]) < sets.counts[:, None]


def _sources(groups: list[Group], sets: SetRows) -> tuple[np.ndarray, np.ndarray]:
    """Return the control that each cell is predicted from, and all controls."""
    pools = {id(group.controls): group.controls for group in groups}
    return sets.control[_wanted(sets)], np.unique(np.concatenate(list(pools.values())))


def _controls(
    store: CellStore, contexts: pd.Series[str]
) -> Mapping[str, Int64[np.ndarray, " controls"]]:
    cells = store.cells[["context", "is_control"]]
    rows = np.flatnonzero(cells["is_control"])
    pools: dict[str, Int64[np.ndarray, " controls"]] = {
        str(context): rows[at]
        for context, at in cells.iloc[rows].groupby("context", observed=True).indices.items()
    }
    if lacking := sorted(set(contexts) - set(pools)):
        raise DataError(f"contexts without control cells to predict from: {listing(lacking, 8)}")
    return pools


def _by_batch(store: CellStore, rows: Int64[np.ndarray, " rows"]) -> list[np.ndarray]:
    batches = store.cells["batch"].iloc[rows].reset_index(drop=True)
    return [rows[at] for at in batches.groupby(batches, observed=True).indices.values()]


def _shares(pools: list[np.ndarray], count: int) -> Iterator[int]:
    """Share out cells in the proportion of the pools: cumulated, rounded, so that none is lost."""
    edges = np.cumsum([0, *(len(pool) for pool in pools)])
    return iter(np.diff(edges * int(count) // edges[-1]).tolist())
