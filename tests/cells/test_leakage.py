"""A cell that stands in the data twice is found under any name, and never trains and tests."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from tests.cells.test_audit import GOOD, audit
from workflow_scripts.cells import leakage, sampled
from workflow_scripts.cells.digests import gene_keys, row_digests
from workflow_scripts.cells.leakage import leaks
from workflow_scripts.cells.packing import pack_cells


def random_rows(n_rows: int = 200, n_genes: int = 90) -> scipy.sparse.csr_matrix:
    generator = np.random.default_rng(3)
    return scipy.sparse.csr_matrix(generator.poisson(1.0, (n_rows, n_genes)).astype(np.float32))


def test_digest_does_not_depend_on_the_order_of_genes_or_the_type_of_counts():
    rows, genes = random_rows(), np.array([f"g{n}" for n in range(90)])
    order = np.random.default_rng(0).permutation(90)
    moved = rows[:, order].tocsr()
    first = row_digests(rows, gene_keys(genes))
    np.testing.assert_array_equal(first, row_digests(moved, gene_keys(genes[order])))
    np.testing.assert_array_equal(first, row_digests(rows.astype(np.int32), gene_keys(genes)))


def test_any_changed_value_or_gene_changes_the_digest():
    rows, genes = random_rows(), np.array([f"g{n}" for n in range(90)])
    first = row_digests(rows, gene_keys(genes))
    assert len(np.unique(first)) == len(first)
    other = rows.copy()
    other.data[0] += 1
    assert (row_digests(other, gene_keys(genes)) != first).sum() == 1
    renamed = np.where(genes == "g5", "h5", genes)
    changed = row_digests(rows, gene_keys(renamed)) != first
    np.testing.assert_array_equal(changed, np.asarray((rows[:, 5] != 0).todense()).ravel())


def with_copy(path: Path, into: Path, rows: list[int], **obs: str) -> None:
    """Append rows of one file to another, under names of their own."""
    source, target = anndata.read_h5ad(path), anndata.read_h5ad(into)
    copies = source[rows].copy()
    copies.obs_names = (
        obs.pop("name", "copy-{}").format(0),
        *(f"copy-{number}" for number in range(1, len(rows))),
    )
    copies.obs = copies.obs.astype(str).assign(**obs)
    target.obs = target.obs.astype(str)
    both = anndata.concat([target, copies])
    both.obs = both.obs.astype("category")
    both.write_h5ad(into)


@pytest.fixture
def screens(make_screen):
    genes = tuple(f"g{number}" for number in range(80))
    return make_screen("a.h5ad", genes=genes), make_screen("b.h5ad", genes=genes, seed=1)


def test_copied_cell_is_found_under_another_name_and_label(screens):
    first, second = screens
    assert not len(audit(first, second).twins)
    with_copy(first, second, [3], gene="A")
    found = audit(first, second)
    assert set(found.twins["barcode"]) == {"a-3", "copy-0"}
    (warning,) = [f for f in found.report["findings"] if f["code"] == "equal-cells"]
    assert "a.h5ad:a-3 = b.h5ad:copy-0" in warning["message"]


def test_copy_of_a_whole_file_is_an_error(screens):
    first, second = screens
    found = [f["code"] for f in audit(first, second).report["findings"]]
    assert "copied-file" not in found
    copy = first.with_name("copy.h5ad")
    copy.write_bytes(first.read_bytes())
    (error,) = [
        f for f in audit(first, second, copy).report["findings"] if f["severity"] == "error"
    ]
    assert error["message"].startswith(f"{copy} is a copy of {first} ")
    # A part of it is no copy of the file; its cells are still named.
    anndata.read_h5ad(first)[:40].copy().write_h5ad(copy)
    found = [f["code"] for f in audit(first, second, copy).report["findings"]]
    assert "equal-cells" in found
    assert "copied-file" not in found


def test_namesakes_are_compared_where_only_a_sample_is_read(screens, monkeypatch):
    first, second = screens
    with_copy(first, second, [3], name="a-3-1")
    monkeypatch.setattr(sampled, "WHOLE_VALUES", 10)
    monkeypatch.setattr(sampled, "SAMPLED_CELLS", 1)
    found = audit(first, second)
    assert found.report["n_looked_at"] == 2
    assert set(found.twins["barcode"]) == {"a-3", "a-3-1"}


def test_namesakes_with_other_values_are_no_copies(screens, monkeypatch):
    first, second = screens
    adata = anndata.read_h5ad(second)
    adata.obs_names = anndata.read_h5ad(first).obs_names
    adata.write_h5ad(second)
    monkeypatch.setattr(sampled, "WHOLE_VALUES", 10)
    assert not len(audit(first, second).twins)
    assert adata.n_obs < leakage.MOST_NAMESAKES


def splits(**of: str) -> pd.DataFrame:
    rows = [
        ("screen", file, context, perturbation, of.get(f"{file[0]}_{perturbation}", "train"))
        for file in ("a.h5ad", "b.h5ad")
        for context in ("k562", "rpe1")
        for perturbation in ("control", "A", "B", "C")
    ]
    return pd.DataFrame(rows, columns=["dataset", "file", "context", "perturbation", "split"])


@pytest.mark.parametrize(
    ("of", "leaking"),
    [
        ({}, False),
        ({"a_A": "test", "b_B": "test"}, False),
        ({"a_A": "test"}, True),
        ({"b_B": "val"}, True),
        ({"a_A": "test", "b_B": "dropped"}, False),
        ({"a_A": "test", "b_B": "held_out_control"}, False),
        ({"a_A": "test", "b_B": "control"}, True),
    ],
)
def test_leak_is_a_held_out_cell_that_trains_under_another_label(screens, of, leaking):
    first, second = screens
    labels = anndata.read_h5ad(first).obs["gene"]
    with_copy(first, second, [int(np.flatnonzero(labels == "A")[0])], gene="B")
    found = leaks(splits(**of), audit(first, second).twins)
    assert bool(found) is leaking
    for finding in found:
        assert finding.severity == "error"
        assert "1 held-out cells are among the training cells under another name" in finding.message


def test_packing_compares_all_cells(screens, tmp_path, monkeypatch):
    first, second = screens
    with_copy(first, second, [3])
    folder = tmp_path / "store"
    pack_cells({"screen": {"a.h5ad": str(first), "b.h5ad": str(second)}}, GOOD, folder)
    twins = pd.read_parquet(folder / "twins.parquet")
    assert set(twins["barcode"]) == {"a-3", "copy-0"}
    pd.testing.assert_frame_equal(twins, audit(first, second).twins, check_dtype=False)
