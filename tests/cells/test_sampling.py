"""What a step holds depends on (seed, step) alone; an epoch visits every cell once."""

from __future__ import annotations

import itertools
import queue
import threading
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.cells.epochs import EpochPlan
from workflow_scripts.cells.groups import describe_small_groups, make_groups
from workflow_scripts.cells.sampling import SetSampler, draw, fixed_sets
from workflow_scripts.errors import DataError

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


def sampler(
    seed: int = 1, sizes: dict[tuple[str, str], int] = SIZES, **options: Any
) -> tuple[pd.DataFrame, SetSampler]:
    cells, splits = screen(sizes)
    groups = make_groups(cells, splits, "train", by_batch=False, controls=False)
    given = {"set_size": 8, "seed": seed, **options}
    return cells, SetSampler(groups, **given)


def epoch_of(stream: SetSampler, epoch: int) -> np.ndarray:
    """Return the rows of an epoch [sets, cells]."""
    first = epoch * stream.sets_per_epoch
    return stream.take(range(first, first + stream.sets_per_epoch)).observed


def test_set_is_a_pure_function_of_seed_and_number():
    _, first = sampler()
    _, second = sampler()
    later = first.take(range(60))
    for number in (51, 9, 33):
        again = second.take(range(number, number + 1))
        np.testing.assert_array_equal(later.observed[[number]], again.observed)
        np.testing.assert_array_equal(later.control[[number]], again.control)


def test_another_seed_draws_other_cells():
    def rows_of(seed: int) -> np.ndarray:
        return sampler(seed)[1].take(range(3)).observed

    assert not np.array_equal(rows_of(1), rows_of(2))


def test_epoch_visits_every_training_cell_and_no_other():
    cells, stream = sampler()
    epochs = [epoch_of(stream, epoch).ravel() for epoch in range(2)]
    wanted = np.flatnonzero(cells["perturbation"].isin(["A", "B"]))
    for visited in epochs:
        np.testing.assert_array_equal(np.unique(visited), wanted)
    assert not np.array_equal(epochs[0], epochs[1])


def test_next_epoch_is_dealt_before_it_is_asked_for(monkeypatch):
    dealt: queue.Queue[str] = queue.Queue()
    deal = EpochPlan.deal

    def noting(*arguments: Any) -> Any:
        made = deal(*arguments)
        dealt.put(threading.current_thread().name)
        return made

    monkeypatch.setattr(EpochPlan, "deal", noting)
    _, stream = sampler()
    for epoch, made in ((0, 2), (1, 1)):
        epoch_of(stream, epoch)
        names = [dealt.get(timeout=60) for _ in range(made)]
        assert all(name.startswith("epoch") for name in names)  # not this one's thread
    assert dealt.empty()


def test_filling_never_takes_a_cell_more_often_than_it_must():
    cells, stream = sampler()
    for epoch in range(20):
        rows, counts = np.unique(epoch_of(stream, epoch), return_counts=True)
        most = pd.Series(counts).groupby([cells[k].to_numpy()[rows] for k in KEYS[2:]]).max()
        # Five sets of A in k562 need no filling, two of B lack three cells, three cells fill eight.
        assert most.to_dict() == {("k562", "A"): 1, ("k562", "B"): 2, ("rpe1", "A"): 3}


def test_no_set_holds_a_cell_twice_where_its_group_has_enough():
    cells, stream = sampler()
    for rows in np.concatenate([epoch_of(stream, epoch) for epoch in range(20)]):
        enough = SIZES[tuple(cells.iloc[rows[0]][["context", "perturbation"]])] >= 8
        assert len(np.unique(rows)) == (8 if enough else 3)


def test_sets_are_new_in_every_epoch():
    cells, stream = sampler()
    of_a = cells.index[(cells["perturbation"] == "A") & (cells["context"] == "k562")]
    sets = np.concatenate([epoch_of(stream, epoch) for epoch in range(20)])
    seen = [frozenset(rows) for rows in sets[np.isin(sets[:, 0], of_a)]]
    assert len(seen) == len(set(seen)) == 100


def test_every_cell_is_as_likely_to_fill_a_set_as_any_other():
    cells, stream = sampler()
    visited = np.concatenate([epoch_of(stream, epoch).ravel() for epoch in range(400)])
    of_b = visited[cells["perturbation"].to_numpy()[visited] == "B"]
    counts = np.unique(of_b, return_counts=True)[1]
    # 1,200 fillings fall on 13 cells: 92 each, and 9.2 is their standard deviation.
    assert len(counts) == 13
    assert np.abs(counts - 400 - 1200 / 13).max() < 5 * 9.2


WEIGHTED = {("k562", "control"): 20, ("k562", "A"): 720, ("k562", "B"): 80, ("k562", "C"): 5}


