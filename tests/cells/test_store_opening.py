"""A store is opened if it is what was packed, and refused by name if it isn't."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.packed import pack_arguments
from tests.read_only import open_place, unable_to_write
from workflow_scripts import pack_cells
from workflow_scripts.cache.digests import file_digest
from workflow_scripts.cells.manifest import FILES, KNOWN_DIGESTS, SCHEMA, Manifest
from workflow_scripts.cells.store import CellStore
from workflow_scripts.errors import DataError


@pytest.fixture
def cells(tmp_path: Path, make_screen: Callable[..., Path]) -> Path:
    """Return the folder of a packed screen: its manifest, and beneath it the store."""
    folder = tmp_path / "cells"
    pack_cells.pack_cells(pack_arguments(folder, make_screen()))
    return folder


def store_of(cells: Path) -> Path:
    return Manifest.read(cells / "manifest.json").folder


def alter(path: Path) -> None:
    """Change the last byte of a file."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def put_time_back(path: Path, before: os.stat_result) -> None:
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def refuse(cells: Path, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        CellStore.open(cells / "manifest.json")
    assert "start the workflow again" in str(caught.value)


def test_packing_remembers_what_it_wrote_so_that_opening_reads_no_file(cells, monkeypatch):
    def fail(path: Path) -> str:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr("workflow_scripts.cache.records.file_digest", fail)
    store = CellStore.open(cells / "manifest.json")
    assert store.n_cells == len(store.cells) == len(store.barcodes)


@pytest.mark.parametrize("name", FILES)
def test_altered_byte_is_refused_by_the_file_s_name(cells, name):
    CellStore.open(cells / "manifest.json")
    alter(store_of(cells) / name)
    refuse(cells, rf"{name}: as many bytes as were packed, and not the same ones")
    # And again, though its digest is known by now.
    refuse(cells, rf"{name}: as many bytes as were packed, and not the same ones")


def test_altered_byte_under_an_old_time_is_found_by_reading_all_of_it(cells):
    path = store_of(cells) / "values.npy"
    before = path.stat()
    alter(path)
    put_time_back(path, before)
    manifest = Manifest.read(cells / "manifest.json")
    assert list(manifest.faults()) == []
    (fault,) = manifest.faults(anew=True)
    assert fault.startswith(f"{path}: as many bytes as were packed")
    # What was found is remembered: the store isn't opened any more.
    refuse(cells, r"values\.npy: as many bytes")


def test_truncated_file_is_refused_by_name(cells):
    path = store_of(cells) / "values.npy"
    os.truncate(path, path.stat().st_size - 4)
    refuse(cells, r"values\.npy: \d+ bytes, where the manifest says \d+ bytes")


def test_missing_file_is_refused_by_name(cells):
    (store_of(cells) / "twins.parquet").unlink()
    refuse(cells, r"twins\.parquet: missing, where the manifest says \d+ bytes")


@pytest.mark.parametrize("spoil", ["alter", "truncate", "delete"])
def test_what_is_refused_is_packed_anew(cells, make_screen, spoil):
    path = store_of(cells) / "indices.npy"
    whole = path.read_bytes()
    if spoil == "alter":
        alter(path)
    elif spoil == "truncate":
        os.truncate(path, 100)
    else:
        path.unlink()
    (cells / "manifest.json").unlink()
    pack_cells.pack_cells(pack_arguments(cells, make_screen()))
    assert path.read_bytes() == whole
    CellStore.open(cells / "manifest.json")


@pytest.mark.parametrize("copy", [shutil.copy, shutil.copy2])
def test_copied_store_is_read_once(cells, tmp_path, monkeypatch, copy):
    copied = tmp_path / "elsewhere"
    shutil.copytree(cells, copied, copy_function=copy)
    read: list[str] = []
    digest = "workflow_scripts.cache.records.file_digest"
    original = file_digest

    def noting(path: Path) -> str:
        read.append(path.name)
        return original(path)

    monkeypatch.setattr(digest, noting)
    first = CellStore.open(copied / "manifest.json")
    assert sorted(read) == sorted(FILES)
    assert np.array_equal(first.barcodes, CellStore.open(cells / "manifest.json").barcodes)
    CellStore.open(copied / "manifest.json")
    assert len(read) == len(FILES)


def test_copy_that_lost_a_byte_is_refused_though_times_were_kept(cells, tmp_path):
    copied = tmp_path / "elsewhere"
    shutil.copytree(cells, copied)
    path = store_of(copied) / "values.npy"
    before = path.stat()
    alter(path)
    put_time_back(path, before)
    refuse(copied, r"values\.npy: as many bytes")


def test_store_in_a_folder_that_cannot_be_written_opens(cells):
    with open_place() as place:
        copied = place / "cells"
        shutil.copytree(cells, copied)
        folder = store_of(copied)
        (folder / KNOWN_DIGESTS).unlink()
        with unable_to_write(folder):
            for _ in range(2):
                CellStore.open(copied / "manifest.json")
        assert not (folder / KNOWN_DIGESTS).exists()


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"values.npy": 3}', '{"values.npy": [1]}', "\0"])
def test_broken_record_of_digests_costs_a_reading_and_no_more(cells, text):
    record = store_of(cells) / KNOWN_DIGESTS
    good = json.loads(record.read_text())
    record.write_text(text)
    CellStore.open(cells / "manifest.json")
    assert json.loads(record.read_text()) == good


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "isn't JSON"),
        ("{", "isn't JSON"),
        ("\x00\x01", "isn't JSON"),
        ("[" * 100_000, "isn't JSON"),
        ("[]", "names no schema"),
        ("null", "names no schema"),
        ('"schema"', "names no schema"),
        ('{"schema": "3"}', "names no schema"),
        ('{"schema": 99}', "packed cells of layout 99, this version reads"),
        (f'{{"schema": {SCHEMA}}}', "digest is missing, n_cells is missing"),
    ],
)
def test_what_is_no_manifest_is_refused_in_words(cells, text, message):
    (cells / "manifest.json").write_text(text)
    refuse(cells, message)


