"""Targets of packed cells, as a prediction draws them."""

from __future__ import annotations

import pandas as pd

from workflow_scripts.cells.groups import make_groups
from workflow_scripts.cells.store import CellStore
from workflow_scripts.cells.targets import Targets, groups_of_controls, groups_of_list


def targets_of_test(
    store: CellStore,
    splits: pd.DataFrame,
    *,
    set_size: int = 4,
    by_batch: bool = False,
    seed: int = 7,
    split: str = "test",
) -> Targets:
    """Return what a split asks to predict."""
    groups = make_groups(store.cells, splits, split, by_batch=by_batch, controls=False)
    return Targets.draw(groups, set_size=set_size, seed=seed)


def targets_of_list(
    store: CellStore, asked: pd.DataFrame, *, by_batch: bool = False, seed: int = 1
) -> Targets:
    """Return what a list asks to predict."""
    groups = groups_of_list(store, asked, by_batch=by_batch)
    return Targets.draw(groups, set_size=4, seed=seed, measured=False)


def targets_of_controls(targets: Targets) -> Targets:
    """Return what asks to predict the controls of targets."""
    return Targets.draw(groups_of_controls(targets.groups, "control"), set_size=4, seed=7)
