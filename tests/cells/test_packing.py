"""What is read from the store is what stands in the h5ad files."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest

from workflow_scripts.cells.annotations import Columns
from workflow_scripts.cells.cell_settings import CellSettings
from workflow_scripts.cells.manifest import write_manifest
from workflow_scripts.cells.packing import pack_cells
from workflow_scripts.cells.split_file import label_files
from workflow_scripts.cells.store import CellStore
from workflow_scripts.errors import DataError

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
    assert list(store.barcodes) == list(obs.index)
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


@pytest.mark.parametrize("encoding", ["csr", "csc", "dense"])
def test_small_blocks_give_the_same_store(tmp_path, make_screen, monkeypatch, encoding):
    whole = pack(tmp_path / "whole", make_screen())
    path = make_screen(encoding=encoding)
    monkeypatch.setattr("workflow_scripts.cells.blocks.BLOCK_VALUES", 50)
    blocks = pack(tmp_path / "blocks", path)
    assert whole.manifest["digest"] == blocks.manifest["digest"]
    assert sorted(p.name for p in (tmp_path / "blocks").iterdir()) == sorted(
        ["known_digests.json", "manifest.json", *blocks.manifest["files"]]
    )


def counts_in_order(store: CellStore, path: Path) -> np.ndarray:
    matrix = anndata.read_h5ad(path).X.toarray()
    return matrix[store.cells["source_row"].to_numpy()]


def test_counts_are_kept_as_they_are_in_half_the_bytes(tmp_path, make_screen):
    path = make_screen()
    store = pack(tmp_path / "store", path)
    assert (store.manifest["holds"], store.values.dtype) == ("counts", np.uint16)
    rows = np.arange(store.n_cells)
    np.testing.assert_array_equal(store.stored(rows).toarray(), counts_in_order(store, path))
    np.testing.assert_array_equal(store.sparse(rows).toarray(), store.dense(rows))


@pytest.mark.parametrize(("largest", "kind"), [(65_535, np.uint16), (65_536, np.uint32)])
def test_large_counts_take_a_wider_type(tmp_path, make_screen, largest, kind):
    path = make_screen()
    adata = anndata.read_h5ad(path)
    adata.X[7, 3] = largest
    adata.write_h5ad(path)
    store = pack(tmp_path / "store", path)
    assert store.values.dtype == kind
    rows = np.arange(store.n_cells)
    np.testing.assert_array_equal(store.stored(rows).toarray(), counts_in_order(store, path))
    np.testing.assert_allclose(store.dense(rows), expected(store, path, normalise=True), rtol=2e-6)


def test_count_that_no_cell_has_is_refused(tmp_path, make_screen):
    path = make_screen()
    with h5py.File(path, "r+") as file:
        file["X/data"][0] = 2**32
    with pytest.raises(DataError, match=r"is 4\.29497e\+09, more than a cell has counts; give raw"):
        pack(tmp_path, path)


def test_log1p_values_stay_float32(tmp_path, make_screen):
    store = pack(tmp_path / "store", make_screen(values="log1p"))
    assert (store.manifest["holds"], store.values.dtype) == ("log1p", np.float32)
    assert store.scales is None


def test_target_sum_is_part_of_what_a_store_is(tmp_path, make_screen):
    path = make_screen()
    first = pack(tmp_path / "a", path)
    second = pack(tmp_path / "b", path, given=settings(target_sum=1e6))
    assert first.manifest["digest"] != second.manifest["digest"]
    np.testing.assert_array_equal(first.values, second.values)
    rows = np.arange(first.n_cells)
    assert (first.dense(rows) < second.dense(rows))[first.dense(rows) > 0].all()


def test_stored_zeros_and_entries_in_parts_are_what_they_sum_to(tmp_path, make_screen):
    path = make_screen()
    clean = pack(tmp_path / "clean", path)
    with h5py.File(path, "a") as file:
        node = file["X"]
        indptr, indices, data = (node[name][:] for name in ("indptr", "indices", "data"))
        # Of each row: a zero in front, and its first entry in two parts.
        rows = [slice(a, b) for a, b in pairwise(indptr)]
        parts = [
            np.concatenate([[0.0, data[r][0] - 1, 1.0], data[r][1:]]).astype(np.float32)
            for r in rows
        ]
        columns = [
            np.concatenate([[29], indices[r][:1], indices[r][:1], indices[r][1:]]) for r in rows
        ]
        for name, values in (("data", parts), ("indices", columns)):
            kind = node[name].dtype
            del node[name]
            node[name] = np.concatenate(values).astype(kind)
        node["indptr"][:] = indptr + 2 * np.arange(len(indptr))
    store = pack(tmp_path / "store", path)
    rows = np.arange(store.n_cells)
    np.testing.assert_array_equal(store.dense(rows), clean.dense(rows))
    assert store.manifest["digest"] == clean.manifest["digest"]


def test_dropped_genes_leave_no_gaps(tmp_path, make_screen):
    first = make_screen("a.h5ad")
    second = make_screen("b.h5ad", genes=[f"g{number}" for number in range(5, 35)])
    given = CellSettings(COLUMNS, "control", "auto", 10_000.0, "intersection")
    store = pack(tmp_path / "store", first, second, given=given)
    assert list(store.genes) == [f"g{number}" for number in range(5, 30)]
    adata = anndata.read_h5ad(first)[:, 5:]
    here = (store.cells["file"] == "a.h5ad").to_numpy()
    rows = np.flatnonzero(here)
    source = adata.X.toarray()[store.cells["source_row"][here]]
    np.testing.assert_array_equal(store.stored(rows).toarray(), source)
    assert len(store.values) == store.indptr[-1]


def test_values_that_only_packing_sees_are_refused(tmp_path, make_screen, monkeypatch):
    monkeypatch.setattr("workflow_scripts.cells.sampled.WHOLE_VALUES", 10)
    monkeypatch.setattr("workflow_scripts.cells.sampled.SAMPLED_CELLS", 2)
    for value, message in ((0.5, "a sample of its values are counts"), (-1.0, "negative|others")):
        path = make_screen()
        adata = anndata.read_h5ad(path)
        adata.X[13, 3] = value
        adata.write_h5ad(path)
        with pytest.raises(DataError, match=message):
            pack(tmp_path / "store", path)


def test_buffer_that_is_used_again_holds_only_the_new_rows(tmp_path, make_screen):
    for values in ("counts", "log1p"):
        store = pack(tmp_path / values, make_screen(values=values))
        out = np.full((5, store.n_genes), np.nan, dtype=np.float32)
        assert store.dense(np.arange(5), out) is out
        np.testing.assert_array_equal(out, store.dense(np.arange(5)))
        store.dense(np.arange(7, 12), out)
        np.testing.assert_array_equal(out, store.dense(np.arange(7, 12)))


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
