"""Cells that are written with the predicted means."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import false_discovery_control, mannwhitneyu, spearmanr

from workflow_scripts.cells.tilting import Support


def log1p_cells(n_cells: int, n_genes: int = 300, seed: int = 0) -> np.ndarray:
    """Return sparse cells like those of a screen: log1p of counts per 10,000."""
    genes = np.random.default_rng(99).gamma(0.4, size=n_genes) + 1e-3
    rng = np.random.default_rng(seed)
    depth = 1500 * rng.lognormal(0, 0.3, (n_cells, 1))
    counts = rng.poisson(genes / genes.sum() * depth * rng.gamma(4, 0.25, (n_cells, n_genes)))
    cells: np.ndarray = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    return cells.astype(np.float32)


def means_of(cells: np.ndarray) -> np.ndarray:
    means: np.ndarray = cells.mean(axis=0, dtype=np.float64)
    return means


def test_the_weights_are_exponential_in_the_value_and_give_the_mean() -> None:
    values = np.array([0, 0, 0, 1, 1.5, 2, 4], dtype=np.float32)[:, None]
    target = 2.0

    def excess(theta: float) -> float:
        weights = np.exp(theta * values[:, 0])
        return float((weights * values[:, 0]).sum() / weights.sum() - target)

    weights = np.exp(brentq(excess, -9, 9, xtol=1e-12) * values[:, 0])
    n_cells = 20_000
    controls = np.zeros((n_cells, 1), dtype=np.float32)
    written = Support.of_cells(values).cells(np.array([target]), controls, np.random.default_rng(0))
    found, counts = np.unique(written, return_counts=True)
    expected = [(weights * (values[:, 0] == value)).sum() / weights.sum() for value in found]
    assert found.tolist() == [0, 1, 1.5, 2, 4]
    np.testing.assert_allclose(counts / n_cells, expected, atol=2 / n_cells**0.5 / 10)


@pytest.mark.parametrize("n_cells", [1, 30, 1000])
def test_means_are_those_that_were_asked_for(n_cells: int) -> None:
    support, controls = log1p_cells(400), log1p_cells(n_cells, seed=1)
    rng = np.random.default_rng(2)
    means = np.maximum(means_of(support) + rng.normal(0, 0.3, 300), 0)
    written = Support.of_cells(support).cells(means, controls, rng)
    # A stratified sample of n values within [0, 8] has a standard error of the order of 1 / n.
    assert np.abs(means_of(written) - means).max() < 8 / n_cells
    assert (written >= 0).all()
    assert (written[:, means == 0] == 0).all()


def test_values_and_ranks_are_those_of_controls() -> None:
    support, controls = log1p_cells(400), log1p_cells(200, seed=1)
    means = means_of(support) * 1.1
    sorted_values = Support.of_cells(support)
    written = sorted_values.cells(means, controls, np.random.default_rng(0))
    for gene in np.flatnonzero(sorted_values.carries(means)):
        assert np.isin(written[:, gene], support[:, gene]).all()
        both = (written[:, gene] > 0) & (controls[:, gene] > 0)
        if both.sum() > 30:
            assert spearmanr(written[both, gene], controls[both, gene])[0] > 0.98


@pytest.mark.parametrize("n_cells", [100, 1000])
def test_no_effect_makes_no_gene_significant(n_cells: int) -> None:
    population = log1p_cells(1200)
    support = Support.of_cells(population[:400])
    written = support.cells(
        means_of(population), log1p_cells(n_cells, seed=3), np.random.default_rng(0)
    )
    p_values = np.nan_to_num(mannwhitneyu(written, population, axis=0).pvalue, nan=1.0)
    assert (false_discovery_control(p_values) < 0.05).mean() <= 0.01


def test_means_beyond_the_support_are_reached() -> None:
    support = log1p_cells(400)
    support[:, 0] = 0
    support[:, 1] = 5 + support[:, 1]
    sorted_values = Support.of_cells(support)
    means = means_of(support)
    means[:3] = 0.7, 1.0, 12.0
    assert not sorted_values.carries(means)[:3].any()
    written = sorted_values.cells(means, log1p_cells(500, seed=1), np.random.default_rng(0))
    np.testing.assert_allclose(means_of(written)[:3], means[:3], rtol=0.05)


def test_more_cells_carry_more() -> None:
    low, high = log1p_cells(300), log1p_cells(300, seed=1)
    low[:, 0] = 0
    wanted = np.zeros(300, dtype=bool)
    wanted[:2] = True
    support = Support.of_cells(low)
    joined = support.joined(Support.of_cells(high), wanted)
    means = means_of(high)
    assert not support.carries(means)[0]
    assert joined.carries(means)[:2].all()
    written = joined.cells(means, high[:200], np.random.default_rng(0))
    assert np.isin(written[:, 0], high[:, 0]).all()


def test_the_seed_alone_decides() -> None:
    support, controls = Support.of_cells(log1p_cells(100)), log1p_cells(50, seed=1)
    means = means_of(log1p_cells(100))
    first, again, other = (
        support.cells(means, controls, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_permuted_effects_are_told_apart_no_better_than_by_chance() -> None:
    rng = np.random.default_rng(5)
    n_perturbations, n_genes, n_cells = 16, 80, 40
    controls = np.log1p(rng.poisson(2.0, (300, n_genes))).astype(np.float32)
    effects = 0.3 * rng.standard_normal((n_perturbations, n_genes))
    support, centre = Support.of_cells(controls), controls.mean(axis=0, dtype=np.float64)
    ranks = []
    for _ in range(50):
        order = rng.permutation(n_perturbations)
        while (order == np.arange(n_perturbations)).any():
            order = rng.permutation(n_perturbations)
        written = np.stack(
            [
                support.cells(
                    np.maximum(centre + effects[place], 0.0),
                    controls[rng.choice(300, n_cells, replace=False)],
                    rng,
                ).mean(axis=0)
                for place in order
            ]
        )
        change = written - centre
        cosines = change @ effects.T
        cosines /= np.linalg.norm(change, axis=1)[:, None] * np.linalg.norm(effects, axis=1)
        own = np.diag(cosines)[:, None]
        ranks.append(1.0 - (cosines > own).sum(axis=1).mean() / (n_perturbations - 1))
    error = np.std(ranks) / len(ranks) ** 0.5
    # A derangement never has its own effect, which would stand first: half a rank less.
    assert abs(np.mean(ranks) - (0.5 - 0.5 / (n_perturbations - 1))) < 2 * error + 0.01
