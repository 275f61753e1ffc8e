"""What is read from the store is what stands in the h5ad files."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import anndata
import numpy as np
import pytest

from workflow_scripts.cells.annotations import Columns
from workflow_scripts.cells.cell_settings import CellSettings
from workflow_scripts.cells.packing import pack_cells, write_manifest
from workflow_scripts.cells.store import CellStore
from workflow_scripts.settings.errors import DataError
from workflow_scripts.settings.split_file import label_files

COLUMNS = Columns("gene", "cell_type", "gem_group")


def settings(values: str = "auto", target_sum: float = 10_000.0) -> CellSettings:
    return CellSettings(COLUMNS, "control", values, target_sum)


def pack(folder: Path, *paths: Path, given: CellSettings | None = None) -> CellStore:
    manifest = pack_cells({"d": label_files([str(p) for p in paths])}, given or settings(), folder)
    manifest["folder"] = "."
    write_manifest(manifest, folder / "manifest.json")
    return CellStore.open(folder / "manifest.json")


def expected(store: CellStore, path: Path, *, normalise: bool) -> np.ndarray:
    """Return the rows of the source in the store's order, by an independent reading."""
    adata = anndata.read_h5ad(path)
    matrix = adata.X if isinstance(adata.X, np.ndarray) else adata.X.toarray()
    matrix = matrix.astype(np.float64)
    if normalise:
        matrix = np.log1p(matrix / matrix.sum(axis=1, keepdims=True) * 10_000.0)
    return matrix[store.cells["source_row"].to_numpy()]


@pytest.mark.parametrize("encoding", ["csr", "csc", "dense"])
@pytest.mark.parametrize("values", ["counts", "log1p"])
def test_store_holds_the_log1p_values_of_the_source(tmp_path, make_screen, encoding, values):
    path = make_screen(encoding=encoding, values=values)
    store = pack(tmp_path / "store", path)
    rows = np.arange(store.n_cells)
    np.testing.assert_allclose(
        store.dense(rows), expected(store, path, normalise=values == "counts"), rtol=2e-6
    )
    np.testing.assert_array_equal(store.sparse(rows).toarray(), store.dense(rows))


def test_log1p_values_are_kept_bit_by_bit(tmp_path, make_screen):
    path = make_screen(values="log1p")
    store = pack(tmp_path / "store", path)
    source = anndata.read_h5ad(path).X.toarray()
    rows = np.array([5, 0, 5, 17])
    np.testing.assert_array_equal(
        store.dense(rows), source[store.cells["source_row"].to_numpy()[rows]]
    )


def test_groups_are_spans(tmp_path, make_screen):
    store = pack(tmp_path / "store", make_screen("b.h5ad"), make_screen("a.h5ad", seed=1))
    keys = ["dataset", "file", "context", "perturbation", "batch"]
    labels = store.cells[keys].astype(str).agg("|".join, axis=1)
    changes = (labels != labels.shift()).sum()
    assert changes == labels.nunique()
    assert list(labels) == sorted(labels)


def test_labels_and_barcodes_follow_their_cells(tmp_path, make_screen):
    path = make_screen()
    store = pack(tmp_path / "store", path)
    obs = anndata.read_h5ad(path).obs.iloc[store.cells["source_row"]]
    assert list(store.cells["barcode"]) == list(obs.index)
    assert list(store.cells["perturbation"].astype(str)) == list(obs["gene"].astype(str))
    assert list(store.cells["is_control"]) == list(obs["gene"] == "control")


def test_genes_in_another_order_are_aligned_by_name(tmp_path, make_screen):
    genes = [f"g{number}" for number in range(30)]
    first = make_screen("a.h5ad", genes=genes)
    adata = anndata.read_h5ad(first)[:, genes[::-1]].copy()
    adata.obs_names = [f"other-{number}" for number in range(adata.n_obs)]
    second = tmp_path / "b.h5ad"
    adata.write_h5ad(second)
    store = pack(tmp_path / "store", first, second)
    half = store.n_cells // 2
    np.testing.assert_array_equal(
        store.dense(np.arange(half)), store.dense(np.arange(half, 2 * half))
    )


def test_different_genes_are_refused(tmp_path, make_screen):
    first = make_screen("a.h5ad")
    second = make_screen("b.h5ad", genes=[f"x{number}" for number in range(30)])
    with pytest.raises(DataError, match=r"b\.h5ad: its genes are not those of the first file"):
        pack(tmp_path / "store", first, second)


