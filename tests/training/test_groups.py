"""Which groups train and which validate."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.screens import write_screen
from tests.training.test_readers import pack
from tests.training.test_step_memory import LLAMA, plan
from workflow_scripts.cells.store import CellStore
from workflow_scripts.errors import DataError
from workflow_scripts.training.trainer import training_groups

ROLES = {"control": "control", "A": "train", "B": "train", "C": "val"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CellStore:
    folder: Path = tmp_path_factory.mktemp("groups")
    return pack(folder / "store", write_screen(folder / "screen.h5ad", cells_per_group=12))


def splits_of(store: CellStore, roles: dict[str, str]) -> pd.DataFrame:
    table = store.cells[["dataset", "file", "context", "perturbation"]].drop_duplicates()
    return table.assign(split=[roles[str(name)] for name in table["perturbation"]])


@pytest.mark.parametrize("gone", ["train", "val"])
def test_empty_split_is_refused(store, gone):
    roles = {name: "dropped" if role == gone else role for name, role in ROLES.items()}
    with pytest.raises(DataError, match="split holds no perturbed cell; name some"):
        training_groups(plan(LLAMA), store, splits_of(store, roles))


@pytest.mark.parametrize(("most", "train"), [(None, 12), (5, 5), (50, 12)])
def test_fewer_cells_train_where_asked_and_all_validate(store, most, train):
    groups, validation = training_groups(
        plan(LLAMA, most_cells=most), store, splits_of(store, ROLES)
    )
    assert {len(group.rows) for group in groups} == {train}
    assert {len(group.rows) for group in validation} == {12}
    assert {len(group.controls) for group in [*groups, *validation]} == {12}
