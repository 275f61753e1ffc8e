"""Archives and tables are read where their names are clear, and refused in words elsewhere."""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse

from workflow_scripts.errors import DataError
from workflow_scripts.features.reading import read_entries

NAMES = ["A", "NA", "HLA-A", "control"]
MATRIX = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
TABLE = pd.DataFrame(MATRIX, index=NAMES, columns=["d0", "d1", "d2"])


def test_damage_inside_an_archive_is_found(tmp_path):
    path = tmp_path / "f.npz"
    for save in (np.savez, np.savez_compressed):
        save(path, A=np.arange(999.0))
        content = bytearray(path.read_bytes())
        content[200:240] = bytes(byte ^ 0x5A for byte in content[200:240])
        path.write_bytes(content)
        with pytest.raises(DataError, match="not a readable npz file: "):
            read_entries(path)


def test_archives_that_are_no_names_and_vectors_are_refused(tmp_path):
    path = tmp_path / "f.npz"
    np.savez(path, names=np.array(["A", "B"]), matrix=np.ones((3, 2)))
    with pytest.raises(DataError, match=r"2 names, and a matrix of shape \[3, 2\]"):
        read_entries(path)
    np.savez(path, names=np.array(["A"]), one=np.ones((1, 2)), two=np.ones((1, 2)))
    with pytest.raises(DataError, match=r"holds the arrays names \[1\], one \[1, 2\], two"):
        read_entries(path)


def test_an_array_that_stands_twice_in_an_archive_is_read_twice(tmp_path):
    with zipfile.ZipFile(tmp_path / "f.npz", "w") as archive:
        for value in (1.0, 2.0):
            buffer = io.BytesIO()
            np.save(buffer, np.array([value]))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                archive.writestr("A.npy", buffer.getvalue())
    assert [name for name, _ in read_entries(tmp_path / "f.npz")] == ["A", "A"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE.reset_index(drop=True), r"no column holds text \(its columns are d0, d1, d2\)"),
        (TABLE.assign(a=NAMES, b=NAMES).reset_index(drop=True), "the columns a, b hold text"),
        (TABLE.assign(symbol=NAMES), "columns symbol hold something other than numbers"),
    ],
)
def test_tables_whose_names_are_unclear_are_refused(tmp_path, table, message):
    table.to_parquet(tmp_path / "f.parquet")
    with pytest.raises(DataError, match=message):
        read_entries(tmp_path / "f.parquet")


def test_two_columns_of_one_name_are_two_dimensions(tmp_path):
    table = pa.Table.from_pandas(TABLE)
    described = table.schema.metadata[b"pandas"].replace(b'"name": "d1"', b'"name": "d0"')
    pq.write_table(table.replace_schema_metadata({b"pandas": described}), tmp_path / "f.parquet")
    read = dict(read_entries(tmp_path / "f.parquet"))
    np.testing.assert_array_equal(np.stack([read[name] for name in NAMES]), MATRIX)


def test_an_empty_list_in_a_table_is_left_to_the_checks(tmp_path):
    table = pd.DataFrame({"gene": ["A", "B"], "vector": [None, [1.0, 2.0]]})
    table.to_parquet(tmp_path / "f.parquet")
    assert dict(read_entries(tmp_path / "f.parquet"))["A"] is None


def strip_x(path: Path) -> None:
    anndata.AnnData(obs=pd.DataFrame(index=NAMES), obsm={"X_esm": MATRIX}).write_h5ad(path)


def old_tables(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["X"] = MATRIX
        file["obs"] = np.array([(name.encode(),) for name in NAMES], [("index", "S9")])


@pytest.mark.filterwarnings("ignore:Element")
@pytest.mark.parametrize(("write", "holds"), [(strip_x, "obsm/X_esm, "), (old_tables, "X, obs")])
def test_an_h5ad_without_vectors_in_x_says_what_it_holds(tmp_path, write, holds):
    write(tmp_path / "f.h5ad")
    with pytest.raises(DataError, match=f"vectors in X and their names in obs; it holds {holds}"):
        read_entries(tmp_path / "f.h5ad")


def test_a_matrix_as_large_as_cells_is_not_read(tmp_path):
    cells = scipy.sparse.csr_matrix((3_000_000, 1000), dtype=np.float32)
    with h5py.File(tmp_path / "f.h5ad", "w") as file:
        anndata.io.write_elem(file, "X", cells)
        anndata.io.write_elem(file, "obs", pd.DataFrame(index=NAMES))
    with pytest.raises(DataError, match=r"X has 3,000,000,000 values, .* are these the cells\?"):
        read_entries(tmp_path / "f.h5ad")