def test_small_blocks_give_the_same_store(tmp_path, make_screen, monkeypatch):
    path = make_screen()
    whole = pack(tmp_path / "whole", path)
    monkeypatch.setattr("workflow_scripts.cells.packing.BLOCK_VALUES", 50)
    blocks = pack(tmp_path / "blocks", path)
    assert whole.manifest["digest"] == blocks.manifest["digest"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: np.where(x == x.max(), np.nan, x), "NaN or infinite"),
        (lambda x: x - 3.0, "negative values"),
        (lambda x: x * 40.5, "neither raw counts nor log1p"),
    ],
)
def test_values_that_no_one_can_use_are_refused(tmp_path, make_screen, spoil, message):
    path = make_screen(encoding="dense")
    adata = anndata.read_h5ad(path)
    adata.X = spoil(adata.X).astype(np.float32)
    adata.write_h5ad(path)
    with pytest.raises(DataError, match=message):
        pack(tmp_path / "store", path)


def test_declared_values_that_do_not_hold_are_refused(tmp_path, make_screen):
    path = make_screen(values="log1p")
    with pytest.raises(DataError, match=r"cells\.values says counts"):
        pack(tmp_path / "store", path, given=settings("counts"))


def test_empty_cells_stay_empty(tmp_path, make_screen):
    path = make_screen(encoding="dense")
    adata = anndata.read_h5ad(path)
    adata.X[4] = 0
    adata.write_h5ad(path)
    store = pack(tmp_path / "store", path)
    row = int(np.flatnonzero(store.cells["source_row"] == 4)[0])
    assert not store.dense(np.array([row])).any()
    assert np.isfinite(store.dense(np.arange(store.n_cells))).all()


def test_more_genes_than_sixteen_bits_count_are_kept(tmp_path, make_screen):
    genes = [f"g{number}" for number in range(70_000)]
    path = make_screen(genes=genes, contexts=["k562"], perturbations=["control", "A"])
    store = pack(tmp_path / "store", path)
    assert store.indices.dtype == np.int32
    np.testing.assert_allclose(
        store.dense(np.arange(store.n_cells)), expected(store, path, normalise=True), rtol=2e-6
    )


def test_truncated_store_is_refused_by_name(tmp_path, make_screen):
    folder = tmp_path / "store"
    pack(folder, make_screen())
    (folder / "values.npy").write_bytes((folder / "values.npy").read_bytes()[:-4])
    with pytest.raises(DataError, match=r"values\.npy: \d+ bytes, where the manifest says"):
        CellStore.open(folder / "manifest.json")


def test_store_of_another_layout_is_refused(tmp_path, make_screen):
    folder = tmp_path / "store"
    pack(folder, make_screen())
    content = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**content, "schema": 99}))
    with pytest.raises(DataError, match="layout 99"):
        CellStore.open(folder / "manifest.json")


def test_store_travels_to_another_process_by_its_path(tmp_path, make_screen):
    store = pack(tmp_path / "store", make_screen())
    copy = pickle.loads(pickle.dumps(store))  # noqa: S301  our own bytes
    assert isinstance(copy.values, np.memmap)
    rows = np.arange(store.n_cells)
    np.testing.assert_array_equal(copy.dense(rows), store.dense(rows))


def test_same_cells_in_another_folder_are_the_same_store(tmp_path, make_screen):
    path = make_screen()
    moved = tmp_path / "elsewhere" / path.name
    moved.parent.mkdir()
    shutil.copy(path, moved)
    first, second = (pack(tmp_path / p.parent.name, p) for p in (path, moved))
    assert first.manifest["digest"] == second.manifest["digest"]


def test_files_of_one_name_keep_apart_by_their_folders():
    assert label_files(["/a/x/s.h5ad", "/a/y/s.h5ad", "/a/t.h5ad"]) == {
        "x/s.h5ad": "/a/x/s.h5ad",
        "y/s.h5ad": "/a/y/s.h5ad",
        "t.h5ad": "/a/t.h5ad",
    }


def test_counts_and_log1p_values_are_not_mixed(tmp_path, make_screen):
    with pytest.raises(DataError, match=r"raw counts in .*a\.h5ad, and log1p values"):
        pack(tmp_path / "store", make_screen("a.h5ad"), make_screen("b.h5ad", values="log1p"))
