"""What only shows where cells, splits and features meet."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.cells.groups import make_groups
from workflow_scripts.cells.sampling import SetSampler
from workflow_scripts.training.plan import TrainingPlan
from workflow_scripts.training.readiness import (
    cross_check,
    set_groups,
    sets_per_epoch,
    split_coverage,
)
from workflow_scripts.training.schedule import Schedule

PLAN = TrainingPlan(
    model_kwargs={},
    output_space="all",
    set_size=4,
    sets_per_step=2,
    by_batch=False,
    yield_controls=True,
    map_controls=True,
    weighting="proportional",
    most_cells=None,
    lr=1.0,
    weight_decay=0.0,
    clip=1.0,
    seed=0,
    precision="auto",
    schedule=Schedule(),
    ema=None,
    select_by="val_loss",
    patience=None,
    max_steps=3,
    val_freq=1,
    save_every=1,
    validation_sets=1,
    validation_fraction=1.0,
)
SPLIT_OF = {"control": "control", "A": "train", "B": "test", "C": "val", "D": "dropped"}
FEATURES = {"files": [{}], "control": {"label": "control"}, "missing": ["B"]}


def tables(sizes: dict[str, tuple[int, int]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return splits and batches of one file; ``sizes`` are cells in the batches b1 and b2."""
    place = {"dataset": "d", "file": "f", "context": "k562"}
    batches = pd.DataFrame(
        {**place, "perturbation": name, "batch": batch, "n_cells": n}
        for name, counts in sizes.items()
        for batch, n in zip(("b1", "b2"), counts, strict=True)
        if n
    )
    splits = pd.DataFrame(
        {
            **place,
            "perturbation": name,
            "is_control": name == "control",
            "n_cells": sum(counts),
            "split": SPLIT_OF[name],
        }
        for name, counts in sizes.items()
    )
    return splits, batches


SIZES = {"control": (9, 2), "A": (5, 6), "B": (4, 3), "C": (8, 0), "D": (1, 1)}


@pytest.mark.parametrize("by_batch", [False, True])
@pytest.mark.parametrize("controls", [False, True])
def test_sets_of_an_epoch_are_those_of_the_sampler(by_batch, controls):
    splits, batches = tables(SIZES)
    plan = replace(PLAN, by_batch=by_batch, yield_controls=controls)
    cells = batches.loc[batches.index.repeat(batches["n_cells"])].reset_index(drop=True)
    cells["is_control"] = cells["perturbation"] == "control"
    groups = make_groups(cells, splits, "train", by_batch=by_batch, controls=controls)
    sampler = SetSampler(groups, set_size=4, seed=0)
    counted = sets_per_epoch(set_groups(splits, batches, by_batch=by_batch), plan)
    assert counted == sampler.sets_per_epoch


@pytest.mark.parametrize("most", [3, 6, 100])
def test_sets_of_an_epoch_are_those_of_the_sampler_where_cells_are_left_out(most):
    splits, batches = tables(SIZES)
    plan = replace(PLAN, most_cells=most)
    cells = batches.loc[batches.index.repeat(batches["n_cells"])].reset_index(drop=True)
    cells["is_control"] = cells["perturbation"] == "control"
    groups = make_groups(cells, splits, "train", by_batch=False, controls=True, most_cells=most)
    sampler = SetSampler(groups, set_size=4, seed=0)
    assert (
        sets_per_epoch(set_groups(splits, batches, by_batch=False), plan) == sampler.sets_per_epoch
    )


def test_small_groups_are_named_with_their_batch_where_sets_share_one():
    splits, batches = tables(SIZES)
    assert cross_check(splits, batches, FEATURES, PLAN) == []
    by_batch = cross_check(splits, batches, FEATURES, replace(PLAN, by_batch=True))
    assert {f.code: f.names for f in by_batch} == {
        "small-groups": ("k562/B/b2 (3)",),
        "few-controls": ("k562/control/b2 (2)",),
    }


@pytest.mark.parametrize(
    ("sizes", "controls", "untrained"),
    [
        ({"control": (9, 0), "A": (9, 0), "B": (0, 9)}, True, ("b2",)),
        ({"control": (9, 2), "A": (9, 0), "B": (0, 9)}, True, ()),
        ({"control": (9, 2), "A": (9, 0), "B": (0, 9)}, False, ("b2",)),
    ],
)
def test_batches_that_nothing_trains_are_an_error_where_they_are_encoded(
    sizes, controls, untrained
):
    splits, batches = tables(sizes)
    plan = replace(PLAN, model_kwargs={"batch_encoder": True}, yield_controls=controls)
    found = [f for f in cross_check(splits, batches, FEATURES, plan) if f.severity == "error"]
    assert [f.names for f in found] == ([untrained] if untrained else [])
    plain = replace(plan, model_kwargs={"batch_encoder": False})
    assert not any(f.severity == "error" for f in cross_check(splits, batches, FEATURES, plain))


def test_best_validation_by_a_rank_needs_two_perturbations_in_a_context():
    splits, batches = tables(SIZES)
    ranked = replace(PLAN, select_by="pds_cosine")
    (found,) = cross_check(splits, batches, FEATURES, ranked)
    assert (found.severity, found.code) == ("error", "nothing-to-rank")
    splits.loc[splits["perturbation"] == "A", "split"] = "val"
    assert cross_check(splits, batches, FEATURES, ranked) == []


def test_one_hot_perturbations_that_never_train_are_a_warning():
    splits, batches = tables(SIZES)
    (found,) = cross_check(splits, batches, {**FEATURES, "files": []}, PLAN)
    assert (found.severity, found.code, found.names) == ("warning", "one-hot-untrained", ("B",))


def test_coverage_is_counted_in_each_split():
    splits, _ = tables(SIZES)
    counted = split_coverage(splits, FEATURES)
    assert list(counted) == ["train", "val", "test"]
    assert counted["train"] == {
        "n_perturbations": 1,
        "n_with_vector": 1,
        "n_cells": 11,
        "n_cells_without": 0,
    }
    assert counted["test"]["n_with_vector"] == 0
    assert counted["test"]["n_cells_without"] == 7
    assert np.array([size["n_cells"] for size in counted.values()]).sum() == 26
