"""Counts drawn from predicted profiles: whole, with the totals and means that were predicted."""

from __future__ import annotations

import anndata
import numpy as np
import pytest

from tests.prediction.test_predictions import splits, store, targets  # noqa: F401
from workflow_scripts.cells.annotations import Columns
from workflow_scripts.cells.cell_settings import CellSettings
from workflow_scripts.cells.manifest import write_manifest
from workflow_scripts.cells.packing import pack_cells
from workflow_scripts.cells.predicted_cells import (
    Blocks,
    Predicted,
    describe,
    write_observed,
    write_predicted,
)
from workflow_scripts.cells.store import CellStore
from workflow_scripts.cells.targets import Targets
from workflow_scripts.errors import DataError
from workflow_scripts.prediction.counts import Counts, library_sizes
from workflow_scripts.settings.choices import COUNTS
from workflow_scripts.settings.slices import Slice


def in_blocks(cells: np.ndarray, targets: Targets, sets_per_pass: int) -> Blocks:  # noqa: F811
    """Give predicted cells as a model does: whole sets at a time."""
    edges = np.cumsum([0, *targets.sets.counts])
    for at in range(0, len(edges) - 1, sets_per_pass):
        stop = edges[min(at + sets_per_pass, len(edges) - 1)]
        yield Predicted(cells[edges[at] : stop].astype(np.float32))


def drawn(draws: Counts, cells, store, targets, sets_per_pass=2, first=0) -> np.ndarray:  # noqa: F811
    blocks = in_blocks(cells, targets, sets_per_pass)
    made = draws.round(blocks, store, targets, first)
    return np.concatenate([block.expression for block in made])


@pytest.fixture
def profiles(store, targets):  # noqa: F811
    """Log1p values that no normalisation made, as a model predicts them; some below 0."""
    shape = (len(targets.paired), store.n_genes)
    return np.random.default_rng(0).normal(2.0, 1.5, shape)


def test_totals_and_means_are_kept(store, targets, profiles):  # noqa: F811
    many = np.mean([drawn(Counts(seed), profiles, store, targets) for seed in range(400)], 0)
    sizes = library_sizes(store, targets.paired)
    own = np.expm1(np.maximum(profiles.astype(np.float32), 0))
    expected = own / own.sum(axis=1, keepdims=True) * sizes[:, None]
    np.testing.assert_array_equal(sizes, store.stored(targets.paired).toarray().sum(axis=1))
    for found, wanted in ((many, expected), (many.sum(axis=1), sizes)):
        error = np.sqrt(wanted / 400) + 1e-9  # a Poisson's variance is its mean
        assert np.abs((found - wanted) / error).max() < 5
    assert (many[profiles <= 0] == 0).all()


def test_counts_depend_on_neither_passes_nor_other_cells(store, targets, profiles):  # noqa: F811
    one, all_at_once = (drawn(Counts(3), profiles, store, targets, n) for n in (1, 100))
    assert np.array_equal(one, all_at_once)
    other = profiles.copy()
    other[5, ::2] += 1.0
    changed = drawn(Counts(3), other, store, targets)
    differs = (changed != drawn(Counts(3), profiles, store, targets)).any(axis=1)
    assert np.flatnonzero(differs).tolist() == [5]
    assert not np.array_equal(one, drawn(Counts(4), profiles, store, targets))


def test_rounding_of_a_prediction_changes_few_counts(store, targets, profiles):  # noqa: F811
    rounded = profiles * (1 + 1e-6 * np.random.default_rng(5).normal(size=profiles.shape))
    before, after = (drawn(Counts(3), cells, store, targets) for cells in (profiles, rounded))
    assert np.mean(before != after) < 1e-3


def test_files_of_counts_hold_raw_counts(tmp_path, store, targets, profiles):  # noqa: F811
    described = describe(store, "run", COUNTS)
    blocks = Counts(0).round(in_blocks(profiles, targets, 2), store, targets)
    path = tmp_path / "predictions.h5ad"
    assert write_predicted(path, store, targets, blocks, described, clip=True) == 0
    write_observed(tmp_path / "observed.h5ad", store, targets, described)
    predictions, observed = (
        anndata.read_h5ad(tmp_path / f"{n}.h5ad") for n in (path.stem, "observed")
    )
    for cells in (predictions, observed):
        values = cells.X.toarray() if hasattr(cells.X, "toarray") else cells.X
        assert np.array_equal(values, np.rint(values))
        assert cells.uns["stateline"]["scale"] == "counts"
    n_predicted = len(targets.paired)
    rows = [targets.observed, targets.controls]
    np.testing.assert_array_equal(
        observed.X.toarray(), store.stored(np.concatenate(rows)).toarray()
    )
    assert "clipped_at" not in predictions.uns["stateline"]
    assert predictions.uns["stateline"]["controls"] == "observed"
    below = predictions.X[n_predicted:]
    np.testing.assert_array_equal(
        below.toarray() if hasattr(below, "toarray") else below,
        store.stored(targets.controls).toarray(),
    )


def test_log1p_values_are_refused_as_a_source_of_counts(tmp_path, make_screen, targets):  # noqa: F811
    settings = CellSettings(Columns("gene", "cell_type", "gem_group"), "control", "auto", 1e4)
    path = make_screen(values="log1p")
    manifest = pack_cells({"d": {"screen": str(path)}}, settings, tmp_path / "store")
    write_manifest({**manifest, "folder": "store"}, tmp_path / "manifest.json")
    with pytest.raises(DataError, match=r"came as log1p values.*prediction\.output=log1p"):
        Counts.of(
            Slice({"prediction.output": COUNTS}, {}),
            CellStore.open(tmp_path / "manifest.json"),
        )


def test_values_that_vary_as_among_cells_are_rounded(store, targets, profiles):  # noqa: F811
    cells = np.maximum(profiles, 0.0)
    blocks = in_blocks(cells, targets, 2)
    made = Counts(5).round(blocks, store, targets)
    counts = np.concatenate([block.expression for block in made])
    parts = np.expm1(cells.astype(np.float32).astype(np.float64))
    expected = parts / parts.sum(axis=1, keepdims=True)
    expected *= library_sizes(store, targets.paired)[:, None]
    assert (np.abs(counts - expected) < 1.001).all()
    assert (counts == np.round(counts)).all()
    # Rounded up as often as the fraction says: a sum of so many has a standard error of a half.
    assert abs((counts - expected).sum()) < 4 * 0.5 * counts.size**0.5
