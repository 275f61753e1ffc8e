"""Problems of the input files are found, named and explained, all of them in one go."""

from __future__ import annotations

import anndata
import h5py
import numpy as np
import pytest

from workflow_scripts.cells.annotations import Columns
from workflow_scripts.cells.audit import CellAudit, audit_cells
from workflow_scripts.cells.cell_settings import CellSettings
from workflow_scripts.cells.split_file import label_files

GOOD = CellSettings(Columns("gene", "cell_type", "gem_group"), "control", "auto", 10_000.0)


def audit(*paths: object, settings: CellSettings = GOOD) -> CellAudit:
    return audit_cells({"screen": label_files([str(path) for path in paths])}, settings)


def messages(result: CellAudit) -> str:
    return "\n".join(finding["message"] for finding in result.report["findings"])


def test_good_file_has_no_findings(make_screen):
    result = audit(make_screen())
    assert result.report["findings"] == []
    assert result.report["contexts"]["k562"] == {
        "n_cells": 24,
        "n_control_cells": 6,
        "n_perturbations": 3,
    }
    assert result.groups["n_cells"].sum() == 48


def test_missing_file_is_named(make_screen, tmp_path):
    result = audit(make_screen(), tmp_path / "gone.h5ad")
    assert "gone.h5ad: no such file" in messages(result)


def test_text_file_is_no_h5ad(tmp_path):
    (tmp_path / "cells.h5ad").write_text("cell,gene\n")
    assert "cells.h5ad: not a readable h5ad" in messages(audit(tmp_path / "cells.h5ad"))


def test_missing_columns_are_all_named_with_the_nearest(make_screen):
    settings = CellSettings(Columns("genes", "celltype", "gem_group"), "control", "auto", 1e4)
    text = messages(audit(make_screen(), settings=settings))
    assert "no column 'genes'" in text
    assert "did you mean 'gene'? set data.kwargs.pert_col" in text
    assert "did you mean 'cell_type'? set data.kwargs.cell_type_key" in text


def test_missing_control_shows_the_nearest_labels(make_screen):
    settings = CellSettings(GOOD.columns, "contrl", "auto", 1e4)
    text = messages(audit(make_screen(), settings=settings))
    assert "no cell is labelled 'contrl', the control (near it: control)" in text


def test_missing_control_shows_what_controls_are_called(make_screen):
    path = make_screen(perturbations=("non-targeting", "A", "B"))
    settings = CellSettings(GOOD.columns, "NT", "auto", 1e4)
    assert "(near it: non-targeting)" in messages(audit(path, settings=settings))


def test_context_without_controls_is_an_error(make_screen):
    path = make_screen()
    adata = anndata.read_h5ad(path)
    keep = ~((adata.obs["gene"] == "control") & (adata.obs["cell_type"] == "rpe1"))
    adata[keep.to_numpy()].write_h5ad(path)
    assert "context 'rpe1' (dataset screen) has no cell labelled 'control'" in messages(audit(path))


def test_missing_labels_are_counted(make_screen):
    path = make_screen()
    adata = anndata.read_h5ad(path)
    adata.obs["gene"] = adata.obs["gene"].where(np.arange(adata.n_obs) != 3)
    adata.write_h5ad(path)
    text = "obs column 'gene' (data.kwargs.pert_col) has 1 missing values, first in rows 3"
    assert text in messages(audit(path))


def test_mixed_counts_and_log1p_are_an_error(make_screen):
    text = messages(audit(make_screen("a.h5ad"), make_screen("b.h5ad", values="log1p")))
    assert "some files hold raw counts" in text
    assert "b.h5ad); make them the same" in text


def test_pattern_that_matches_nothing_is_an_error():
    result = audit_cells({"screen": {}}, GOOD, None, {"screen": ["/data/a_*.h5ad", "/data/b"]})
    assert "dataset screen: /data/a_*.h5ad, /data/b matches no file" in messages(result)
    unnamed = audit_cells({"screen": {}}, GOOD)
    assert "dataset screen: what names its files matches no file" in messages(unnamed)


def test_duplicate_genes_are_an_error(make_screen):
    path = make_screen(genes=["g0", "g1", "g1", *(f"g{number}" for number in range(3, 30))])
    assert "1 gene names occur more than once (g1)" in messages(audit(path))


def test_gene_name_column_beats_the_index(make_screen):
    path = make_screen()
    adata = anndata.read_h5ad(path)
    adata.var["gene_name"] = [f"SYMBOL{number}" for number in range(adata.n_vars)]
    adata.write_h5ad(path)
    other = make_screen("b.h5ad", genes=[f"SYMBOL{number}" for number in range(30)], seed=1)
    assert "genes are not those" not in messages(audit(path, other))


@pytest.mark.parametrize("encoding", ["csr", "csc", "dense"])
def test_values_are_recognised_whatever_the_encoding(make_screen, encoding):
    for values in ("counts", "log1p"):
        entry = audit(make_screen(encoding=encoding, values=values)).report["datasets"]["screen"][0]
        assert entry["values"] == values


def test_file_in_two_datasets_is_an_error(make_screen):
    path = str(make_screen())
    result = audit_cells({"one": {"screen": path}, "two": {"screen": path}}, GOOD)
    assert "belongs to dataset one and to dataset two" in messages(result)


@pytest.mark.parametrize(
    ("label", "severity", "words"),
    [
        ("A ", "error", "only by blanks"),
        ("a", "warning", "only by case"),
        (" ", "error", "missing values (written as ' ')"),
    ],
)
def test_labels_that_read_alike_are_found(make_screen, label, severity, words):
    names = ("control", "A", label)
    findings = audit(make_screen(perturbations=names)).report["findings"]
    assert any(f["severity"] == severity and words in f["message"] for f in findings)


def test_labels_stored_as_codes_of_an_old_anndata_are_refused(make_screen):
    path = make_screen()
    with h5py.File(path, "a") as file:
        codes, names = file["obs/gene/codes"][:], file["obs/gene/categories"][:]
        del file["obs/gene"]
        file["obs/__categories/gene"] = names
        column = file["obs"].create_dataset("gene", data=codes)
        column.attrs["categories"] = file["obs/__categories/gene"].ref
    assert "stored as anndata before 0.8 did it" in messages(audit(path))
