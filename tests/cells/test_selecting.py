"""A selection of genes changes which values are read, and none of them."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pytest

from tests.cells.test_packing import pack
from workflow_scripts.cells.store import CellStore
from workflow_scripts.errors import DataError

SOME = ["g17", "g3", "g29", "g0", "g8"]


def packed(path: Path) -> CellStore:
    return pack(path.with_suffix(".packed"), path)


def places(store: CellStore, names: list[str]) -> np.ndarray:
    return np.flatnonzero(np.isin(store.genes.astype(str), names))


@pytest.mark.parametrize("names", [SOME, ["g12"], [f"g{n}" for n in reversed(range(30))]])
@pytest.mark.parametrize("values", ["counts", "log1p"])
def test_selected_values_are_those_of_the_whole_bit_by_bit(make_screen, values, names):
    store = packed(make_screen(values=values))
    chosen, at = store.select(names), places(store, names)
    assert list(chosen.genes) == [gene for gene in store.genes if gene in names]
    rows = np.array([7, 0, 7, 40, 3])
    np.testing.assert_array_equal(chosen.dense(rows), store.dense(rows)[:, at])
    np.testing.assert_array_equal(chosen.sparse(rows).toarray(), store.dense(rows)[:, at])
    np.testing.assert_array_equal(
        chosen.stored(rows).toarray(), store.stored(rows)[:, at].toarray()
    )
    np.testing.assert_array_equal(chosen.mean(rows), store.mean(rows)[at])
    assert chosen.stored(rows).dtype == store.stored(rows).dtype


def test_selected_log1p_values_are_the_files_own(make_screen):
    path = make_screen(values="log1p")
    store = packed(path)
    adata = anndata.read_h5ad(path)[store.cells["source_row"].to_numpy()]
    chosen = store.select(SOME)
    rows = np.arange(store.n_cells)
    expected = adata[:, list(chosen.genes)].X.toarray()
    np.testing.assert_array_equal(chosen.dense(rows), expected)


def test_a_buffer_that_is_used_again_keeps_nothing(make_screen):
    store = packed(make_screen())
    chosen = store.select(SOME)
    buffer = np.full((4, len(SOME)), 9.0, dtype=np.float32)
    rows = np.arange(4)
    assert chosen.dense(rows, buffer) is buffer
    np.testing.assert_array_equal(buffer, store.dense(rows)[:, places(store, SOME)])


def test_counts_are_scaled_by_the_sum_over_all_genes(make_screen):
    path = make_screen()
    store = packed(path)
    counts = anndata.read_h5ad(path).X.toarray().astype(np.float64)
    counts = counts[store.cells["source_row"].to_numpy()]
    scaled = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 10_000.0)
    rows = np.arange(store.n_cells)
    found = store.select(SOME).dense(rows)
    np.testing.assert_allclose(found, scaled[:, places(store, SOME)], rtol=2e-6)


def test_more_genes_than_16_bits_can_number(make_screen):
    store = packed(make_screen(genes=[f"g{n}" for n in range(66_000)], cells_per_group=1))
    assert store.indices.dtype == np.int32
    names = ["g65999", "g2", "g65536"]
    rows = np.arange(3)
    expected = store.dense(rows)[:, [2, 65_536, 65_999]]
    np.testing.assert_array_equal(store.select(names).dense(rows), expected)
    np.testing.assert_array_equal(store.select(names).sparse(rows).toarray(), expected)


def test_a_selection_of_a_selection(make_screen):
    store = packed(make_screen())
    twice, rows = store.select(SOME).select(["g29", "g3"]), np.arange(5)
    np.testing.assert_array_equal(twice.dense(rows), store.select(["g3", "g29"]).dense(rows))
    with pytest.raises(DataError, match="g1"):
        store.select(SOME).select(["g1"])


def test_a_view_maps_the_same_memory(make_screen):
    store = packed(make_screen())
    chosen = store.select(SOME)
    assert chosen.values is store.values
    assert store.n_genes == 30


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["g1", "G2", "g7x", "zebra"], ["3 of 4 names", "G2 (did you mean g2?)", "g7x (", "zebra"]),
        (["g1", "g2", "g1"], ["1 genes are named twice: g1"]),
        ([], ["names no gene"]),
    ],
)
def test_what_is_no_selection_is_refused_in_words(make_screen, names, words):
    store = packed(make_screen())
    with pytest.raises(DataError) as error:
        store.select(names)
    for text in words:
        assert text in str(error.value)
