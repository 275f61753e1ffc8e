"""Files as other programs, editors and people write them: read as they are meant, or explained."""

from __future__ import annotations

from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest

from tests.preflight.good_run import Inputs, write_good
from tests.snakemake_runs import snakemake
from tests.tiny_run import PERTURBATIONS, TOML, write_tiny_run
from workflow_scripts import audit_splits, validate_features
from workflow_scripts.errors import DataError

CONTROL = "data.kwargs.control_pert=control"
CELLS = ("data.kwargs.toml_config_path=run/starter.toml", CONTROL)


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inputs:
    monkeypatch.chdir(tmp_path)
    return write_good(tmp_path / "run")


@pytest.fixture
def look(inputs, capsys):
    """Return a function that checks cells and splits: whether they may train, and what is said."""

    def look_at(*overrides: str, control: str = CONTROL) -> tuple[bool, str]:
        try:
            audit_splits.audit_splits(["run/starter.toml", control, *overrides])
        except DataError as error:
            return False, f"{capsys.readouterr().out}{error}"
        return True, capsys.readouterr().out

    return look_at


def test_byte_order_mark_of_a_split_file_is_read_over(inputs, look):
    plain = look()
    path = inputs.folder / "starter.toml"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert look() == plain


def test_file_whose_name_has_brackets_is_that_file(inputs, look):
    inputs.second.rename(inputs.folder / "plate[1].h5ad")
    inputs.toml('"run/screen_*.h5ad"', '["run/screen_k562.h5ad", "run/plate[1].h5ad"]')
    fine, said = look()
    assert fine, said
    assert "plate[1].h5ad" in said


def test_folder_whose_name_has_brackets_is_that_folder(inputs, look):
    folder = inputs.folder / "plates[1]"
    folder.mkdir()
    for path in (inputs.first, inputs.second):
        path.rename(folder / path.name)
    inputs.toml("screen_*.h5ad", "plates[1]")
    fine, said = look()
    assert fine, said
    assert "plates[1]/screen_rpe1.h5ad" in said


def test_plus_in_brackets_makes_no_combination(inputs, look, capsys):
    """A drug of sci-Plex."""
    inputs.label("gene", "g2", "(+)-JQ1")
    inputs.toml('"g2"', '"(+)-JQ1"')
    fine, said = look()
    assert fine, said
    with pytest.raises(DataError):
        validate_features.validate_features(["run/features.pt", *CELLS])
    said += capsys.readouterr().out
    assert "no vector for 1 of" in said
    assert "JQ1" not in said.replace("(+)-JQ1", "")


def as_bytes(group: h5py.Group, name: str) -> None:
    """Store texts as R and plain h5py do: bytes of one length."""
    names = np.array([text.encode() for text in group[name].asstr()[:]])
    attributes = {"encoding-type": "array", "encoding-version": "0.2.0"}
    del group[name]
    group.create_dataset(name, data=names).attrs.update(attributes)


def test_byte_strings_are_read_as_text(inputs, look):
    def change(file: h5py.File) -> None:
        for column in ("gene", "cell_type", "gem_group"):
            as_bytes(file[f"obs/{column}"], "categories")
        for part in ("obs", "var"):
            as_bytes(file[part], "_index")
            order = file[part].attrs["column-order"]
            file[part].attrs["_index"] = np.bytes_("_index")
            file[part].attrs["column-order"] = np.array([*order], dtype="S20")

    plain = look()
    inputs.hdf5(change)
    assert look() == plain


def test_missing_compression_filter_is_named(inputs, look):
    """As `write_h5ad(compression=hdf5plugin.FILTERS["zstd"])` leaves a file."""

    def change(file: h5py.File) -> None:
        shape = file["X/data"].shape
        del file["X/data"]
        filters = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        filters.set_chunk(shape)
        filters.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
        kind, space = h5py.h5t.NATIVE_FLOAT, h5py.h5s.create_simple(shape)
        h5py.h5d.create(file["X"].id, b"data", kind, space, filters).write_direct_chunk((0,), b"zz")

    inputs.hdf5(change)
    fine, said = look()
    assert not fine
    assert "screen_rpe1.h5ad" in said
    assert "pip install hdf5plugin" in said
    assert "damaged" not in said


def scaled(adata: anndata.AnnData) -> np.ndarray:
    return ((adata.X - adata.X.mean(0)) / (adata.X.std(0) + 1.0)).astype(np.float32)


def test_scaled_values_beside_raw_ones_are_told_where_those_are(inputs, look):
    def change(adata: anndata.AnnData) -> None:
        adata.raw = adata.copy()
        adata.X = scaled(adata)

    inputs.edit(change)
    fine, said = look()
    assert not fine
    assert "screen_rpe1.h5ad" in said
    assert "adata.raw" in said


def test_scaled_values_beside_a_layer_are_told_which_key_reads_it(inputs, look):
    def change(adata: anndata.AnnData) -> None:
        adata.layers["counts"] = adata.X.copy()
        adata.X = scaled(adata)

    for path in (inputs.first, inputs.second):
        inputs.edit(change, path)
    fine, said = look()
    assert not fine
    assert "cells.layer=counts" in said
    fine, said = look("cells.layer=counts")
    assert fine, said


def test_file_without_x_is_told_which_key_reads_its_layer(inputs, look):
    def change(adata: anndata.AnnData) -> anndata.AnnData:
        return anndata.AnnData(obs=adata.obs, var=adata.var, layers={"counts": adata.X})

    inputs.edit(change)
    fine, said = look()
    assert not fine
    assert "cells.layer=counts" in said


