"""Every format gives the same vectors, and none of them can run code."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import scipy.sparse
import torch

from workflow_scripts.errors import DataError
from workflow_scripts.features.reading import read_entries

NAMES = ["A", "NA", "HLA-A", "control"]
MATRIX = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
TABLE = pd.DataFrame(MATRIX, index=NAMES, columns=["d0", "d1", "d2"])


def as_tensors() -> dict[str, torch.Tensor]:
    return {name: torch.tensor(row) for name, row in zip(NAMES, MATRIX, strict=True)}


def as_anndata(matrix: object) -> anndata.AnnData:
    return anndata.AnnData(matrix, obs=pd.DataFrame(index=NAMES))


WRITERS: dict[str, Callable[[Path], object]] = {
    "torch.pt": lambda path: torch.save(as_tensors(), path),
    "old.pt": lambda path: torch.save(as_tensors(), path, _use_new_zipfile_serialization=False),
    "numpy_names.pt": lambda path: torch.save(
        {np.str_(name): vector for name, vector in as_tensors().items()}, path
    ),
    "big_endian_names.pt": lambda path: torch.save(
        {np.array([name], ">U9")[0]: vector for name, vector in as_tensors().items()}, path
    ),
    "bytes.pt": lambda path: torch.save(
        {np.bytes_(name.encode()): vector for name, vector in as_tensors().items()}, path
    ),
    "one.safetensors": lambda path: safetensors.torch.save_file(as_tensors(), path),
    "by_name.npz": lambda path: np.savez(path, **dict(zip(NAMES, MATRIX, strict=True))),
    "matrix.npz": lambda path: np.savez(path, genes=np.array(NAMES), embedding=MATRIX),
    "index.parquet": lambda path: TABLE.to_parquet(path),
    "column.parquet": lambda path: TABLE.rename_axis("gene").reset_index().to_parquet(path),
    "list.parquet": lambda path: pd.DataFrame(
        {"gene": NAMES, "vector": MATRIX.tolist()}
    ).to_parquet(path),
    "shuffled.parquet": lambda path: (
        TABLE.rename_axis("gene").reset_index().iloc[[2, 0, 3, 1]].to_parquet(path)
    ),
    "last_column.parquet": lambda path: (
        TABLE.assign(gene=NAMES).reset_index(drop=True).to_parquet(path)
    ),
    "categories.parquet": lambda path: TABLE.set_index(pd.CategoricalIndex(NAMES)).to_parquet(path),
    "nullable.parquet": lambda path: TABLE.astype("Float32").to_parquet(path),
    "table.csv": lambda path: TABLE.to_csv(path),
    "table.tsv": lambda path: TABLE.to_csv(path, sep="\t", index_label="gene"),
    "dense.h5ad": lambda path: as_anndata(MATRIX).write_h5ad(path),
    "sparse.h5ad": lambda path: as_anndata(scipy.sparse.csr_matrix(MATRIX)).write_h5ad(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_names_and_vectors(tmp_path, name):
    path = tmp_path / name
    WRITERS[name](path)
    entries = read_entries(path)
    read = {key.decode() if isinstance(key, bytes) else str(key): value for key, value in entries}
    assert sorted(read) == sorted(NAMES)
    for key, row in zip(NAMES, MATRIX, strict=True):
        np.testing.assert_allclose(np.asarray(read[key]), row, rtol=1e-6)


def test_names_of_numpy_become_plain_text(tmp_path):
    WRITERS["numpy_names.pt"](tmp_path / "f.pt")
    assert {type(name) for name, _ in read_entries(tmp_path / "f.pt")} == {str}


class Trap:
    """Unpickling it would leave a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["zip.pt", "old.pt", "pickle.pt", "objects.npz"])
def test_code_in_a_file_is_refused_and_never_run(tmp_path, name):
    trace, path = tmp_path / "ran", tmp_path / name
    if name == "zip.pt":
        torch.save({"A": Trap(trace)}, path)
    elif name == "old.pt":
        torch.save({"A": Trap(trace)}, path, _use_new_zipfile_serialization=False)
    elif name == "pickle.pt":
        path.write_bytes(pickle.dumps({"A": Trap(trace)}))
    else:
        np.savez(path, A=np.array([Trap(trace)], dtype=object))
    with pytest.raises(DataError, match="could run code"):
        read_entries(path)
    assert not trace.exists()


