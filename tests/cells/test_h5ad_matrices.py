"""Matrices that are written a block at a time hold what they were given, however it is stored."""

from __future__ import annotations

from pathlib import Path

import anndata
import anndata.io
import h5py
import numpy as np
import pytest
from scipy.sparse import csr_matrix, issparse

from workflow_scripts.cells.h5ad_matrices import DenseMatrix, SparseMatrix, new_matrix


def draw(n_cells: int, n_genes: int, filled: float) -> np.ndarray:
    generator = np.random.default_rng(n_cells)
    values = generator.normal(size=(n_cells, n_genes)).astype(np.float32)
    return np.where(generator.random(values.shape) < filled, values, 0.0).astype(np.float32)


def written(path: Path, values: np.ndarray, cuts: list[int], kind: type | None = None):
    """Write values in blocks that end at ``cuts``; return what anndata reads."""
    blocks = np.split(values, cuts)
    with h5py.File(path, "w") as file:
        if kind is DenseMatrix:
            matrix = DenseMatrix(file, "X", values.shape)
        elif kind is SparseMatrix:
            matrix = SparseMatrix(file, "X", values.shape)
        else:
            matrix = new_matrix(file, "X", values.shape, blocks[0])
        for number, block in enumerate(blocks):
            matrix.append(csr_matrix(block) if number % 2 else block)
        matrix.close()
    with h5py.File(path) as file:
        return anndata.io.read_elem(file["X"])


@pytest.mark.parametrize("kind", [DenseMatrix, SparseMatrix])
@pytest.mark.parametrize(
    ("shape", "cuts"),
    [
        ((1, 3), []),
        ((5, 70_000), [2, 2, 3]),  # chunks of three rows, the last one not full
        ((1000, 700), [1, 374, 375, 999]),  # of 374 rows
        ((3, 400_000), [1]),  # a row is more than a chunk
    ],
)
def test_blocks_are_read_as_they_were_written(tmp_path, kind, shape, cuts):
    values = draw(*shape, filled=0.5)
    found = written(tmp_path / "matrix.h5", values, cuts, kind)
    assert issparse(found) is (kind is SparseMatrix)
    np.testing.assert_array_equal(found.toarray() if issparse(found) else found, values)


@pytest.mark.parametrize(("filled", "sparse"), [(0.0, True), (0.2, True), (0.5, False)])
def test_content_decides_how_it_is_stored(tmp_path, filled, sparse):
    values = draw(200, 500, filled)
    found = written(tmp_path / "matrix.h5", values, [100])
    assert issparse(found) is sparse
    np.testing.assert_array_equal(found.toarray() if sparse else found, values)


def test_dense_chunks_are_no_larger_than_those_that_hdf5_makes_itself(tmp_path):
    values = draw(1000, 700, 0.5)
    written(tmp_path / "ours.h5", values, [500], DenseMatrix)
    with h5py.File(tmp_path / "ours.h5") as ours, h5py.File(tmp_path / "its.h5", "w") as its:
        made = its.create_dataset(
            *("X", values.shape, np.float32),
            chunks=ours["X"].chunks,
            compression="gzip",
            compression_opts=1,
            shuffle=True,
        )
        made[:] = values
        for row in range(0, 1000, ours["X"].chunks[0]):
            its_filters, its_bytes = made.id.read_direct_chunk((row, 0))
            filters, chunk = ours["X"].id.read_direct_chunk((row, 0))
            assert filters == its_filters
            assert len(chunk) <= len(its_bytes)


@pytest.mark.parametrize(("rows", "kind"), [(4, np.int32), (2**29, np.int64)])
def test_places_of_sparse_values_have_one_type_that_counts_them(tmp_path, rows, kind):
    with h5py.File(tmp_path / "matrix.h5", "w") as file:
        matrix = SparseMatrix(file, "X", (rows, 5))
        values = draw(4, 5, 0.5)
        matrix.append(csr_matrix(values))
        matrix.close()
        assert file["X/indptr"].dtype == file["X/indices"].dtype == kind
        assert file["X/data"].compression == "gzip"
        np.testing.assert_array_equal(anndata.io.read_elem(file["X"]).toarray(), values)