def chosen_genes(inputs: Inputs, cut: slice, marked: slice) -> None:
    """Put log1p values of some genes into X_hvg, and mark as many as highly variable."""

    def change(adata: anndata.AnnData) -> None:
        values = np.log1p(adata.X / adata.X.sum(axis=1, keepdims=True) * 1e4)
        adata.obsm["X_hvg"] = values[:, cut].astype(np.float32)
        adata.var["highly_variable"] = np.isin(np.arange(adata.n_vars), np.r_[marked])

    for path in (inputs.first, inputs.second):
        inputs.edit(change, path)


def test_chosen_genes_that_are_those_marked_are_read(inputs, look):
    chosen_genes(inputs, cut=slice(20, 40), marked=slice(20, 40))
    fine, said = look("data.kwargs.embed_key=X_hvg")
    assert fine, said
    assert "X_hvg" not in said


@pytest.mark.xfail(strict=True, reason="Cells")
def test_chosen_genes_that_are_not_those_marked_are_noticed(inputs, look):
    """Every gene would be trained and scored under another's name."""
    chosen_genes(inputs, cut=slice(0, 20), marked=slice(20, 40))
    fine, said = look("data.kwargs.embed_key=X_hvg")
    assert not fine
    assert "screen_rpe1.h5ad" in said
    assert "X_hvg" in said


def without_columns(inputs: Inputs, *columns: str) -> None:
    for path in (inputs.first, inputs.second):
        inputs.edit(lambda adata: adata.obs.drop(columns=[*columns], inplace=True), path)


@pytest.mark.xfail(strict=True, reason="Cells")
def test_screen_without_a_batch_column_is_one_batch(inputs, look):
    without_columns(inputs, "gem_group")
    fine, said = look("data.kwargs.batch_col=null")
    assert fine, said


@pytest.mark.xfail(strict=True, reason="Cells")
def test_screen_without_a_context_column_is_one_context(inputs, look):
    without_columns(inputs, "cell_type")
    text = (inputs.folder / "starter.toml").read_text()
    (inputs.folder / "starter.toml").write_text(text.partition("[fewshot")[0])
    untested = ("splits.test=none", "splits.validation=from_train")
    fine, said = look("data.kwargs.cell_type_key=null", *untested)
    assert fine, said
    assert "in 1 context" in said


@pytest.mark.parametrize("versioned", ["genes", "targets"])
def test_targets_that_differ_from_genes_by_a_version_are_a_warning(inputs, look, versioned):
    def ensembl(name: str, suffix: str) -> str:
        return name if name == "control" else f"ENSG{int(name[1:]):011}{suffix}"

    def change(adata: anndata.AnnData) -> None:
        of_genes, of_targets = (".7", "") if versioned == "genes" else ("", ".7")
        adata.var_names = [ensembl(name, of_genes) for name in adata.var_names]
        adata.obs["gene"] = [ensembl(name, of_targets) for name in adata.obs["gene"]]

    for path in (inputs.first, inputs.second):
        inputs.edit(change, path)
    for at in range(1, 5):
        inputs.toml(f'"g{at}"', f'"{ensembl(f"g{at}", ".7" if versioned == "targets" else "")}"')
    fine, said = look()
    assert fine, said
    (warning,) = [line for line in said.splitlines() if line.startswith("warning")]
    assert "6 of 6 targets" in warning
    assert "ENSG00000000001.7" in warning


ESCAPE = "g5\x1b]0;title\x07\x1b[31m"
"""A label that would name the terminal's window, and colour what follows."""


def test_terminal_escapes_in_labels_are_not_printed_as_they_are(inputs, look, capsys):
    inputs.label("gene", "g5", ESCAPE)
    fine, said = look()
    assert fine, said
    with pytest.raises(DataError):
        validate_features.validate_features(["run/features.pt", *CELLS])
    said += capsys.readouterr().out
    assert "g5" in said
    assert "\x1b" not in said
    assert "\x07" not in said


@pytest.mark.long
def test_terminal_escapes_in_labels_reach_no_log_and_no_box(inputs):
    inputs.label("gene", "g5", ESCAPE)
    done = snakemake(inputs.folder.parent, "--config", "runs=run/run.yaml", "--", "check", expect=1)
    logs = [path.read_text() for path in inputs.folder.parent.rglob("*.log")]
    assert "no vector for 1 of" in done.text
    assert not any("\x1b]0" in text for text in (done.text, *logs))


@pytest.mark.long
def test_terminal_escapes_in_any_label_reach_no_log_and_no_page(tmp_path):
    write_tiny_run(tmp_path, perturbation_features_file=None)
    odd = ESCAPE.removeprefix("g5")
    adata = anndata.read_h5ad(tmp_path / "screen.h5ad")
    for column in adata.obs:
        values = adata.obs[column].astype(str)
        adata.obs[column] = [name if name == "control" else name + odd for name in values]
    adata.var_names = [gene + odd for gene in adata.var_names]
    adata.write_h5ad(tmp_path / "screen.h5ad")
    written = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in odd)
    split = TOML.replace("screen.rpe1", f"screen.rpe1{written}")
    for name in PERTURBATIONS[1:]:
        split = split.replace(f'"{name}"', f'"{name}{written}"')
    (tmp_path / "starter.toml").write_text(split)
    done = snakemake(tmp_path, "--config", "runs=run.yaml", "overrides=evaluation.profile=pds")
    texts = [p.read_text() for p in tmp_path.rglob("*") if p.suffix in (".log", ".html")]
    assert sum("g2" in text for text in texts) > 1
    assert not any("\x1b]" in text for text in (done.text, *texts))