def test_the_allow_list_makes_text_and_nothing_else(tmp_path):
    """A NumPy number asks for the same globals as a NumPy string, and is refused."""
    path = tmp_path / "f.pt"
    torch.save({np.float32(1.0): torch.ones(2)}, path)
    with pytest.raises(DataError, match="NumPy scalar of type f4"):
        read_entries(path)
    torch.save({"A": np.ones(2)}, path)
    with pytest.raises(DataError, match=r"asks for numpy\.\S+_reconstruct; save it anew") as raised:
        read_entries(path)
    assert "add_safe_globals" not in str(raised.value)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 411178048\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("f.pkl", b"x", r"the ending \.pkl is no format of feature files"),
        ("f.pt", b"gene,vector\n", "not a readable torch file: it is text that begins 'gene,ve"),
        ("f.pt", b"", "not a readable torch file: it is an empty file"),
        ("f.pt", LFS, "it is a Git LFS pointer"),
        ("f.csv", LFS, "it is a Git LFS pointer"),
        ("f.safetensors", b"x", "not a readable safetensors file"),
        ("f.safetensors", b"\xff" * 99, "not a readable safetensors file"),
        ("f.parquet", b"x", "not a readable Parquet file"),
        ("f.parquet", b"\xff" * 99, "not a readable Parquet file"),
        ("f.h5ad", b"x", "not a readable h5ad file"),
        ("f.h5ad", b"\xff" * 99, "not a readable h5ad file"),
        ("f.npz", b"x", "not a readable npz file"),
        ("f.npz", b"\xff" * 99, "not a readable npz file"),
        ("f.npz", b"", "not a readable npz file: it is an empty file"),
    ],
)
def test_other_files_are_refused_in_words(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_entries(path)


@pytest.mark.parametrize(
    ("writer", "ending", "what"),
    [
        ("torch.pt", ".npz", "a zip archive that np.savez did not write: it holds f/data.pkl"),
        ("matrix.npz", ".pt", "a zip archive that torch.save did not write .it holds genes.npy"),
        ("one.safetensors", ".pt", "not a readable torch file: it is a safetensors file"),
        ("old.pt", ".npz", "not a readable npz file: it is a pickle"),
        ("dense.h5ad", ".csv", "not a readable table: it is an HDF5 file"),
        ("index.parquet", ".h5ad", "not a readable h5ad file: it is a Parquet file"),
        (
            "table.csv",
            ".parquet",
            "not a readable Parquet file: it is text that begins ',d0,",
        ),
    ],
)
def test_a_file_of_another_format_than_its_ending_is_named(tmp_path, writer, ending, what):
    WRITERS[writer](tmp_path / f"f.{writer.split('.')[1]}")
    (tmp_path / f"f.{writer.split('.')[1]}").rename(tmp_path / f"g{ending}")
    with pytest.raises(DataError, match=what):
        read_entries(tmp_path / f"g{ending}")


DAMAGED = r"damaged torch file|not a readable (npz|Parquet) file"


@pytest.mark.parametrize("writer", ["torch.pt", "old.pt", "matrix.npz", "index.parquet"])
def test_what_was_cut_off_or_damaged_is_refused_in_words(tmp_path, writer):
    path = tmp_path / f"f.{writer.split('.')[1]}"
    WRITERS[writer](path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-9], whole[:99] + whole[109:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=DAMAGED):
            read_entries(path)


def test_a_flipped_byte_of_a_vector_is_refused(tmp_path):
    path = tmp_path / "f.pt"
    torch.save({"A": torch.arange(500.0)}, path)
    content = path.read_bytes()
    at = content.index(torch.tensor([250.0]).numpy().tobytes())
    path.write_bytes(content[:at] + b"\x01" + content[at + 1 :])
    with pytest.raises(DataError, match=DAMAGED):
        read_entries(path)


def test_a_tensor_that_repeats_one_number_without_end_is_refused(tmp_path):
    path = tmp_path / "f.pt"
    torch.save({"A": torch.ones(1).expand(2**36)}, path)
    with pytest.raises(DataError, match=r"f\.pt: has 68,719,476,736 values, too many"):
        read_entries(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.ones(3), "holds a Tensor; it must be a mapping"),
        ([torch.ones(3), "A"], r"holds a list of 2 \(Tensor, str\); it must be a mapping"),
    ],
)
def test_a_torch_file_of_something_else_is_named(tmp_path, content, message):
    torch.save(content, tmp_path / "f.pt")
    with pytest.raises(DataError, match=message):
        read_entries(tmp_path / "f.pt")


def test_a_newer_pickle_than_torch_can_read_safely_is_named(tmp_path):
    torch.save(as_tensors(), tmp_path / "f.pt", pickle_protocol=4)
    with pytest.raises(DataError, match="pickled with protocol 4, of which torch reads no more"):
        read_entries(tmp_path / "f.pt")


def test_names_in_any_bytes_are_read(tmp_path):
    torch.save({np.bytes_("A\u00e9".encode("latin-1")): torch.ones(2)}, tmp_path / "f.pt")
    ((name, _),) = read_entries(tmp_path / "f.pt")
    assert name == "A\ufffd"


def test_a_missing_file_is_named_with_the_key(tmp_path):
    with pytest.raises(DataError, match=r"gone\.pt: no such file; data\.kwargs\."):
        read_entries(tmp_path / "gone.pt")


def test_a_folder_is_no_missing_file(tmp_path):
    (tmp_path / "f.pt").mkdir()
    with pytest.raises(DataError, match=r"f\.pt: is a folder"):
        read_entries(tmp_path / "f.pt")
