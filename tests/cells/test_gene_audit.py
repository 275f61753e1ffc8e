"""Genes are compared by name, and targets are looked for among them."""

from __future__ import annotations

import anndata
import h5py
import numpy as np
import pytest

from tests.cells.test_audit import GOOD, audit, messages
from workflow_scripts.cells.cell_settings import CellSettings
from workflow_scripts.cells.matrices import MatrixChoice
from workflow_scripts.cells.packing import pack_cells
from workflow_scripts.cells.store import CellStore

GENES = [f"g{number}" for number in range(30)]
IDS = [f"ENSG{number:011d}" for number in range(30)]


def given(**options: object) -> CellSettings:
    choice = MatrixChoice(**{k: options.pop(k) for k in ("layer", "obsm") if k in options})
    return CellSettings(GOOD.columns, "control", "auto", 10_000.0, matrix=choice, **options)


def test_genes_in_another_order_are_a_note(make_screen):
    found = audit(make_screen("a.h5ad"), make_screen("b.h5ad", genes=GENES[::-1]))
    assert "the same genes as" in messages(found)
    assert {f["severity"] for f in found.report["findings"]} == {"note"}


def test_other_genes_are_an_error_and_kept_in_common_when_asked(make_screen, tmp_path):
    first = make_screen("a.h5ad")
    second = make_screen("b.h5ad", genes=[*GENES[5:], "x", "y"])
    text = messages(audit(first, second))
    assert "2 are only here (x, y), 5 only there (g0, g1, g10" not in text
    assert "2 are only here (x, y), 5 only there (g0, g1, g2, g3, g4)" in text
    assert "or keep the 25 that both have with cells.genes=intersection" in text
    settings = given(genes="intersection")
    found = audit(first, second, settings=settings)
    assert found.report["n_genes"] == 25
    assert [f["severity"] for f in found.report["findings"]] == ["note"] * 3
    pack_cells({"d": {"a": str(first), "b": str(second)}}, settings, tmp_path / "store")
    genes = CellStore.read_genes(tmp_path / "store")
    assert list(genes) == GENES[5:]


def test_ids_in_one_file_and_symbols_in_the_other_are_named(make_screen):
    text = messages(audit(make_screen("a.h5ad"), make_screen("b.h5ad", genes=IDS)))
    assert "its genes are Ensembl ids, those of" in text
    assert "cells.gene_names" in text


def test_ids_that_hide_all_targets_are_a_warning(make_screen):
    found = audit(make_screen(genes=IDS))
    assert "genes are Ensembl ids and perturbations are not" in messages(found)


def test_targets_that_are_not_measured_are_named(make_screen):
    found = audit(make_screen(perturbations=["control", "g1", "g2+Q7", "Q8"]))
    assert "2 of 4 targets are no measured gene: Q7, Q8" in messages(found)


def test_knockdown_is_that_of_the_target_in_its_own_cells(make_screen):
    path = make_screen(perturbations=["control", "g1", "g2+g3"], cells_per_group=50)
    adata = anndata.read_h5ad(path)
    adata.X = adata.X.toarray()
    adata.X[:, :4] += 9  # so that noise is small
    for label, target in (("g1", 1), ("g2+g3", 3)):
        adata.X[np.flatnonzero(adata.obs["gene"] == label), target] = 0
    adata.write_h5ad(path)
    table = {
        (r["context"], r["perturbation"], r["target"]): r for r in audit(path).report["knockdowns"]
    }
    assert set(table) == {
        (context, *pair)
        for context in ("k562", "rpe1")
        for pair in (("g1", "g1"), ("g2+g3", "g2"), ("g2+g3", "g3"))
    }
    row = table["k562", "g1", "g1"]
    assert row["n_cells"] == row["n_controls"] == 50
    # By hand, for one context: scaled to 10,000 counts a cell, means, pseudocount 0.1.
    here = adata.obs["cell_type"] == "k562"
    scaled = adata.X / adata.X.sum(axis=1, keepdims=True) * 1e4
    mean = scaled[(here & (adata.obs["gene"] == "control")).to_numpy(), 1].mean()
    assert row["control_mean"] == pytest.approx(mean, rel=1e-6)
    assert row["log2_fold_change"] == pytest.approx(np.log2(0.1 / (mean + 0.1)), rel=1e-6)
    assert abs(table["rpe1", "g2+g3", "g2"]["log2_fold_change"]) < 0.3


def test_knockdown_of_log1p_values_is_that_of_their_counts(make_screen):
    options = {"perturbations": ["control", "g1"], "cells_per_group": 40}
    counts = make_screen("a.h5ad", **options)
    adata = anndata.read_h5ad(counts)
    adata.X = np.log1p(adata.X.toarray() / adata.X.toarray().sum(axis=1, keepdims=True) * 1e4)
    adata.write_h5ad(counts.with_name("b.h5ad"))
    first, second = (
        audit(path).report["knockdowns"] for path in (counts, counts.with_name("b.h5ad"))
    )
    for one, other in zip(first, second, strict=True):
        assert one["log2_fold_change"] == pytest.approx(other["log2_fold_change"], abs=1e-4)


def add_chosen_genes(path, columns, place=None, *, mark=False):
    adata = anndata.read_h5ad(path)
    matrix = adata.X.toarray()
    logged = np.log1p(matrix / matrix.sum(axis=1, keepdims=True) * 1e4)
    adata.obsm["X_hvg"] = logged[:, columns].astype(np.float32)
    if place:
        adata.uns[place] = np.array([GENES[c] for c in columns])
    if mark:
        adata.var["highly_variable"] = np.isin(np.arange(30), columns)
    adata.write_h5ad(path)
    return adata.obsm["X_hvg"]


@pytest.mark.parametrize("how", [{"place": "X_hvg_names"}, {"place": "hvg_names"}, {"mark": True}])
def test_chosen_genes_carry_their_names(make_screen, tmp_path, how):
    path = make_screen()
    values = add_chosen_genes(path, [2, 5, 7, 11], **how)
    settings = given(obsm="X_hvg")
    found = audit(path, settings=settings)
    assert not [f for f in found.report["findings"] if f["severity"] == "error"]
    assert found.report["n_genes"] == 4
    folder = tmp_path / "store"
    manifest = pack_cells({"d": {"a": str(path)}}, settings, folder)
    assert list(CellStore.read_genes(folder)) == ["g2", "g5", "g7", "g11"]
    assert manifest["n_genes"] == 4
    assert np.load(folder / "values.npy").sum() == pytest.approx(values.sum(), rel=1e-5)


def test_chosen_genes_without_names_are_refused(make_screen):
    path = make_screen()
    add_chosen_genes(path, [2, 5, 7, 11])
    text = messages(audit(path, settings=given(obsm="X_hvg")))
    assert "obsm/X_hvg has 4 columns, and nothing says which genes they are" in text
    assert "uns['X_hvg_names']" in text


def test_missing_layer_is_named_with_the_nearest(make_screen):
    path = make_screen()
    adata = anndata.read_h5ad(path)
    adata.layers["counts"] = adata.X.copy()
    adata.write_h5ad(path)
    text = messages(audit(path, settings=given(layer="count")))
    assert "there is no layers/count: did you mean `counts`? (set cells.layer)" in text
    assert audit(path, settings=given(layer="counts")).report["n_cells"] == 48


def test_file_without_a_matrix_is_no_h5ad(make_screen):
    path = make_screen()
    with h5py.File(path, "a") as file:
        del file["X"]
    assert "not an h5ad file: it has no X" in messages(audit(path))
