"""Files for competitions: what the official tool makes, or what the rules say."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pyarrow
import pytest
from anndata import AnnData
from cell_eval2.norm import validate_input_type
from scipy.sparse import csr_matrix, issparse

from tests.prediction.test_target_list import settings
from workflow_scripts.errors import DataError
from workflow_scripts.prediction.submission import write_submission
from workflow_scripts.prediction.target_list import resolve_targets
from workflow_scripts.settings.choices import VCC2025, VCC2026

CONTROL = "non-targeting"


def write_predictions(
    path: Path,
    *,
    scale: str = "log1p",
    targets: tuple[str, ...] = ("A", "B"),
    contexts: tuple[str, ...] = ("h1",),
    cells: int = 400,
    n_genes: int = 30,
    sparse: bool = True,
    control: str = CONTROL,
    depth: float = 50.0,
) -> AnnData:
    """Write predictions as a run does: perturbed cells, and controls below them."""
    draws = np.random.default_rng(0)
    labels = [(t, c) for c in contexts for t in targets for _ in range(cells)]
    labels += [(control, c) for c in contexts for _ in range(20)]
    values = draws.poisson(depth / n_genes, (len(labels), n_genes)).astype(np.float32)
    if scale == "log1p":
        values = np.log1p(values * (1e4 / values.sum(axis=1, keepdims=True))).astype(np.float32)
    obs = pd.DataFrame(labels, columns=["perturbation", "context"]).astype("category")
    obs.index = [f"cell{n}" for n in range(len(obs))]
    obs["control_barcode"] = "b"
    made = AnnData(
        csr_matrix(values) if sparse else values,
        obs,
        pd.DataFrame(index=[f"g{n}" for n in range(n_genes)]),
        uns={"stateline": {"control": control, "scale": scale, "run": "r"}},
    )
    made.write_h5ad(path)
    return made


def unpacked(archive: Path, folder: Path) -> tuple[AnnData, bytes]:
    """Take a .vcc apart; return its cells and its watermark."""
    folder.mkdir()
    with tarfile.open(archive) as tar:
        assert sorted(tar.getnames()) == ["pred.h5ad.zst", "watermark.txt"]
        tar.extractall(folder, filter="data")
    with pyarrow.input_stream(str(folder / "pred.h5ad.zst"), compression="zstd") as packed:
        (folder / "pred.h5ad").write_bytes(packed.read())
    return anndata.read_h5ad(folder / "pred.h5ad"), (folder / "watermark.txt").read_bytes()


def dense(cells: AnnData) -> np.ndarray:
    return cells.X.toarray() if issparse(cells.X) else cells.X


@pytest.mark.skipif(shutil.which("zstd") is None, reason="cell-eval prep calls zstd")
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("contexts", [("h1",), ("h1", "k562")])
def test_vcc2025_is_what_cell_eval_prep_makes(tmp_path: Path, sparse, contexts) -> None:
    source = tmp_path / "predictions.h5ad"
    made = write_predictions(source, sparse=sparse, contexts=contexts)
    (tmp_path / "genes.csv").write_text("\n".join(made.var_names) + "\n")
    command = [sys.executable, "-m", "cell_eval", "prep", "-i", str(source), "-p", "perturbation"]
    command += ["-g", str(tmp_path / "genes.csv"), "-o", str(tmp_path / "official.vcc")]
    if len(contexts) > 1:
        command += ["-c", "context"]
    subprocess.run(command, check=True, capture_output=True)
    warnings = write_submission("vcc2025", source, tmp_path / "submission.vcc")
    assert len(warnings) == 1
    assert "30 genes, and the Virtual Cell Challenge 2025 scores 18,080" in warnings[0]
    (official, mark), (ours, own_mark) = (
        unpacked(tmp_path / f"{name}.vcc", tmp_path / name) for name in ("official", "submission")
    )
    assert own_mark == mark
    pd.testing.assert_frame_equal(ours.obs, official.obs)
    pd.testing.assert_frame_equal(ours.var, official.var)
    assert issparse(ours.X)
    assert ours.X.dtype == official.X.dtype
    np.testing.assert_array_equal(dense(ours), dense(official))
    assert set(ours.uns) == set(official.uns) == set()
    beside = {path.name for path in tmp_path.iterdir()}
    assert not any("zst" in name or "txt" in name for name in beside)


def test_vcc2026_is_what_the_upload_contract_says(tmp_path: Path) -> None:
    source = tmp_path / "predictions.h5ad"
    made = write_predictions(source, scale="counts", contexts=("a", "b"), depth=2_000.0)
    (warning,) = write_submission("vcc2026", source, tmp_path / "submission.h5ad")
    assert "30 genes" in warning
    cells = anndata.read_h5ad(tmp_path / "submission.h5ad")
    assert list(cells.obs.columns) == ["target_gene", "context"]
    sizes = cells.obs.groupby(["target_gene", "context"], observed=True).size()
    assert sizes.to_dict() == {(t, c): 400 for t in "AB" for c in "ab"}
    assert list(cells.var_names) == list(made.var_names)
    assert issparse(cells.X)
    validate_input_type(cells, "counts")  # the scorer's own check
    perturbed = made[made.obs["perturbation"] != CONTROL]
    np.testing.assert_array_equal(dense(cells), dense(perturbed))


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("vcc2026", {"scale": "log1p"}, "values are log1p.*set prediction.output=counts"),
        ("vcc2025", {"scale": "counts"}, "values are counts.*set prediction.output=log1p"),
        ("vcc2026", {"scale": "counts", "cells": 399}, "takes 400 cells.*A in h1: 399"),
        ("vcc2026", {"scale": "counts", "depth": 1.1e6}, "a cell with 1,1.* takes 1,000,000"),
        ("vcc2025", {"cells": 100_000, "n_genes": 3}, "200,020 cells.*takes 200,000"),
    ],
)
def test_what_breaks_the_rules_is_refused(tmp_path: Path, kind, given, said) -> None:
    write_predictions(tmp_path / "predictions.h5ad", **given)
    with pytest.raises(DataError, match=said):
        write_submission(kind, tmp_path / "predictions.h5ad", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.h5ad"]


def test_another_name_of_the_control_is_said(tmp_path: Path) -> None:
    write_predictions(tmp_path / "predictions.h5ad", control="ctrl")
    warnings = write_submission("vcc2025", tmp_path / "predictions.h5ad", tmp_path / "s.vcc")
    assert any("called 'ctrl'" in text and "'non-targeting'" in text for text in warnings)
    assert VCC2025.control == CONTROL


@pytest.mark.parametrize(("n_cells", "wrong"), [("400", 0), ("399", 1), ("", 0)])
def test_listed_numbers_of_cells_are_held_to_the_contract(tmp_path: Path, n_cells, wrong) -> None:
    table = tmp_path / "want.csv"
    table.write_text(f"perturbation,context,n_cells\nA,h1,{n_cells}\nB,h1,400\n")
    asked = settings(
        table, CONTROL, cells_per_target=VCC2026.cells_per_target, submission="vcc2026"
    )
    groups = pd.DataFrame({"context": ["h1"], "perturbation": [CONTROL], "n_cells": [9]})
    _, findings = resolve_targets(asked, groups)
    assert len(findings) == wrong
    assert all("A in h1: 399" in finding.message for finding in findings)