def test_bytes_that_are_no_text_are_refused_in_words(cells):
    (cells / "manifest.json").write_bytes(b"\xff\xfe\x80")
    refuse(cells, "isn't JSON")


def test_missing_manifest_is_said(tmp_path):
    with pytest.raises(DataError, match=r"manifest\.json: No such file"):
        CellStore.open(tmp_path / "manifest.json")


def entry(content: dict, *path: str | int) -> tuple[dict, str | int]:
    for key in path[:-1]:
        content = content[key]
    return content, path[-1]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("n_cells",), "many", "n_cells is 'many', where a whole number belongs"),
        (("n_genes",), True, "n_genes is True, where a whole number belongs"),
        (("target_sum",), None, "target_sum is None, where a number belongs"),
        (("files",), [], r"files is \[\], where a mapping belongs"),
        (("files", "values.npy"), 5, r"files\.values\.npy is 5, where a mapping belongs"),
        (("files", "values.npy", "bytes"), "5", r"files\.values\.npy\.bytes is '5'"),
        (("sources",), {}, r"sources is \{\}, where a list belongs"),
        (("sources", 0), "a.h5ad", r"sources\[0\] is 'a\.h5ad', where a mapping belongs"),
        (("sources", 0, "file"), 1, r"sources\[0\]\.file is 1, where a text belongs"),
        (("folder",), 7, "folder is 7, where a text belongs"),
        (("n_cells",), 47, "n_cells is 47, and its files hold 48; it was edited"),
        (("n_genes",), 31, "n_genes is 31, and its files hold 30"),
        (("holds",), "log1p", "holds is log1p, and its files hold counts"),
        (("target_sum",), 5000.0, "its digest is not that of the files it names"),
        (("files", "values.npy", "sha256"), "0" * 64, "its digest is not that of the files"),
    ],
)
def test_manifest_that_says_something_else_is_refused_by_the_key(cells, path, value, message):
    file = cells / "manifest.json"
    content = json.loads(file.read_text())
    inner, key = entry(content, *path)
    inner[key] = value
    file.write_text(json.dumps(content))
    refuse(cells, message)


@pytest.mark.parametrize(
    "path",
    [
        *(("digest",), ("control",), ("holds",), ("files",), ("sources",), ("folder",)),
        *(("files", "twins.parquet"), ("files", "values.npy", "sha256"), ("sources", 0, "label")),
    ],
)
def test_manifest_that_lacks_a_key_is_refused_by_its_name(cells, path):
    file = cells / "manifest.json"
    content = json.loads(file.read_text())
    inner, key = entry(content, *path)
    del inner[key]
    file.write_text(json.dumps(content))
    refuse(cells, f"{re.escape(str(key))} is missing")
