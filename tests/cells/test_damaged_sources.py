"""A matrix whose parts don't fit one another is refused, before compiled code reads it."""

from __future__ import annotations

import anndata
import h5py
import numpy as np
import pytest

from tests.cells.test_packing import pack, settings
from workflow_scripts.cells.audit import audit_cells
from workflow_scripts.cells.file_audit import audit_file
from workflow_scripts.errors import DataError


@pytest.mark.parametrize("encoding", ["csr", "csc"])
def test_more_genes_than_names_or_numbers_are_refused(tmp_path, make_screen, encoding):
    path = make_screen(encoding=encoding)
    with h5py.File(path, "a") as file:
        file["X"].attrs["shape"] = np.array([48, 2**31 + 5])
    with pytest.raises(DataError, match="X has 2147483653 columns, and var names 30 genes"):
        pack(tmp_path / "store", path)


DAMAGE = {
    "gene too large": (
        "csr",
        "indices",
        5,
        30,
        "X has a value of gene number 30, and there are 30",
    ),
    # In 16 bits this would be gene number 3.
    "gene far too large": ("csr", "indices", 5, 2 * 65_536 + 3, "of gene number 131075"),
    "negative gene": ("csr", "indices", 5, -1, "of gene number -1"),
    "cell too large": (
        "csc",
        "indices",
        5,
        48,
        "X has a value of cell number 48, and there",
    ),
    "negative cell": ("csc", "indices", 5, -1, "of cell number -1"),
    "row that ends before it begins": (
        "csr",
        "indptr",
        3,
        2,
        "doesn't part its 1145 values into 48",
    ),
    "last row too long": ("csr", "indptr", 48, 5000, "doesn't part its 1145 values into 48 rows"),
    "last row too short": ("csr", "indptr", 48, 1140, "doesn't part its 1145 values into 48 rows"),
    "column too long": ("csc", "indptr", 3, 5000, "doesn't part its 1145 values into 30 columns"),
}


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_sparse_matrix_is_refused(tmp_path, make_screen, monkeypatch, damage, whole):
    if not whole:  # as of a file too large to be looked at before it is packed
        monkeypatch.setattr("workflow_scripts.cells.sampled.WHOLE_VALUES", 10)
        monkeypatch.setattr("workflow_scripts.cells.sampled.SAMPLED_CELLS", 2)
    encoding, name, at, value, message = DAMAGE[damage]
    path = make_screen(encoding=encoding)
    with h5py.File(path, "a") as file:
        file["X"][name][at] = value
    with pytest.raises(DataError, match=f"{path}: .*{message}.*; the file is damaged"):
        pack(tmp_path / "store", path)


def test_sparse_matrix_without_its_values_is_refused(tmp_path, make_screen):
    path = make_screen()
    with h5py.File(path, "a") as file:
        del file["X"]["data"]
    with pytest.raises(DataError, match="X has no data; the file is damaged"):
        pack(tmp_path / "store", path)


def test_bytes_that_rotted_are_refused(tmp_path, make_screen):
    path = make_screen()
    anndata.read_h5ad(path).write_h5ad(path, compression="gzip")
    with h5py.File(path) as file:
        chunk = file["X"]["data"].id.get_chunk_info(0)
    with path.open("r+b") as file:
        file.seek(chunk.byte_offset + 20)
        file.write(b"\xff" * 20)
    message = f"{path}: .*read data.*; the file is damaged"
    with pytest.raises(DataError, match=message):
        pack(tmp_path / "store", path)
    with pytest.raises(DataError, match=message):
        audit_file("d", "f", str(path), settings())


def link_to_itself(file: h5py.File, place: str) -> None:
    del file[place]
    file[place] = h5py.SoftLink(f"/{place}")


def declare(file: h5py.File, place: str, kind: object = "i8") -> None:
    """Have a dataset say that it has 2^44 values, none of which is stored."""
    attributes = dict(file[place].attrs)
    del file[place]
    file.create_dataset(place, (2**44,), kind, chunks=(1024,)).attrs.update(attributes)


def repeat_a_category(file: h5py.File) -> None:
    file["obs/gene/categories"][1] = file["obs/gene/categories"][0]


def empty_a_column(file: h5py.File) -> None:
    del file["obs/gene"]
    file.create_group("obs/gene")


ODD = {
    "category code that is too large": lambda file: file["obs/gene/codes"].__setitem__(3, 100),
    "negative category code": lambda file: file["obs/gene/codes"].__setitem__(3, -7),
    "category twice": repeat_a_category,
    "column without values": empty_a_column,
    "unknown encoding": lambda file: file["obs/gene"].attrs.update({"encoding-type": "martian"}),
    "no list of columns": lambda file: file["obs"].attrs.update({"column-order": 5}),
    "names without end": lambda file: declare(file, "obs/_index", h5py.string_dtype()),
    "rows without end": lambda file: declare(file, "X/indptr"),
    "codes without end": lambda file: declare(file, "obs/gene/codes"),
    "matrix that links to itself": lambda file: link_to_itself(file, "X"),
    "labels that link to themselves": lambda file: link_to_itself(file, "obs/gene"),
    "cells that link to themselves": lambda file: link_to_itself(file, "obs"),
    "genes' names that link to themselves": lambda file: link_to_itself(file, "var/_index"),
}


@pytest.mark.parametrize("damage", ODD)
def test_damaged_labels_links_and_shapes_are_refused(tmp_path, make_screen, damage):
    path = make_screen()
    with h5py.File(path, "a") as file:
        ODD[damage](file)
    with pytest.raises(DataError, match=f"{path}: .*the file is damaged"):
        pack(tmp_path / "store", path)
    report = audit_cells({"d": {"f": str(path)}}, settings()).report
    messages = [one["message"] for one in report["findings"] if one["severity"] == "error"]
    assert any("the file is damaged" in message for message in messages), messages
