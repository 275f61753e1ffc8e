"""Integer counts drawn from predicted profiles, with the library sizes of the controls."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
from jaxtyping import Float32, Float64, Int64
from scipy import stats

from workflow_scripts.cells.predicted_cells import Blocks, Predicted
from workflow_scripts.cells.store import CellStore
from workflow_scripts.cells.targets import Targets
from workflow_scripts.errors import DataError
from workflow_scripts.prediction.readiness import NO_COUNTS
from workflow_scripts.settings.choices import COUNTS
from workflow_scripts.settings.slices import Slice

_PURPOSE = 11
"""Of these random numbers: no other draw shares its key."""

_LARGE = 100.0
"""Means above this are inverted by scipy, whose time doesn't grow with them; there are few."""

_POISSON = 1e-9
"""Dispersion below which a negative binomial is a Poisson to the last digit."""

_ROWS = 4096
"""Control cells that are read at once."""

Genes = Float64[np.ndarray, " genes"]


@dataclass(frozen=True)
class CountDraws:
    """How counts are drawn.

    Attributes
    ----------
    seed
        Of the random numbers.
    dispersion
        Dispersion of each gene, of a negative binomial (variance mean + dispersion × mean²); None
        for Poisson [genes].
    denoise
        The cells of a set share the mean of their profiles: the noise of the control cell that
        each was predicted from is not drawn upon once more.
    """

    seed: int
    dispersion: Genes | None = None
    denoise: bool = False

    @classmethod
    def of(cls, settings: Slice, store: CellStore, targets: Targets) -> CountDraws | None:
        """Return how the counts of a prediction are drawn; None where log1p values are written.

        Raises
        ------
        DataError
            Where the cells came as log1p values, so that nobody knows how many counts a cell has.
        """
        if settings["prediction.output"] != COUNTS:
            return None
        if store.manifest["holds"] != COUNTS:
            raise DataError(NO_COUNTS)
        dispersion = None
        if settings["prediction.count_distribution"] == "negative_binomial":
            contexts = store.cells["context"].iloc[targets.controls].to_numpy(str)
            pools = [targets.controls[contexts == context] for context in np.unique(contexts)]
            dispersion = fit_dispersion(store, pools)
        return cls(settings["prediction.seed"], dispersion, settings["prediction.denoise"])

    def draw(
        self,
        blocks: Blocks,
        store: CellStore,
        targets: Targets,
        n_before: int = 0,
        *,
        rounded: bool = False,
    ) -> Blocks:
        """Draw counts of predicted cells.

        The expected count of a gene is L·e / Σe: L the counts that the cell's control has in the
        genes that are read, e = expm1 of the predicted value. Each count inverts the distribution
        at one random number of its own, which depends on (seed, cell, gene) alone: a prediction
        that another machine rounds otherwise gives other counts where they were on an edge, and
        nowhere else. Values that vary as among cells are rounded instead, up as often as the
        expected count is above the integer below it.

        Parameters
        ----------
        blocks
            Predicted log1p values, whole sets at a time.
        store
            Cells with raw counts, of the same genes.
        targets
            What is predicted.
        n_before
            Number of cells that were drawn before.
        rounded
            Whether the values vary as among cells.
        """
        sets = np.repeat(np.arange(len(targets.sets.counts)), targets.sets.counts)
        at = 0
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
            for cells, embedding in blocks:
                stop = at + len(cells)
                sizes = library_sizes(store, targets.paired[at:stop])
                alone = rounded or not self.denoise
                alike = np.arange(len(cells)) if alone else sets[at:stop]
                starts = np.flatnonzero(np.diff(alike, prepend=-1))
                draw = functools.partial(self._draw_alike, cells, sizes, n_before + at, rounded)
                list(threads.map(draw, np.split(np.arange(len(cells)), starts[1:])))
                yield Predicted(cells, embedding)
                at = stop

    def _draw_alike(
        self,
        cells: Float32[np.ndarray, "cells genes"],
        sizes: Float64[np.ndarray, " cells"],
        first: int,
        rounded: bool,
        rows: Int64[np.ndarray, " rows"],
    ) -> None:
        """Put counts in the place of some cells that share a profile."""
        nothing = np.zeros(cells.shape[1])
        dispersion = nothing if self.dispersion is None else self.dispersion
        profile = sum((_shares(cells[row]) / len(rows) for row in rows), start=nothing)
        for row in rows:
            random = _uniforms(self.seed, int(first + row), len(profile))
            expected = profile * sizes[row]
            cells[row] = (
                np.floor(expected + random) if rounded else invert(expected, dispersion, random)
            )


