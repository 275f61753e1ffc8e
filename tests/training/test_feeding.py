"""The trainer is fed the sampler's sets, whoever reads them and however far ahead."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from tests.screens import write_screen
from tests.training.test_readers import PATHS, pack, reader_of
from workflow_scripts.cells.groups import Group, make_groups
from workflow_scripts.cells.sampling import SetRows, SetSampler
from workflow_scripts.cells.store import CellStore
from workflow_scripts.features.validation import Features
from workflow_scripts.settings.errors import DataError
from workflow_scripts.training.batches import Batch, BatchMaker, Feeder

STEPS = 12


@dataclass(frozen=True)
class Screen:
    store: CellStore
    groups: list[Group]
    features: Features

    def sets_of(self) -> Callable[[int], SetRows]:
        sampler = SetSampler(self.groups, set_size=4, seed=3)
        return lambda step: sampler.take(range(4 * step, 4 * step + 4))

    def feeder(self, path: str, steps: range = range(STEPS), *, ahead: int = 2) -> Feeder:
        maker = BatchMaker(reader_of(path, self.store), self.groups, self.features)
        return Feeder(self.sets_of(), steps, maker, most_cells=16, ahead=ahead)


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Screen:
    folder = tmp_path_factory.mktemp("feeding")
    store = pack(folder / "store", write_screen(folder / "screen.h5ad"))
    splits = store.cells[["dataset", "file", "context", "perturbation"]].drop_duplicates()
    splits = splits.assign(split=np.where(splits["perturbation"] == "control", "control", "train"))
    groups = make_groups(store.cells, splits, "train", by_batch=False, controls=True)
    names = tuple(sorted({group.perturbation for group in groups}))
    matrix = np.random.default_rng(0).standard_normal((len(names), 5)).astype(np.float32)
    return Screen(store, groups, Features(names, matrix))


def copies(feeder: Feeder) -> list[Batch]:
    return [Batch(*(part.cpu().clone() for part in batch)) for batch in feeder]


def expected(screen: Screen, sets: SetRows) -> Batch:
    """Return a batch, by reading its rows one set at a time."""
    names = [screen.groups[number].perturbation for number in sets.groups]
    codes = screen.store.cells["batch"].cat.codes.to_numpy()
    return Batch(
        torch.from_numpy(np.stack([screen.store.dense(rows) for rows in sets.control])),
        torch.from_numpy(np.stack([screen.store.dense(rows) for rows in sets.observed])),
        torch.from_numpy(screen.features.matrix[[screen.features.names.index(n) for n in names]]),
        torch.from_numpy(codes[sets.control].astype(np.int64)),
        torch.from_numpy(sets.numbers),
    )


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("ahead", [0, 1, 4, 16])
@pytest.mark.parametrize("start", [0, 5])
def test_batches_are_the_samplers_steps(screen, path, ahead, start):
    found = copies(screen.feeder(path, range(start, STEPS), ahead=ahead))
    sets_of = screen.sets_of()
    wanted = [expected(screen, sets_of(step)) for step in range(start, STEPS)]
    assert len(found) == len(wanted)
    for batch, other in zip(found, wanted, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(batch, other, strict=True))


def test_no_more_is_held_than_what_is_read_ahead(screen):
    places = [batch.control.data_ptr() for batch in screen.feeder(PATHS[0], ahead=2)]
    assert len(set(places)) == 3
    assert places[:9] == places[3:]  # in turns


def test_batch_stays_as_it_is_until_the_next_is_asked_for(screen):
    feeder = iter(screen.feeder(PATHS[0], ahead=2))
    for step in range(STEPS):
        batch = next(feeder)
        while len(reading := [t for t in threading.enumerate() if t.name.startswith("batch")]) > 1:
            reading[0].join(0.01)
        wanted = expected(screen, screen.sets_of()(step))
        assert torch.equal(batch.control, wanted.control)


def test_fault_while_reading_reaches_the_trainer(screen):
    def broken(step: int) -> SetRows:
        if step == 3:
            raise DataError("the disk is gone")
        return screen.sets_of()(step)

    maker = BatchMaker(reader_of(PATHS[0], screen.store), screen.groups, screen.features)
    feeder = iter(Feeder(broken, range(9), maker, most_cells=16, ahead=2))
    assert [next(feeder).control.shape[0] for _ in range(3)] == [4, 4, 4]
    with pytest.raises(DataError, match="the disk is gone"):
        next(feeder)


def test_training_that_stops_early_leaves_no_reading_thread(screen):
    feeder = iter(screen.feeder(PATHS[0]))
    next(feeder)
    feeder.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("batches")]


def test_perturbation_without_features_is_refused(screen):
    names = tuple(name for name in screen.features.names if name != "B")
    with pytest.raises(DataError, match="no features for B"):
        BatchMaker(
            reader_of(PATHS[0], screen.store),
            screen.groups,
            Features(names, screen.features.matrix[: len(names)]),
        )
