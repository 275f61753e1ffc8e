"""On every path to a device the values are those of the h5ad file, whatever its form."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pytest
import scipy.sparse
import torch

from tests.screens import write_screen
from workflow_scripts.cells.annotations import Columns
from workflow_scripts.cells.cell_settings import CellSettings
from workflow_scripts.cells.manifest import write_manifest
from workflow_scripts.cells.packing import pack_cells
from workflow_scripts.cells.store import CellStore
from workflow_scripts.training.readers import CellReader, DeviceReader, HostReader
from workflow_scripts.training.residency import fits

SETTINGS = CellSettings(Columns("gene", "cell_type", "gem_group"), "control", "auto", 10_000.0)
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
PATHS = [
    "host, one thread",
    "host, five threads",
    *(f"{device}, {way}" for device in DEVICES for way in ("copied", "moved in")),
]


def reader_of(path: str, store: CellStore) -> CellReader:
    """Return the reader of a path, by its name."""
    where, way = path.split(", ")
    if where == "host":
        return HostReader(store, 5 if way == "five threads" else 1)
    reader = DeviceReader(store, torch.device(where), 3, pinned=True)
    if way == "moved in":
        reader.move_in()
    return reader


def read(reader: CellReader, rows: np.ndarray, room: int | None = None) -> np.ndarray:
    buffer = reader.buffer(room or len(rows))
    buffer.flat.fill_(float("nan"))  # as if used before
    reader.settle()
    dense = reader.read(rows, buffer)
    reader.hand_over(buffer, [])
    return dense.cpu().numpy()


def pack(folder: Path, path: Path, settings: CellSettings = SETTINGS) -> CellStore:
    manifest = pack_cells({"d": {"f": str(path)}}, settings, folder)
    write_manifest({**manifest, "folder": "."}, folder / "manifest.json")
    return CellStore.open(folder / "manifest.json")


@pytest.fixture(
    scope="module",
    params=[
        f"{encoding} {values} {n_genes}"
        for encoding in ("csr", "csc", "dense")
        for values in ("counts", "log1p")
        for n_genes in (1, 30, 70_000)
    ],
)
def packed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[CellStore, np.ndarray]:
    """Return a store, and its source in the store's order; two cells are empty."""
    encoding, values, n_genes = request.param.split()
    folder = tmp_path_factory.mktemp("screen")
    path = write_screen(
        folder / "screen.h5ad", genes=[f"g{n}" for n in range(int(n_genes))], values=values
    )
    adata = anndata.read_h5ad(path)
    matrix = adata.X.toarray()
    matrix[[4, 17]] = 0
    forms = {"csr": scipy.sparse.csr_matrix, "csc": scipy.sparse.csc_matrix, "dense": np.asarray}
    adata.X = forms[encoding](matrix)
    adata.write_h5ad(path)
    store = pack(folder / "store", path)
    assert store.indices.dtype == (np.int32 if n_genes == "70000" else np.uint16)
    assert store.values.dtype == (np.uint16 if values == "counts" else np.float32)
    return store, matrix[store.cells["source_row"].to_numpy()]


@pytest.mark.parametrize("path", PATHS)
def test_every_path_reads_what_the_file_holds(packed, path):
    store, source = packed
    rows = np.random.default_rng(0).integers(0, store.n_cells, 60)  # some twice
    empty = np.flatnonzero(source.sum(axis=1) == 0)
    assert len(empty) == 2
    rows[:2] = empty
    found = read(reader_of(path, store), rows, room=100)
    assert found.dtype == np.float32
    if store.manifest["holds"] == "log1p":
        np.testing.assert_array_equal(found, source[rows])
        return
    np.testing.assert_array_equal(store.stored(rows).toarray(), source[rows])
    totals = np.maximum(source.sum(axis=1, dtype=np.float64), 1.0)
    expected = np.log1p(source.astype(np.float64) * (10_000.0 / totals)[:, None])
    np.testing.assert_array_equal(found, expected[rows].astype(np.float32))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("values", ["counts", "log1p"])
@pytest.mark.parametrize("largest", [7, 70_000])
def test_chosen_genes_are_the_columns_of_all(tmp_path, make_screen, path, values, largest):
    file = make_screen(values=values)
    if values == "counts":
        adata = anndata.read_h5ad(file)
        adata.X[3, 5] = largest  # 70,000 takes 32 bits
        adata.write_h5ad(file)
    store = pack(tmp_path / "store", file)
    rows = np.arange(store.n_cells)[::-1]
    chosen = store.select(["g5", "g29", "g0"])
    assert list(chosen.genes) == ["g0", "g5", "g29"]
    np.testing.assert_array_equal(
        read(reader_of(path, chosen), rows), store.dense(rows)[:, [0, 5, 29]]
    )


@pytest.mark.parametrize(
    ("needed", "free", "budget", "answer"),
    [(10, 40, None, True), (31, 40, None, False), (10, 40, 9, False), (10, 15, 50, False)],
)
def test_cells_move_in_where_training_and_budget_leave_room(needed, free, budget, answer):
    assert fits(needed, free, 100, budget) is answer