@pytest.mark.parametrize(
    ("weighting", "sets"),
    [
        ("proportional", {"A": 90, "B": 10, "C": 1}),  # all cells once
        ("uniform", {"A": 34, "B": 34, "C": 33}),
        ("sqrt", {"A": 71, "B": 24, "C": 6}),  # as 26.8 to 8.9 to 2.2
    ],
)
def test_weighting_says_how_many_sets_of_an_epoch_a_group_has(weighting, sets):
    cells, stream = sampler(sizes=WEIGHTED, weighting=weighting)
    labels = cells["perturbation"].to_numpy()
    assert stream.sets_per_epoch == 101
    for epoch in range(3):
        rows = epoch_of(stream, epoch)
        names, counts = np.unique(labels[rows[:, 0]], return_counts=True)
        assert dict(zip(names, counts.tolist(), strict=True)) == sets
        # Before a cell comes again, every other one of its group has come.
        for name in names:
            visited = np.unique(rows[labels[rows[:, 0]] == name], return_counts=True)
            size = WEIGHTED["k562", name]
            assert len(visited[0]) == min(size, 8 * sets[name])
            if size % 8 == 0:
                assert visited[1].max() - visited[1].min() <= 1


def test_weighted_epochs_take_other_parts_of_a_large_group():
    cells, stream = sampler(sizes=WEIGHTED, weighting="uniform")
    of_a = [
        rows[cells["perturbation"].to_numpy()[rows] == "A"]
        for rows in (epoch_of(stream, epoch) for epoch in range(20))
    ]
    assert len(np.unique(np.concatenate(of_a))) == 720


@pytest.mark.parametrize("start", [0, 7, 1000])
def test_sets_are_the_same_whichever_are_asked_for_together(start):
    _, whole = sampler()
    _, parts = sampler()
    groups = make_groups(*screen(SIZES), "train", by_batch=False, controls=False)
    together = whole.take(range(start, start + 90))
    cuts = [start, start + 1, start + 4, start + 60, start + 90]
    apart = [parts.take(range(*ends)) for ends in reversed(list(itertools.pairwise(cuts)))]
    for name in ("groups", "observed", "control", "counts", "numbers"):
        joined = np.concatenate([getattr(part, name) for part in reversed(apart)])
        np.testing.assert_array_equal(joined, getattr(together, name))
    named = whole.groups_of(together.numbers.tolist())
    wanted = [groups[at] for at in together.groups]
    assert [(g.context, g.perturbation) for g in named] == [
        (g.context, g.perturbation) for g in wanted
    ]


def test_set_holds_one_perturbation_in_one_context_with_its_own_controls():
    cells, stream = sampler()
    sets = stream.take(range(60))
    for observed, control in zip(sets.observed, sets.control, strict=True):
        labels = cells.iloc[observed][["context", "perturbation"]].drop_duplicates()
        assert len(labels) == 1
        assert set(cells.iloc[control]["perturbation"]) == {"control"}
        assert set(cells.iloc[control]["context"]) == set(labels["context"])


def test_controls_are_drawn_without_replacement_while_they_last():
    _, stream = sampler()
    for control in stream.take(range(60)).control:
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
    itself = SetSampler(groups, set_size=4, seed=0, map_controls=False)
    others = SetSampler(groups, set_size=4, seed=0, map_controls=True)
    for stream, same in ((itself, True), (others, False)):
        sets = stream.take(range(9))
        control_sets = np.array([groups[g].is_control for g in sets.groups])
        assert control_sets.any()
        equal = (sets.observed == sets.control).all(axis=1)[control_sets]
        assert bool(equal.all()) is same


@pytest.mark.parametrize(
    ("n_controls", "set_size"),
    [(23, 4), (23, 16), (5, 4), (4, 4), (1, 4)],
    ids=["many", "fewer than two sets", "one more", "all of them", "a single one"],
)
def test_control_cell_is_predicted_from_other_ones_while_there_are(n_controls, set_size):
    cells, splits = screen({("k562", "control"): n_controls, ("k562", "A"): 8})
    groups = make_groups(cells, splits, "train", by_batch=False, controls=True)
    stream = SetSampler(groups, set_size=set_size, seed=0, map_controls=True)
    sets = stream.take(range(30 * stream.sets_per_epoch))
    control_sets = np.array([groups[g].is_control for g in sets.groups])
    drawn = set()
    for observed, control in zip(
        sets.observed[control_sets], sets.control[control_sets], strict=True
    ):
        others = n_controls - len(set(observed))
        assert set(observed).isdisjoint(control) or not others
        assert len(set(control)) == min(set_size, others or n_controls)
        drawn |= set(control)
    assert drawn == set(np.flatnonzero(cells["is_control"]))


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