def library_sizes(
    store: CellStore, rows: Int64[np.ndarray, " cells"]
) -> Float64[np.ndarray, " cells"]:
    """Return how many counts cells have in the genes that are read."""
    sizes: np.ndarray = np.asarray(store.stored(rows).sum(axis=1, dtype=np.float64)).ravel()
    return sizes


def fit_dispersion(store: CellStore, pools: Sequence[Int64[np.ndarray, " cells"]]) -> Genes:
    """Estimate the dispersion of each gene from control cells, by moments.

    Of a negative binomial E[(k − μ)² − k] = αμ², so that α = Σ((k − μ)² − k) / Σμ² over all cells,
    with μ = L·p: the library size of the cell, times the gene's share of all counts of its pool.
    Not below 0, where a gene varies less than a Poisson does, or has no counts.

    Parameters
    ----------
    store
        Cells with raw counts.
    pools
        Rows of cells that share a profile: the controls of each context.
    """
    excess, squares = np.zeros(store.n_genes), np.zeros(store.n_genes)
    for rows in pools:
        count, square, by_size = (np.zeros(store.n_genes) for _ in range(3))
        size, size_squared = 0.0, 0.0
        for start in range(0, len(rows), _ROWS):
            counts = store.stored(rows[start : start + _ROWS]).astype(np.float64)
            sizes = np.asarray(counts.sum(axis=1)).ravel()
            count += np.asarray(counts.sum(axis=0)).ravel()
            square += np.asarray(counts.multiply(counts).sum(axis=0)).ravel()
            by_size += counts.T @ sizes
            size += sizes.sum()
            size_squared += (sizes**2).sum()
        share = count / max(size, 1.0)
        of_means = share**2 * size_squared
        excess += square - 2 * share * by_size + of_means - count
        squares += of_means
    dispersion: np.ndarray = np.maximum(excess, 0.0) / np.where(squares > 0, squares, 1.0)
    return dispersion


def _shares(values: Float32[np.ndarray, " genes"]) -> Genes:
    """Return the share of a cell's counts that each gene has, by its log1p values."""
    expected: np.ndarray = np.expm1(np.maximum(values, 0.0, dtype=np.float64))
    expected /= max(expected.sum(), np.finfo(np.float64).tiny)
    return expected


def _uniforms(seed: int, cell: int, n: int) -> Genes:
    # The generator counts in the low words: two cells share no number.
    bits = np.random.Philox(counter=[0, 0, 0, cell], key=[seed, _PURPOSE])
    return np.random.Generator(bits).random(n)


def invert(mean: Genes, dispersion: Genes, random: Genes) -> Genes:
    """Return the counts at which the distributions of ``mean`` reach ``random``."""
    counts = np.empty(len(mean))
    _invert_small(mean, dispersion, random, counts)
    large = np.flatnonzero(mean > _LARGE)
    if len(large):
        m, a, u = mean[large], dispersion[large], random[large]
        counts[large] = stats.poisson.ppf(u, m)
        wide = a >= _POISSON
        if wide.any():
            m, a, u = m[wide], a[wide], u[wide]
            counts[large[wide]] = stats.nbinom.ppf(u, 1.0 / a, 1.0 / (1.0 + a * m))
    return counts


@numba.njit(cache=True, nogil=True)
def _invert_small(mean: Genes, dispersion: Genes, random: Genes, counts: Genes) -> None:
    """Add up the probabilities of 0, 1, 2, … until they reach a random number.

    P(0) = (1 + αm)^(−1/α), and P(k + 1) / P(k) = m(1 + kα) / ((1 + αm)(k + 1)): exp(−m) and
    m / (k + 1) where α is 0. Means above `_LARGE` are left alone.
    """
    for gene in range(len(mean)):
        m, a = mean[gene], dispersion[gene]
        if m > _LARGE:
            continue
        p = math.exp(-m) if a < _POISSON else math.exp(-math.log1p(a * m) / a)
        k, reached = 0, p
        # What is left beyond the mode, once a term no longer counts in float64, is no count.
        while reached < random[gene] and (k < m or p > 1e-17):
            p *= m * (1.0 + k * a) / ((1.0 + a * m) * (k + 1.0))
            k += 1
            reached += p
        counts[gene] = k
