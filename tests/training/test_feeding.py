"""The trainer is fed the sampler's sets, whoever reads them and however far ahead."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import anndata
import numpy as np
import pytest
import torch

from tests.screens import write_screen
from tests.training.test_readers import PATHS, SETTINGS, pack, reader_of
from workflow_scripts.cells.groups import Group, make_groups
from workflow_scripts.cells.sampling import SetRows, SetSampler
from workflow_scripts.cells.store import CellStore
from workflow_scripts.errors import DataError
from workflow_scripts.features.vectors import Features
from workflow_scripts.training.batches import Batch, BatchMaker, Feeder
from workflow_scripts.training.readers import DeviceReader

STEPS = 12


@dataclass(frozen=True)
class Screen:
    store: CellStore
    groups: list[Group]
    features: Features
    embedding: np.ndarray

    def sets_of(self) -> Callable[[int], SetRows]:
        sampler = SetSampler(self.groups, set_size=4, seed=3)
        return lambda step: sampler.take(range(4 * step, 4 * step + 4))

    def feeder(self, path: str, steps: range = range(STEPS), *, ahead: int = 2) -> Feeder:
        maker = BatchMaker(reader_of(path, self.store), self.groups, self.features)
        return Feeder(self.sets_of(), steps, maker, most_cells=16, ahead=ahead)


def make(folder: Path, embedding: tuple[str, int] | None = None) -> Screen:
    """Return a packed screen; its embedding is read from the file, in the store's order."""
    name = None if embedding is None else embedding[0]
    path = write_screen(folder / "screen.h5ad", embedding=embedding)
    store = pack(folder / "store", path, replace(SETTINGS, embedding=name))
    rows = store.cells["source_row"].to_numpy()
    source = np.empty((0, 0)) if name is None else anndata.read_h5ad(path).obsm[name][rows]
    splits = store.cells[["dataset", "file", "context", "perturbation"]].drop_duplicates()
    splits = splits.assign(split=np.where(splits["perturbation"] == "control", "control", "train"))
    groups = make_groups(store.cells, splits, "train", by_batch=False, controls=True)
    names = tuple(sorted({group.perturbation for group in groups}))
    matrix = np.random.default_rng(0).standard_normal((len(names), 5)).astype(np.float32)
    return Screen(store, groups, Features(names, matrix), source)


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Screen:
    return make(tmp_path_factory.mktemp("feeding"))


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Screen:
    """Return the same screen, of whose cells an embedding is read."""
    return make(tmp_path_factory.mktemp("embedded"), ("X_pca", 7))


def copies(feeder: Feeder) -> list[Batch]:
    return [Batch(*(part.cpu().clone() for part in batch)) for batch in feeder]


def expected(screen: Screen, sets: SetRows) -> Batch:
    """Return a batch, by reading its rows one set at a time."""
    names = [screen.groups[number].perturbation for number in sets.groups]
    codes = screen.store.cells["batch"].cat.codes.to_numpy()
    expression = np.stack([screen.store.dense(rows) for rows in sets.observed])
    read = screen.store.dense if screen.store.embedding is None else screen.embedding.__getitem__
    return Batch(
        torch.from_numpy(np.stack([read(rows) for rows in sets.control])),
        torch.from_numpy(np.stack([read(rows) for rows in sets.observed])),
        torch.from_numpy(screen.features.matrix[[screen.features.names.index(n) for n in names]]),
        torch.from_numpy(codes[sets.control].astype(np.int64)),
        torch.from_numpy(sets.numbers),
        torch.from_numpy(expression),
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


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("ahead", [0, 2])
def test_batches_of_an_embedding_are_its_rows_and_the_expression_to_decode_to(
    embedded, path, ahead
):
    found = copies(embedded.feeder(path, ahead=ahead))
    sets_of = embedded.sets_of()
    for step, batch in enumerate(found):
        wanted = expected(embedded, sets_of(step))
        assert (batch.control.shape[-1], batch.expression.shape[-1]) == (7, 30)
        assert all(torch.equal(a, b) for a, b in zip(batch, wanted, strict=True))


def test_chosen_genes_are_what_is_decoded_to_and_leave_the_embedding_alone(embedded):
    some = replace(embedded, store=embedded.store.select(["g4", "g11"]))
    for all_genes, chosen in zip(
        *(copies(screen.feeder(PATHS[0])) for screen in (embedded, some)), strict=True
    ):
        assert torch.equal(chosen.control, all_genes.control)
        assert torch.equal(chosen.observed, all_genes.observed)
        assert torch.equal(chosen.expression, all_genes.expression[..., [4, 11]])


def test_room_for_controls_is_not_kept_where_their_expression_is_not_read(screen, embedded):
    for each, cells in ((screen, 2 * 16), (embedded, 16)):
        maker = BatchMaker(reader_of(PATHS[0], each.store), each.groups, each.features)
        assert len(maker.buffer(16).flat) == cells * 30 + 1


def test_cells_that_move_in_take_the_room_of_their_embedding_too(screen, embedded):
    sizes = [
        DeviceReader(each.store, torch.device("cpu"), 1, pinned=False).bytes_to_move_in
        for each in (screen, embedded)
    ]
    assert sizes[1] - sizes[0] == embedded.store.n_cells * 7 * 4


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