def test_group_of_a_single_cell_fills_its_set_with_it():
    cells, stream = sampler(sizes={("k562", "control"): 20, ("k562", "A"): 1})
    assert stream.sets_per_epoch == 1
    sets = stream.take(range(4, 5))
    assert sets.observed.tolist() == [[20] * 8]
    assert len(np.unique(sets.control)) == 8
    splits = cells[KEYS].drop_duplicates().assign(split=["control", "val"])
    groups = make_groups(cells, splits, "val", by_batch=False, controls=False)
    fixed = fixed_sets(groups, set_size=8, seed=0)
    assert (fixed.observed.tolist(), fixed.counts.tolist()) == ([[20] * 8], [1])


def test_groups_too_small_for_a_set_are_named():
    groups = make_groups(*screen(SIZES), "train", by_batch=False, controls=False)
    assert describe_small_groups(groups, 3) == ""
    assert describe_small_groups(groups, 14) == (
        "cells are repeated to fill a set (14) of groups that have fewer: k562/B (13), rpe1/A (3)"
    )


def test_large_groups_give_the_same_part_of_their_cells_whatever_the_others_do():
    def rows(sizes: dict[tuple[str, str], int], most: int | None) -> dict[str, list[str]]:
        cells, splits = screen(sizes)
        groups = make_groups(cells, splits, "train", by_batch=False, controls=True, most_cells=most)
        assert all(len(group.controls) == 23 for group in groups)
        numbers = cells.groupby(KEYS).cumcount()
        return {g.perturbation: [int(numbers[row]) for row in g.rows] for g in groups}

    sizes = {key: size for key, size in SIZES.items() if key[0] == "k562"}
    whole, ten, five = rows(sizes, None), rows(sizes, 10), rows(sizes, 5)
    assert {name: len(found) for name, found in ten.items()} == {"control": 10, "A": 10, "B": 10}
    assert whole["A"] == list(range(40))
    assert all(set(five[name]) < set(ten[name]) for name in ten)
    assert ten["A"] == sorted(ten["A"]) != whole["A"][:10]
    assert rows({**sizes, ("k562", "B"): 3}, 10)["A"] == ten["A"]
    assert rows({**sizes, ("k562", "B"): 3}, 10)["B"] == [0, 1, 2]


def test_large_groups_are_cut_before_technical_batches_part_them():
    cells, splits = screen(SIZES)
    groups = make_groups(cells, splits, "train", by_batch=True, controls=False, most_cells=10)
    together = np.concatenate([g.rows for g in groups if (g.context, g.perturbation)[1] == "B"])
    assert len(together) == 10
    (whole,) = (
        group.rows
        for group in make_groups(
            cells, splits, "train", by_batch=False, controls=False, most_cells=10
        )
        if group.perturbation == "B"
    )
    np.testing.assert_array_equal(np.sort(together), whole)


def test_cells_out_of_order_make_the_same_groups():
    cells, splits = screen(SIZES)
    order = np.random.default_rng(0).permutation(len(cells))
    mixed = cells.iloc[order].reset_index(drop=True)
    groups = make_groups(mixed, splits, "train", by_batch=False, controls=False)
    assert sorted(len(group.rows) for group in groups) == [3, 13, 40]
    for group in groups:
        labels = mixed.iloc[group.rows][["context", "perturbation"]].drop_duplicates()
        assert labels.to_numpy().tolist() == [[group.context, group.perturbation]]


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


@pytest.mark.parametrize(
    ("fraction", "limit", "kept"), [(0.5, None, 4), (0.01, None, 1), (0.5, 3, 3), (1.0, None, 8)]
)
def test_fixed_sets_keep_a_fraction_rounded_up(fraction, limit, kept):
    cells, splits = screen({("k562", "control"): 9, ("k562", "A"): 32})
    groups = make_groups(cells, splits, "train", by_batch=False, controls=False)
    sets = fixed_sets(groups, set_size=4, seed=5, fraction=fraction, limit=limit)
    assert len(sets.groups) == kept


def test_drawing_from_many_takes_no_longer_than_it_must():
    # A pool of 2**40 rows can't be shuffled; a draw from one that exists doesn't touch all of it.
    generator = np.random.Generator(np.random.Philox(1))
    drawn = draw(np.broadcast_to(np.int64(7), 2**40), 5, generator)
    assert drawn.tolist() == [7] * 5


@pytest.mark.parametrize("count", [1, 5, 6, 13])
def test_draw_repeats_no_row_before_all_were_drawn(count):
    drawn = draw(np.arange(5), count, np.random.Generator(np.random.Philox(count)))
    counts = np.bincount(drawn, minlength=5)
    assert counts.sum() == count
    assert counts.max() - counts.min() <= 1
