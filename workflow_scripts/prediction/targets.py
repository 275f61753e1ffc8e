"""Which cells are predicted, and from which controls: the same ones for every model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int64

from workflow_scripts.cells.groups import Group, make_groups
from workflow_scripts.cells.sampling import SetRows, fixed_sets
from workflow_scripts.cells.store import CellStore


@dataclass(frozen=True)
class Targets:
    """The test cells of a run, in sets, and the observed controls that go with them.

    Attributes
    ----------
    groups
        The test groups, in the store's order.
    sets
        Their cells in sets, each cell once; the last set of a group is filled.
    observed
        Rows of the test cells, in the order of prediction [cells].
    paired
        Rows of the control cell that each is predicted from [cells].
    controls
        Rows of all control cells of the test contexts [controls].
    """

    groups: list[Group]
    sets: SetRows
    observed: Int64[np.ndarray, " cells"]
    paired: Int64[np.ndarray, " cells"]
    controls: Int64[np.ndarray, " controls"]

    def kept(self, sets: SetRows) -> Bool[np.ndarray, "sets cells"]:
        """Tell which cells of some sets are wanted, and which only fill their set."""
        return np.arange(sets.observed.shape[1]) < sets.counts[:, None]


def targets_of_test(
    store: CellStore, splits: pd.DataFrame, *, set_size: int, by_batch: bool, seed: int
) -> Targets:
    """Return what the test split asks to predict.

    Controls are drawn by (seed, group, set), so that neither the model nor the number of sets in
    a forward pass changes which control cell a prediction starts from.
    """
    groups = make_groups(store.cells, splits, "test", by_batch=by_batch, controls=False)
    sets = fixed_sets(groups, set_size=set_size, seed=seed)
    kept = np.arange(set_size) < sets.counts[:, None]
    controls = np.unique(np.concatenate([group.controls for group in groups]))
    return Targets(groups, sets, sets.observed[kept], sets.control[kept], controls)
