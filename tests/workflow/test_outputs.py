"""What a run leaves can be used by others: other people, and scanpy."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import anndata
import numpy as np
import pytest
import scanpy
from scipy.sparse import issparse


def test_outputs_follow_the_umask(shared_run: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    files = [path for name in ("out", "cache") for path in (shared_run / name).rglob("*")]
    modes = {
        str(path.relative_to(shared_run)): stat.S_IMODE(path.stat().st_mode)
        for path in files
        if path.is_file()
    }
    assert len(modes) > 50
    assert {name: oct(mode) for name, mode in modes.items() if mode != 0o666 & ~umask} == {}


@pytest.mark.parametrize("name", ["predictions", "observed", "baselines/ridge"])
def test_scanpy_works_on_cells_as_they_are_read(shared_run: Path, name: str) -> None:
    cells = anndata.read_h5ad(shared_run / "out" / "tiny" / f"{name}.h5ad")
    if issparse(cells.X):
        assert cells.X.indptr.dtype == cells.X.indices.dtype
    scanpy.pp.pca(cells, n_comps=3)
    scanpy.tl.rank_genes_groups(cells, "perturbation", reference="control", method="wilcoxon")
    # Fold changes of log1p values, as scanpy computes them where it knows that they are.
    changed = cells.obs["perturbation"].cat.categories[1]
    found = scanpy.get.rank_genes_groups_df(cells, changed).set_index("names")["logfoldchanges"]
    groups = {
        label: np.asarray(cells[cells.obs["perturbation"] == label].X.mean(axis=0)).ravel()
        for label in (changed, "control")
    }
    expected = np.log2((np.expm1(groups[changed]) + 1e-9) / (np.expm1(groups["control"]) + 1e-9))
    there = (groups[changed] > 0) & (groups["control"] > 0)
    np.testing.assert_allclose(
        found[cells.var_names[there]].to_numpy(), expected[there], rtol=1e-3, atol=1e-3
    )
