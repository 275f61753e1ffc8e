"""An embedding is packed beside the expression of its cells, and refused where it can't be used."""

from __future__ import annotations

from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from workflow_scripts.cells.annotations import Columns
from workflow_scripts.cells.audit import audit_cells
from workflow_scripts.cells.cell_settings import CellSettings
from workflow_scripts.cells.manifest import Manifest, write_manifest
from workflow_scripts.cells.packing import pack_cells
from workflow_scripts.cells.split_file import label_files
from workflow_scripts.cells.store import CellStore
from workflow_scripts.errors import DataError

COLUMNS = Columns("gene", "cell_type", "gem_group")
PCA = ("X_pca", 5)


def settings(name: str | None = "X_pca") -> CellSettings:
    return CellSettings(COLUMNS, "control", "auto", 10_000.0, embedding=name)


def pack(folder: Path, *paths: Path, name: str | None = "X_pca") -> CellStore:
    manifest = pack_cells({"d": label_files([str(p) for p in paths])}, settings(name), folder)
    write_manifest({**manifest, "folder": "."}, folder / "manifest.json")
    return CellStore.open(folder / "manifest.json")


def audit(*paths: Path, name: str = "X_pca") -> dict:
    files = {"d": label_files([str(path) for path in paths])}
    return audit_cells(files, settings(name)).report


def messages(report: dict) -> list[str]:
    return [found["message"] for found in report["findings"] if found["severity"] == "error"]


def embed(path: Path, change) -> Path:
    """Write the embedding of a file anew, as ``change`` makes it of the one it has."""
    adata = anndata.read_h5ad(path)
    adata.obsm["X_pca"] = change(adata.obsm["X_pca"])
    adata.write_h5ad(path)
    return path


FORMS = {
    "float32": np.asarray,
    "float64": lambda matrix: matrix.astype(np.float64),
    "float16": lambda matrix: matrix.astype(np.float16),
    "csr": scipy.sparse.csr_matrix,
    "csc": scipy.sparse.csc_matrix,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("block", [None, 40])
def test_each_cell_has_its_embedding_whatever_file_and_form(
    tmp_path, make_screen, monkeypatch, form, block
):
    paths = [make_screen(f"{name}.h5ad", seed=at, embedding=PCA) for at, name in enumerate("ba")]
    for path in paths:
        embed(path, lambda matrix: FORMS[form](np.where(matrix > 1.0, 0, matrix)))
    if block is not None:
        monkeypatch.setattr("workflow_scripts.cells.blocks.BLOCK_VALUES", block)
    store = pack(tmp_path / "store", *paths)
    sources = {path.name: anndata.read_h5ad(path).obsm["X_pca"] for path in paths}
    cells = zip(store.cells["file"], store.cells["source_row"], strict=True)
    expected = np.stack(
        [
            np.asarray(sources[file][[row]].todense()).ravel()
            if form[0] == "c"
            else sources[file][row]
            for file, row in cells
        ]
    )
    assert (store.embedding.dtype, store.embedding_dim) == (np.float32, 5)
    np.testing.assert_array_equal(store.embedding, expected.astype(np.float32))
    assert (store.embedding < 0).any()
    rows = np.array([50, 3, 3, 95])
    np.testing.assert_array_equal(store.embedded(rows), store.embedding[rows])


def test_expression_is_the_one_that_is_packed_without_an_embedding(tmp_path, make_screen):
    path = make_screen(embedding=PCA)
    plain, embedded = pack(tmp_path / "plain", path, name=None), pack(tmp_path / "embedded", path)
    rows = np.arange(plain.n_cells)
    np.testing.assert_array_equal(plain.dense(rows), embedded.dense(rows))
    both = plain.manifest["files"].keys()
    assert {n: embedded.manifest["files"][n] for n in both} == plain.manifest["files"]
    assert plain.embedding is plain.embedding_name is plain.embedding_dim is None
    assert "embedding" not in plain.manifest
    assert plain.manifest["digest"] != embedded.manifest["digest"]
    chosen = embedded.select(["g3", "g7"])
    assert chosen.embedding is embedded.embedding


def test_name_and_values_of_the_embedding_are_part_of_what_a_store_is(tmp_path, make_screen):
    path = make_screen(embedding=PCA)
    first = pack(tmp_path / "first", path).manifest["digest"]
    adata = anndata.read_h5ad(path)
    adata.obsm["X_other"] = adata.obsm["X_pca"]
    adata.write_h5ad(path)
    assert pack(tmp_path / "again", path).manifest["digest"] == first
    assert pack(tmp_path / "renamed", path, name="X_other").manifest["digest"] != first
    embed(path, lambda matrix: matrix + 1)
    assert pack(tmp_path / "changed", path).manifest["digest"] != first


def test_truncated_or_altered_embedding_is_refused_by_name(tmp_path, make_screen):
    pack(tmp_path / "store", make_screen(embedding=PCA))
    file = tmp_path / "store" / "embedding.npy"
    whole = file.read_bytes()
    file.write_bytes(whole[:-4])
    with pytest.raises(DataError, match=r"embedding\.npy: \d+ bytes, where the manifest says"):
        CellStore.open(tmp_path / "store" / "manifest.json")
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match=r"embedding\.npy: as many bytes as were packed, and not"):
        CellStore.open(tmp_path / "store" / "manifest.json")
    file.unlink()
    with pytest.raises(DataError, match=r"embedding\.npy: missing"):
        CellStore.open(tmp_path / "store" / "manifest.json")


