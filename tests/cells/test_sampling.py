"""What a step holds depends on (seed, step) alone; an epoch visits every cell once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.cells.sampling import SetSampler, fixed_sets, make_groups
from workflow_scripts.settings.errors import DataError

KEYS = ["dataset", "file", "context", "perturbation"]


def screen(sizes: dict[tuple[str, str], int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return cells and splits of groups (context, perturbation) -> number of cells."""
    rows = [
        ("d", "f", context, perturbation, f"b{at % 2}", perturbation == "control")
        for (context, perturbation), size in sizes.items()
        for at in range(size)
    ]
    cells = pd.DataFrame(rows, columns=[*KEYS, "batch", "is_control"])
    splits = cells[KEYS].drop_duplicates().assign(split="train")
    splits.loc[splits["perturbation"] == "control", "split"] = "control"
    splits.loc[splits["perturbation"] == "T", "split"] = "test"
    return cells, splits


SIZES = {
    ("k562", "control"): 23,
    ("k562", "A"): 40,
    ("k562", "B"): 13,
    ("k562", "T"): 9,
    ("rpe1", "control"): 11,
    ("rpe1", "A"): 3,
}


def sampler(seed: int = 1, **options: bool) -> tuple[pd.DataFrame, SetSampler]:
    cells, splits = screen(SIZES)
    groups = make_groups(
        cells, splits, "train", by_batch=options.get("by_batch", False), controls=False
    )
    return cells, SetSampler(groups, set_size=8, sets_per_step=3, seed=seed)


def test_step_is_a_pure_function_of_seed_and_step():
    _, first = sampler()
    _, second = sampler()
    later = [first.step(step) for step in range(20)]
    for step in (17, 3, 11):
        again = second.step(step)
        np.testing.assert_array_equal(later[step].observed, again.observed)
        np.testing.assert_array_equal(later[step].control, again.control)


def test_another_seed_draws_other_cells():
    assert not np.array_equal(sampler(1)[1].step(0).observed, sampler(2)[1].step(0).observed)


def test_epoch_visits_every_training_cell_and_no_other():
    cells, stream = sampler()
    sets = [stream.step(step).observed[at] for step in range(20) for at in range(3)]
    epochs = np.array(sets)[: 2 * stream.sets_per_epoch].reshape(2, -1)
    wanted = np.flatnonzero(cells["perturbation"].isin(["A", "B"]))
    for visited in epochs:
        np.testing.assert_array_equal(np.unique(visited), wanted)
    assert not np.array_equal(epochs[0], epochs[1])


def test_filling_never_takes_a_cell_more_often_than_it_must():
    cells, stream = sampler()
    visited = np.concatenate([stream.step(step).observed for step in range(20)])
    counts = np.unique(visited[: stream.sets_per_epoch], return_counts=True)[1]
    in_large_groups = cells["perturbation"].to_numpy()[np.unique(visited)] == "B"
    assert counts.max() <= 3  # the group of three cells fills a set of eight
    assert counts[in_large_groups[: len(counts)]].max() <= 2


def test_set_holds_one_perturbation_in_one_context_with_its_own_controls():
    cells, stream = sampler()
    for step in range(20):
        sets = stream.step(step)
        for observed, control in zip(sets.observed, sets.control, strict=True):
            labels = cells.iloc[observed][["context", "perturbation"]].drop_duplicates()
            assert len(labels) == 1
            assert set(cells.iloc[control]["perturbation"]) == {"control"}
            assert set(cells.iloc[control]["context"]) == set(labels["context"])


def test_controls_are_drawn_without_replacement_while_they_last():
    _, stream = sampler()
    for step in range(20):
        for control in stream.step(step).control:
            assert len(np.unique(control)) == 8


def test_batch_mapping_keeps_sets_within_a_technical_batch():
    cells, splits = screen(SIZES)
    groups = make_groups(cells, splits, "train", by_batch=True, controls=False)
    for group in groups:
        batches = set(cells.iloc[group.rows]["batch"])
        assert batches == set(cells.iloc[group.controls]["batch"])
        assert len(batches) == 1


def test_batch_without_controls_falls_back_to_its_context():
    cells, splits = screen(SIZES)
    cells.loc[cells["is_control"], "batch"] = "b0"
    groups = make_groups(cells, splits, "train", by_batch=True, controls=False)
    fallen = [group for group in groups if set(cells.iloc[group.rows]["batch"]) == {"b1"}]
    assert fallen
    for group in fallen:
        assert len(group.controls) == SIZES[(group.context, "control")]


def test_control_sets_are_targets_when_asked():
    cells, splits = screen(SIZES)
    groups = make_groups(cells, splits, "train", by_batch=False, controls=True)
    assert [g.context for g in groups if g.is_control] == ["k562", "rpe1"]
    itself = SetSampler(groups, set_size=4, sets_per_step=9, seed=0, map_controls=False)
    others = SetSampler(groups, set_size=4, sets_per_step=9, seed=0, map_controls=True)
    for stream, same in ((itself, True), (others, False)):
        sets = stream.step(0)
        control_sets = np.array([groups[g].is_control for g in sets.groups])
        assert control_sets.any()
        equal = (sets.observed == sets.control).all(axis=1)[control_sets]
        assert bool(equal.all()) is same


@pytest.mark.parametrize(("split", "yielded"), [("control", True), ("held_out_control", False)])
def test_controls_of_a_held_out_context_are_targets_where_they_may_train(split, yielded):
    cells, splits = screen(SIZES)
    held_out = splits["context"] == "rpe1"
    splits.loc[held_out & (splits["perturbation"] == "A"), "split"] = "test"
    splits.loc[held_out & (splits["perturbation"] == "control"), "split"] = split
    groups = make_groups(cells, splits, "train", by_batch=False, controls=True)
    there = {(group.context, group.perturbation) for group in groups}
    assert (("rpe1", "control") in there) is yielded
    assert ("rpe1", "A") not in there
    # Predictions start from them all the same.
    (test,) = (
        group
        for group in make_groups(cells, splits, "test", by_batch=False, controls=False)
        if group.context == "rpe1"
    )
    assert len(test.controls) == SIZES["rpe1", "control"]


def test_context_without_controls_is_refused():
    cells, splits = screen({("k562", "A"): 5, ("rpe1", "control"): 5})
    with pytest.raises(DataError, match="context 'k562' has no control cells"):
        make_groups(cells, splits, "train", by_batch=False, controls=False)


def test_fixed_sets_cover_each_cell_once_before_filling():
    cells, splits = screen(SIZES)
    groups = make_groups(cells, splits, "test", by_batch=False, controls=False)
    sets = fixed_sets(groups, set_size=4, seed=5)
    kept = np.arange(4) < sets.counts[:, None]
    np.testing.assert_array_equal(sets.observed[kept], groups[0].rows)
    assert list(sets.counts) == [4, 4, 1]


def test_fixed_sets_do_not_depend_on_the_limit():
    cells, splits = screen(SIZES)
    groups = make_groups(cells, splits, "train", by_batch=False, controls=False)
    whole = fixed_sets(groups, set_size=4, seed=5)
    some = fixed_sets(groups, set_size=4, seed=5, limit=4)
    assert len(some.groups) == 4
    for observed, control in zip(some.observed, some.control, strict=True):
        at = np.flatnonzero((whole.observed == observed).all(axis=1))
        assert any(np.array_equal(whole.control[i], control) for i in at)
