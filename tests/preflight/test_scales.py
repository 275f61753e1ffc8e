"""Values that are no log1p of normalised counts, or on two scales, are told by looking at them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from anndata import AnnData

from tests.preflight.good_run import Inputs
from tests.preflight.test_corpus import findings
from tests.preflight.test_spellings import inputs  # noqa: F401
from tests.stages import Stages
from workflow_scripts.cells import sampled
from workflow_scripts.errors import DataError

CUT = slice(0, 40)
"""Half of the genes, so that the sums of cells say nothing."""


def normalised(counts: np.ndarray, target: float = 1e4) -> np.ndarray:
    return counts / counts.sum(axis=1, keepdims=True) * target


def log_of_log(counts: np.ndarray) -> np.ndarray:
    return np.log1p(np.log1p(normalised(counts)))


def log2(counts: np.ndarray) -> np.ndarray:
    return np.log2(1.0 + normalised(counts))


def log_of_normalised(counts: np.ndarray) -> np.ndarray:
    return np.log1p(normalised(counts))


def as_columns(adata: AnnData) -> AnnData:
    adata.X = scipy.sparse.csc_matrix(adata.X)
    return adata


def not_logged(counts: np.ndarray) -> np.ndarray:
    return normalised(counts, 100.0)


def write(
    inputs: Inputs,  # noqa: F811
    change: Callable[[np.ndarray], np.ndarray],
    genes: slice = slice(None),
    second: Callable[[np.ndarray], np.ndarray] | None = None,
    base: float | None = None,
) -> None:
    """Give both files log1p values of their counts, as ``change`` makes them."""
    for path, how in ((inputs.first, change), (inputs.second, second or change)):

        def edit(adata, how=how):
            values = np.asarray(how(adata.X.astype(np.float64)), dtype=np.float32)
            adata.X = values
            adata.uns["log1p"] = {} if base is None else {"base": base}
            return adata[:, genes].copy()

        inputs.edit(edit, path)


def said(inputs: Inputs, folder: Path, *overrides: str) -> list[tuple[str, str]]:  # noqa: F811
    """Check a run; return what is said of values, other than notes."""
    try:
        Stages(inputs.run_file, overrides).check()
        failed = False
    except DataError:
        failed = True
    found = [(f["severity"], f["message"]) for f in findings(folder) if f["severity"] != "note"]
    assert failed == ("error" in dict(found))
    return found


@pytest.mark.parametrize("genes", [slice(None), CUT])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (log_of_log, "log1p taken twice"),
        (log2, "log2(1 + x)"),
        (lambda counts: log2(counts) / np.log2(10.0), "log10(1 + x)"),
    ],
)
def test_another_logarithm_is_an_error(inputs, tmp_path, change, words, genes):  # noqa: F811
    write(inputs, change, genes)
    found = said(inputs, tmp_path)
    assert [severity for severity, _ in found] == ["error", "error"]
    for name, (_, text) in zip(("screen_k562", "screen_rpe1"), found, strict=True):
        assert f"{name}.h5ad: X" in text
        assert words in text
        assert "cells.values=log1p" in text
    declared = said(inputs, tmp_path, "cells.values=log1p")
    assert [severity for severity, _ in declared] == ["warning", "warning"]


def test_cells_of_large_csc_files_are_looked_at_too(inputs, tmp_path, monkeypatch):  # noqa: F811
    for name, value in (("WHOLE_VALUES", 10), ("SAMPLED_CELLS", 30), ("BLOCK_VALUES", 999)):
        monkeypatch.setattr(sampled, name, value)
    for change, wanted in ((log_of_log, ["error"] * 2), (log_of_normalised, [])):
        write(inputs, change)
        for path in (inputs.first, inputs.second):
            inputs.edit(as_columns, path)
        assert [severity for severity, _ in said(inputs, tmp_path)] == wanted


def test_normalised_values_of_some_genes_that_were_not_logged(inputs, tmp_path):  # noqa: F811
    write(inputs, not_logged, CUT)
    assert all(severity == "error" for severity, _ in said(inputs, tmp_path))
    assert "not logged" in said(inputs, tmp_path)[0][1]


@pytest.mark.parametrize("genes", [slice(None), CUT])
def test_log1p_of_normalised_counts_is_taken_in_silence(inputs, tmp_path, genes):  # noqa: F811
    write(inputs, log_of_normalised, genes)
    assert said(inputs, tmp_path) == []


def test_a_base_that_the_values_contradict_is_stale(inputs, tmp_path):  # noqa: F811
    write(inputs, log_of_normalised, base=2.0)
    assert said(inputs, tmp_path) == []


def noisy(counts: np.ndarray, *, cut: bool = True) -> np.ndarray:
    """Return counts that are no whole numbers, as denoising leaves them."""
    noise = np.random.default_rng(0).uniform(0.5, 1.5, counts.shape)
    return np.log1p(normalised(counts * noise))


def test_fractional_counts_are_a_warning(inputs, tmp_path):  # noqa: F811
    write(inputs, noisy, CUT)
    found = said(inputs, tmp_path)
    assert [severity for severity, _ in found] == ["warning", "warning"]
    assert "denoised" in found[0][1]


def test_fractional_counts_of_all_genes_that_are_normalised(inputs, tmp_path):  # noqa: F811
    write(inputs, noisy)
    assert said(inputs, tmp_path) == []


def test_a_base_that_uns_names_is_believed_where_the_values_leave_it_open(
    inputs,  # noqa: F811
    tmp_path,
):
    write(inputs, noisy, CUT, base=2.0)
    found = said(inputs, tmp_path)
    assert found[0][0] == "error"
    assert "uns['log1p']['base'] is 2" in found[0][1]


@pytest.mark.parametrize(
    ("target", "severity"), [(150.0, "error"), (8e3, "warning"), (9.9e3, None)]
)
def test_files_with_other_target_sums(inputs, tmp_path, target, severity):  # noqa: F811
    write(
        inputs,
        lambda counts: np.log1p(normalised(counts)),
        second=lambda counts: np.log1p(normalised(counts, target)),
    )
    found = said(inputs, tmp_path)
    assert [one for one, _ in found] == [severity] * (severity is not None)
    if severity:
        assert "screen_k562.h5ad (k562) to 10000" in found[0][1]
        assert f"screen_rpe1.h5ad (rpe1) to {target:.6g}" in found[0][1]
    found = said(inputs, tmp_path, "cells.values=log1p")
    assert {one for one, _ in found} <= {"warning"}


def test_contexts_of_one_file_with_other_target_sums(inputs, tmp_path):  # noqa: F811
    def two(adata):
        adata.obs["cell_type"] = np.where(np.arange(adata.n_obs) % 2, "rpe1", "rpe2")
        target = np.where(np.arange(adata.n_obs) % 2, 1e4, 3e3)[:, None]
        adata.X = np.log1p(normalised(adata.X, 1.0) * target).astype(np.float32)

    write(inputs, lambda counts: np.log1p(normalised(counts)), second=lambda counts: counts)
    inputs.edit(two)
    ((severity, text),) = said(inputs, tmp_path)
    assert severity == "error"
    assert "screen_rpe1.h5ad (rpe2) to 3000" in text
