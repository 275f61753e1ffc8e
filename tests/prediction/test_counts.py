"""Counts drawn from predicted profiles: whole, with the totals and means that were predicted."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pytest
from scipy import stats

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
from workflow_scripts.prediction.counts import (
    CountDraws,
    fit_dispersion,
    invert,
    library_sizes,
)
from workflow_scripts.settings.choices import COUNTS
from workflow_scripts.settings.slices import Slice


def in_blocks(cells: np.ndarray, targets: Targets, sets_per_pass: int) -> Blocks:  # noqa: F811
    """Give predicted cells as a model does: whole sets at a time."""
    edges = np.cumsum([0, *targets.sets.counts])
    for at in range(0, len(edges) - 1, sets_per_pass):
        stop = edges[min(at + sets_per_pass, len(edges) - 1)]
        yield Predicted(cells[edges[at] : stop].astype(np.float32))


def drawn(draws: CountDraws, cells, store, targets, sets_per_pass=2, first=0) -> np.ndarray:  # noqa: F811
    blocks = in_blocks(cells, targets, sets_per_pass)
    made = draws.draw(blocks, store, targets, first)
    return np.concatenate([block.expression for block in made])


@pytest.fixture
def profiles(store, targets):  # noqa: F811
    """Log1p values that no normalisation made, as a model predicts them; some below 0."""
    shape = (len(targets.paired), store.n_genes)
    return np.random.default_rng(0).normal(2.0, 1.5, shape)


def test_counts_invert_the_distributions_as_scipy_does():
    random = np.random.default_rng(0).random(40_000)
    mean = np.exp(np.random.default_rng(1).uniform(-6, 8, len(random)))
    for dispersion in (0.0, 1e-4, 0.3, 5.0):
        found = invert(mean, np.full(len(mean), dispersion), random)
        if dispersion == 0:
            expected = stats.poisson.ppf(random, mean)
        else:
            expected = stats.nbinom.ppf(random, 1 / dispersion, 1 / (1 + dispersion * mean))
        # The last digit of a probability may tell two neighbours apart.
        assert np.mean(found != expected) < 1e-3
        assert np.abs(found - expected).max() <= 1
    assert (invert(np.zeros(3), np.zeros(3), np.array([0.0, 0.5, 1 - 1e-16])) == 0).all()


def test_totals_and_means_are_kept(store, targets, profiles):  # noqa: F811
    many = np.mean([drawn(CountDraws(seed), profiles, store, targets) for seed in range(400)], 0)
    sizes = library_sizes(store, targets.paired)
    own = np.expm1(np.maximum(profiles.astype(np.float32), 0))
    expected = own / own.sum(axis=1, keepdims=True) * sizes[:, None]
    np.testing.assert_array_equal(sizes, store.stored(targets.paired).toarray().sum(axis=1))
    for found, wanted in ((many, expected), (many.sum(axis=1), sizes)):
        error = np.sqrt(wanted / 400) + 1e-9  # a Poisson's variance is its mean
        assert np.abs((found - wanted) / error).max() < 5
    assert (many[profiles <= 0] == 0).all()


def test_negative_binomial_has_the_dispersion_asked_for(store, targets, profiles):  # noqa: F811
    wide = CountDraws(0, np.full(store.n_genes, 0.8))
    counts = np.stack([drawn(wide, profiles, store, targets, first=1000 * n) for n in range(1500)])
    mean, variance = counts.mean(axis=0), counts.var(axis=0)
    large = mean > 2
    assert large.sum() > 50
    found = (variance[large] - mean[large]) / mean[large] ** 2
    assert found.mean() == pytest.approx(0.8, rel=0.05)


def test_counts_depend_on_neither_passes_nor_other_cells(store, targets, profiles):  # noqa: F811
    for draws in (CountDraws(3), CountDraws(3, denoise=True)):
        one, all_at_once = (drawn(draws, profiles, store, targets, n) for n in (1, 100))
        assert np.array_equal(one, all_at_once)
    other = profiles.copy()
    other[5, ::2] += 1.0
    changed = drawn(CountDraws(3), other, store, targets)
    differs = (changed != drawn(CountDraws(3), profiles, store, targets)).any(axis=1)
    assert np.flatnonzero(differs).tolist() == [5]
    assert not np.array_equal(one, drawn(CountDraws(4), profiles, store, targets))


def test_rounding_of_a_prediction_changes_few_counts(store, targets, profiles):  # noqa: F811
    rounded = profiles * (1 + 1e-6 * np.random.default_rng(5).normal(size=profiles.shape))
    before, after = (drawn(CountDraws(3), cells, store, targets) for cells in (profiles, rounded))
    assert np.mean(before != after) < 1e-3


def test_denoised_cells_of_a_set_share_a_profile(store, targets, profiles):  # noqa: F811
    counts = np.mean(
        [drawn(CountDraws(seed, denoise=True), profiles, store, targets) for seed in range(400)], 0
    )
    own = np.expm1(np.maximum(profiles.astype(np.float32), 0))
    shares = own / own.sum(axis=1, keepdims=True)
    sizes = library_sizes(store, targets.paired)
    at = 0
    for n in targets.sets.counts:
        span = slice(at, at + n)
        expected = shares[span].mean(axis=0) * sizes[span, None]
        assert np.abs((counts[span] - expected) / np.sqrt(expected / 400 + 1e-9)).max() < 5
        at += n


def test_dispersion_of_controls_is_found(tmp_path: Path):
    draws = np.random.default_rng(0)
    dispersion = np.repeat([0.0, 0.1, 0.5, 2.0], 100)
    share = draws.dirichlet(np.full(400, 20.0))
    blocks = []
    for profile in (share, share[::-1]):  # two contexts, each with a profile of its own
        mean = draws.lognormal(7.5, 0.3, (3_000, 1)) * profile
        shape = 1 / np.maximum(dispersion, 1e-9)
        rate = np.where(dispersion > 0, draws.gamma(shape, 1 / shape, mean.shape), 1.0)
        blocks.append(draws.poisson(mean * rate))
    cells = anndata.AnnData(np.concatenate(blocks).astype(np.float32))
    cells.obs["gene"], cells.obs["gem_group"] = "control", "b"
    cells.obs["cell_type"] = np.repeat(["one", "two"], 3_000)
    cells.var_names = [f"g{n}" for n in range(400)]
    cells.write_h5ad(tmp_path / "controls.h5ad")
    settings = CellSettings(Columns("gene", "cell_type", "gem_group"), "control", "counts", 1e4)
    manifest = pack_cells(
        {"d": {"controls": str(tmp_path / "controls.h5ad")}}, settings, tmp_path / "store"
    )
    write_manifest({**manifest, "folder": "store"}, tmp_path / "manifest.json")
    packed = CellStore.open(tmp_path / "manifest.json")
    contexts = packed.cells["context"].astype(str).to_numpy()
    pools = [np.flatnonzero(contexts == name) for name in ("one", "two")]
    # Of single genes it is a noisy estimate: the mean over those of one dispersion.
    found = fit_dispersion(packed, pools).reshape(4, 100).mean(axis=1)
    np.testing.assert_allclose(found, dispersion[::100], rtol=0.05, atol=0.02)


def test_files_of_counts_hold_raw_counts(tmp_path, store, targets, profiles):  # noqa: F811
    described = describe(store, "run", COUNTS)
    blocks = CountDraws(0).draw(in_blocks(profiles, targets, 2), store, targets)
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
        CountDraws.of(
            Slice({"prediction.output": COUNTS}, {}),
            CellStore.open(tmp_path / "manifest.json"),
            targets,
        )


def test_values_that_vary_as_among_cells_are_rounded(store, targets, profiles):  # noqa: F811
    cells = np.maximum(profiles, 0.0)
    blocks = in_blocks(cells, targets, 2)
    made = CountDraws(5).draw(blocks, store, targets, rounded=True)
    counts = np.concatenate([block.expression for block in made])
    parts = np.expm1(cells.astype(np.float32).astype(np.float64))
    expected = parts / parts.sum(axis=1, keepdims=True)
    expected *= library_sizes(store, targets.paired)[:, None]
    assert (np.abs(counts - expected) < 1.001).all()
    assert (counts == np.round(counts)).all()
    # Rounded up as often as the fraction says: a sum of so many has a standard error of a half.
    assert abs((counts - expected).sum()) < 4 * 0.5 * counts.size**0.5