def test_manifest_that_was_given_another_embedding_is_refused(tmp_path, make_screen):
    path = tmp_path / "store" / "manifest.json"
    pack(path.parent, make_screen(embedding=PCA))
    path.write_text(path.read_text().replace('"X_pca"', '"X_state"'))
    with pytest.raises(DataError, match="it was edited"):
        Manifest.read(path)


def test_values_that_are_not_finite_are_refused_with_their_number_and_first_row(
    tmp_path, make_screen, monkeypatch
):
    def spoil(matrix: np.ndarray) -> np.ndarray:
        matrix[[7, 31], 2] = np.nan
        matrix[31, 4] = np.inf
        return matrix

    wanted = "b.h5ad: obsm/X_pca has 3 NaN or infinite values, the first in row 7; remove"
    paths = [make_screen(f"{name}.h5ad", embedding=PCA) for name in "ab"]
    for form in (np.asarray, scipy.sparse.csr_matrix, scipy.sparse.csc_matrix):
        embed(
            paths[1],
            lambda matrix, form=form: form(
                spoil(np.zeros_like(matrix.toarray() if scipy.sparse.issparse(matrix) else matrix))
            ),
        )
        [message] = messages(audit(*paths))
        assert wanted in message
        with pytest.raises(DataError, match="X_pca has 3 NaN or infinite values") as refused:
            pack(tmp_path / "store", *paths)
        assert str(refused.value) == message
    # Of a large file some rows are looked at; packing sees all of them.
    monkeypatch.setattr("workflow_scripts.cells.sampled.WHOLE_VALUES", 10)
    monkeypatch.setattr("workflow_scripts.cells.sampled.SAMPLED_CELLS", 47)
    embed(paths[1], lambda matrix: spoil(matrix.toarray()))
    [message] = messages(audit(*paths))
    assert "in the part that was looked at, the first in row " in message
    assert int(message.split("first in row ")[1].split(";")[0]) in (7, 31)


def test_values_too_large_for_float32_are_refused(tmp_path, make_screen):
    path = embed(make_screen(embedding=PCA), lambda m: np.where(m == m.max(), 1e300, m))
    with pytest.raises(DataError, match="1 NaN or infinite values"):
        pack(tmp_path / "store", path)
    assert "1 NaN or infinite values" in messages(audit(path))[0]


def test_embedding_that_is_not_there_is_said_with_the_nearest_names(tmp_path, make_screen):
    path = make_screen(embedding=PCA)
    wanted = "there is no obsm/X_pac; did you mean `X_pca`? (set data.kwargs.embed_key)"
    [message] = messages(audit(path, name="X_pac"))
    assert wanted in message.replace(": did", "; did")
    with pytest.raises(DataError, match="there is no obsm/X_pac"):
        pack(tmp_path / "store", path, name="X_pac")


def test_widths_of_all_files_are_named_where_they_differ(tmp_path, make_screen):
    paths = [
        make_screen(f"{width}.h5ad", seed=width, embedding=("X_pca", width)) for width in (5, 6)
    ]
    [message] = messages(audit(*paths))
    assert f"obsm/X_pca is not as wide in every file: 5 in {paths[0]}, 6 in {paths[1]}" in message
    with pytest.raises(DataError) as refused:
        pack(tmp_path / "store", *paths)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: pd.DataFrame(m).rename(columns=str), "is a table (a pandas DataFrame)"),
        (lambda m: np.empty((len(m), 0)), "obsm/X_pca is empty (48 cells, 0 columns)"),
        (lambda m: m.astype(np.complex64), "holds complex64, where an embedding has numbers"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_refused_in_words(tmp_path, make_screen, change, message):
    path = make_screen(embedding=PCA)
    adata = anndata.read_h5ad(path)
    changed = change(adata.obsm["X_pca"])
    if isinstance(changed, pd.DataFrame):
        changed.index = adata.obs_names
    adata.obsm["X_pca"] = changed
    adata.write_h5ad(path)
    assert message in messages(audit(path))[0]
    with pytest.raises(DataError, match="obsm/X_pca"):
        pack(tmp_path / "store", path)


def test_rows_that_are_not_the_files_cells_are_refused(tmp_path, make_screen):
    path = make_screen(embedding=PCA)
    with h5py.File(path, "a") as file:
        matrix = file["obsm/X_pca"][:-1]
        del file["obsm/X_pca"]
        file["obsm/X_pca"] = matrix
    assert "obsm/X_pca has 47 rows, and the file has 48 cells" in messages(audit(path))[0]
    with pytest.raises(DataError, match="47 rows"):
        pack(tmp_path / "store", path)


def test_audit_says_how_wide_the_embedding_is(make_screen):
    assert audit(make_screen(embedding=PCA))["embedding_dim"] == 5
    assert (
        audit_cells({"d": {"f": str(make_screen())}}, settings(None)).report["embedding_dim"]
        is None
    )
