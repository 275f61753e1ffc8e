"""Genes are chosen on training cells alone, as scanpy does it, or as a list says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy

from tests.cells.test_packing import pack
from workflow_scripts.cells.gene_choice import ChosenGenes, GeneChoice
from workflow_scripts.cells.gene_selection import (
    GeneSelection,
    select_listed,
    select_variable,
    training_rows,
)
from workflow_scripts.cells.store import CellStore
from workflow_scripts.errors import DataError

GENES = [f"g{number}" for number in range(200)]
HVG = GeneChoice("hvg", n_top=25, keep_targets=False, file=None)
HELD_OUT = {("rpe1", "A"): "test", ("rpe1", "B"): "val", ("k562", "C"): "dropped"}


@pytest.fixture
def path(make_screen) -> Path:
    """Return a screen with genes of different means, and perturbations that are genes."""
    path = make_screen(
        "screen.h5ad", genes=GENES, cells_per_group=20, perturbations=("control", "A", "B", "C")
    )
    generator = np.random.default_rng(3)
    adata = anndata.read_h5ad(path)
    means = np.geomspace(0.05, 30, len(GENES)) * generator.gamma(1.0, size=(adata.n_obs, 1))
    spread = generator.uniform(0.3, 5, len(GENES))
    adata.X = generator.poisson(means * generator.gamma(spread, 1 / spread, means.shape))
    adata.X = adata.X.astype(np.float32)
    adata.X[:, 150] += 1
    adata.write_h5ad(path)
    return path


def splits_of(store: CellStore, **policy: str) -> pd.DataFrame:
    keys = ["dataset", "file", "context", "perturbation"]
    table = store.cells[[*keys, "is_control"]].drop_duplicates().astype(dict.fromkeys(keys, str))
    pairs = zip(table["context"], table["perturbation"], strict=True)
    table["split"] = [HELD_OUT.get(pair, "train") for pair in pairs]
    table.loc[table["is_control"], "split"] = "control"
    kept_out = table["is_control"] & (table["context"] == policy.get("keep_out"))
    table.loc[kept_out, "split"] = "held_out_control"
    return table


def choose(store: CellStore, choice: GeneChoice = HVG, **options: object) -> GeneSelection:
    given = {"flavor": "seurat", "sample_cells": 10_000, **options}
    return select_variable(store, splits_of(store), choice, **given)


def by_hand(path: Path, flavor: str) -> pd.DataFrame:
    """Return what a person would type, on the training cells of the file."""
    adata = anndata.read_h5ad(path)
    pairs = zip(adata.obs["cell_type"], adata.obs["gene"], strict=True)
    adata = adata[[pair not in HELD_OUT for pair in pairs]].copy()
    scanpy.pp.normalize_total(adata, target_sum=1e4)
    scanpy.pp.log1p(adata)
    scanpy.pp.highly_variable_genes(adata, n_top_genes=HVG.n_top, flavor=flavor)
    return adata.var


@pytest.mark.parametrize("flavor", ["seurat", "cell_ranger"])
def test_genes_are_those_of_a_plain_scanpy_call_on_the_training_cells(tmp_path, path, flavor):
    selection = choose(pack(tmp_path / "store", path), flavor=flavor)
    expected = by_hand(path, flavor)
    assert selection.record["genes"] == list(expected.index[expected["highly_variable"]])
    assert selection.record["n_highly_variable"] == HVG.n_top
    for column in ("means", "dispersions", "dispersions_norm"):
        np.testing.assert_allclose(selection.table[column], expected[column], rtol=1e-4)


def test_held_out_cells_decide_nothing(tmp_path, path):
    first = choose(pack(tmp_path / "first", path))
    adata = anndata.read_h5ad(path)
    generator = np.random.default_rng(9)
    pairs = zip(adata.obs["cell_type"], adata.obs["gene"], strict=True)
    held_out = np.array([pair in HELD_OUT for pair in pairs])
    adata.X[held_out] = generator.poisson(40, adata.X[held_out].shape)
    adata.write_h5ad(path)
    second = choose(pack(tmp_path / "second", path))
    assert first.record == second.record
    pd.testing.assert_frame_equal(first.table, second.table)
    adata.X[~held_out] = generator.poisson(40, adata.X[~held_out].shape)
    adata.write_h5ad(path)
    assert choose(pack(tmp_path / "third", path)).record["genes"] != first.record["genes"]


def test_controls_that_train_are_looked_at_and_others_are_not(tmp_path, path):
    store = pack(tmp_path / "store", path)
    for policy, contexts in (({}, {"k562", "rpe1"}), ({"keep_out": "rpe1"}, {"k562"})):
        cells = store.cells.iloc[training_rows(store.cells, splits_of(store, **policy))]
        assert set(cells.loc[cells["is_control"], "context"]) == contexts
        pairs = zip(cells["context"], cells["perturbation"], strict=True)
        assert not set(pairs) & HELD_OUT.keys()


def test_a_sample_is_spread_over_the_groups_and_said(tmp_path, path):
    store = pack(tmp_path / "store", path)
    whole, part = choose(store), choose(store, sample_cells=50)
    assert (whole.record["n_cells_looked_at"], part.record["n_cells_looked_at"]) == (100, 50)
    assert whole.record["sentence"].endswith(
        "25 highly variable in 100 training cells (scanpy, seurat)"
    )
    assert "in 50 of 100 training cells" in part.record["sentence"]
    assert part.record == choose(store, sample_cells=50).record
    assert part.record["genes"] != whole.record["genes"]


def test_measured_targets_are_kept_by_their_names(tmp_path, path):
    adata = anndata.read_h5ad(path)
    names = {"A": "g1", "B": "g2+g3", "C": "g4"}  # held out, a combination, and dropped in k562
    adata.obs["gene"] = adata.obs["gene"].astype(str).replace(names).astype("category")
    adata.write_h5ad(path)
    store = pack(tmp_path / "store", path)
    splits = splits_of(store)
    splits.loc[splits["perturbation"] == "g1", "split"] = "test"
    splits.loc[splits["perturbation"] == "g4", "split"] = "dropped"
    options = {"flavor": "seurat", "sample_cells": 10_000}
    bare = select_variable(store, splits, HVG, **options).record
    assert not {"g1", "g2", "g3", "g4"} & set(bare["genes"])
    kept = select_variable(store, splits, replace(HVG, keep_targets=True), **options)
    assert kept.record["targets_added"] == ["g1", "g2", "g3"]
    assert set(kept.record["genes"]) == {*bare["genes"], "g1", "g2", "g3"}
    assert kept.record["genes"] == [gene for gene in GENES if gene in set(kept.record["genes"])]
    assert kept.record["sentence"].startswith("28 of 200 genes: 25 highly variable in")
    assert kept.record["sentence"].endswith(", 3 other targets added")
    assert (kept.table["chosen"] == "target").sum() == 3


def test_more_genes_than_there_are(tmp_path, path):
    selection = choose(pack(tmp_path / "store", path), replace(HVG, n_top=5_000))
    assert selection.record["genes"] == GENES


def test_bins_that_scanpy_can_not_make_are_said(tmp_path, path):
    adata = anndata.read_h5ad(path)
    adata.X[:, :60] = 0
    adata.write_h5ad(path)
    store = pack(tmp_path / "store", path)
    assert choose(store).record["n_highly_variable"] == HVG.n_top
    with pytest.raises(DataError, match=r"genes\.flavor=cell_ranger: scanpy .* choose seurat"):
        choose(store, flavor="cell_ranger")


def listed(folder: Path, text: str | bytes) -> GeneChoice:
    file = folder / "my_genes.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return GeneChoice("list", n_top=2000, keep_targets=True, file=str(file))


def test_a_list_is_taken_as_it_is_in_the_order_of_the_store(tmp_path, path):
    store = pack(tmp_path / "store", path)
    text = "\ufeff# mine\r\ng7   # a comment\r\n\r\n  g2\r\ng150\r\n"
    record = select_listed(store, listed(tmp_path, text)).record
    assert record["genes"] == ["g2", "g7", "g150"]
    assert record["sentence"] == "3 of 200 genes: the list my_genes.txt"
    same = select_listed(store, listed(tmp_path, "g150\ng7\ng2")).record
    assert same["digest"] == record["digest"]
    assert select_listed(store, listed(tmp_path, "g150\ng7")).record["digest"] != record["digest"]
    file = tmp_path / "genes.json"
    file.write_text(json.dumps(record))
    assert ChosenGenes.read(file).names == ("g2", "g7", "g150")


def test_a_list_that_is_none_is_refused(tmp_path, path):
    store = pack(tmp_path / "store", path)
    for text, words in (("g1\nG2", "G2 (did you mean g2?)"), ("# none", "names no gene")):
        with pytest.raises(DataError) as error:
            select_listed(store, listed(tmp_path, text))
        assert words in str(error.value)
        assert "my_genes.txt (genes.file)" in str(error.value)
    with pytest.raises(DataError, match=r"genes\.file\): no text file"):
        select_listed(store, listed(tmp_path, b"\x89HDF\r\n\xff"))
    with pytest.raises(DataError, match=r"not a selection of genes"):
        ChosenGenes.read(tmp_path / "my_genes.txt")
