"""Predicted cells whose genes have the predicted means and the shapes of the controls.

Of each gene, the values of the control cells are weighted by exp(θ value), with the θ that gives
the predicted mean: of all distributions with that mean, the one closest to the controls' in
Kullback-Leibler divergence. Each predicted cell keeps, of every gene, the rank that the control has
from which it is predicted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

MOST_CELLS = 400
"""Cells whose values are weighted; the means come from all cells."""

REACH = 0.9
"""Weights carry a mean up to this part of the way from the support's mean to its extreme values:
beyond it a few cells would have all the weight."""


@dataclass(frozen=True, eq=False)
class Support:
    """The values that cells take, gene by gene, without the zeros.

    Attributes
    ----------
    values
        Values of all genes, ascending within each gene.
    starts
        Where each gene begins in them.
    n_cells
        How many cells these are.
    """

    values: Float32[np.ndarray, " non_zeros"]
    starts: Int64[np.ndarray, " genes_and_end"]
    n_cells: int

    @classmethod
    def of_cells(cls, cells: Float32[np.ndarray, "cells genes"]) -> Support:
        """Sort the values of some cells."""
        gene, cell = np.nonzero(cells.T)
        values = cells[cell, gene]
        starts = np.searchsorted(gene, np.arange(cells.shape[1] + 1)).astype(np.int64)
        _sort_genes(values, starts)
        return cls(values, starts, len(cells))

    def joined(self, other: Support, genes: Bool[np.ndarray, " genes"]) -> Support:
        """Return the support of some genes in the cells of both, the other genes left empty."""
        chosen = [
            np.concatenate(
                [part.values[part.starts[gene] : part.starts[gene + 1]] for part in (self, other)]
            )
            if genes[gene]
            else np.empty(0, dtype=np.float32)
            for gene in range(len(genes))
        ]
        starts = np.cumsum([0, *(len(part) for part in chosen)]).astype(np.int64)
        values = np.concatenate(chosen)
        _sort_genes(values, starts)
        return Support(values, starts, self.n_cells + other.n_cells)

    def carries(self, means: Float64[np.ndarray, " genes"]) -> Bool[np.ndarray, " genes"]:
        """Tell which means some weights of these values give."""
        return _carries(self.values, self.starts, self.n_cells, means)

    def cells(
        self,
        means: Float64[np.ndarray, " genes"],
        controls: Float32[np.ndarray, "cells genes"],
        rng: np.random.Generator,
        *,
        stratified: bool = True,
    ) -> Float32[np.ndarray, "cells genes"]:
        """Return cells with these means, ranked like their controls, gene by gene.

        A mean that the support doesn't carry is reached by scaling its values.

        Parameters
        ----------
        means
            Mean of each gene.
        controls
            The cells that give the ranks, one a cell.
        rng
            Of ties between zeros, and of places within a distribution.
        stratified
            Each cell has an equal part of the distribution to itself, so that the mean has hardly
            any sampling noise; else cells are drawn from it at random, as observed ones are.
        """
        ties = rng.random(controls.shape, dtype=np.float32)
        places = rng.random(controls.shape, dtype=np.float32)
        if stratified:
            places += np.arange(len(places), dtype=np.float32)[:, None]
            places /= np.float32(max(len(places), 1))
        else:
            places.sort(axis=0)
        typical = float(np.median(self.values)) if len(self.values) else 1.0
        return _write(
            self.values, self.starts, self.n_cells, means, controls, ties, places, typical
        )


@numba.njit(cache=True, nogil=True)
def _sort_genes(values: np.ndarray, starts: np.ndarray) -> None:
    for gene in range(len(starts) - 1):
        values[starts[gene] : starts[gene + 1]].sort()


@numba.njit(cache=True, nogil=True)
def _limits(values: np.ndarray, n_cells: int) -> tuple[float, float]:
    """Return the least and the largest mean that weights of a gene's values may be asked for."""
    if len(values) == 0:
        return 0.0, 0.0
    mean = values.sum() / n_cells
    least = values[0] if len(values) == n_cells else 0.0
    low = 0.0 if least == 0.0 else mean + REACH * (least - mean)
    return low, mean + REACH * (values[-1] - mean)


@numba.njit(cache=True, nogil=True)
def _carries(values: np.ndarray, starts: np.ndarray, n_cells: int, means: np.ndarray) -> np.ndarray:
    carried = np.empty(len(means), dtype=np.bool_)
    for gene in range(len(means)):
        low, high = _limits(values[starts[gene] : starts[gene + 1]], n_cells)
        carried[gene] = low <= means[gene] <= high
    return carried


@numba.njit(cache=True, nogil=True)
def _weights(values: np.ndarray, n_zeros: int, mean: float, weights: np.ndarray) -> float:
    """Fill in the weight of each value, up to a factor, and return that of all zeros together."""
    largest = values[-1]
    low, high = -np.inf, np.inf
    theta, zeros = 0.0, float(n_zeros)
    for _ in range(100):
        # In units of the largest value, and relative to the largest weight: no overflow.
        shift = theta if theta > 0 else 0.0
        zeros = n_zeros * float(np.exp(-shift))
        total, first, second = zeros, 0.0, 0.0
        for at in range(len(values)):
            value = values[at] / largest
            weight = np.exp(theta * value - shift)
            weights[at] = weight
            total += weight
            first += weight * value
            second += weight * value * value
        first /= total
        variance = second / total - first * first
        error = mean / largest - first
        if abs(error) <= 1e-7:
            break
        if error > 0:
            low = theta
        else:
            high = theta
        step = error / variance if variance > 1e-12 else np.sign(error) * 10.0
        step = min(max(step, -10.0), 10.0)
        theta += step
        if theta <= low or theta >= high:
            theta = (low + high) / 2
    return zeros


@numba.njit(cache=True, nogil=True)
def _write(
    values: np.ndarray,
    starts: np.ndarray,
    n_cells: int,
    means: np.ndarray,
    controls: np.ndarray,
    ties: np.ndarray,
    places: np.ndarray,
    typical: float,
) -> np.ndarray:
    count = len(controls)
    written = np.zeros(controls.shape, dtype=np.float32)
    weights = np.empty(n_cells)
    key = np.empty(count, dtype=np.float32)
    for gene in range(len(means)):
        mean = means[gene]
        if mean <= 0.0:
            continue
        of_gene = values[starts[gene] : starts[gene + 1]]
        for cell in range(count):
            value = controls[cell, gene]
            key[cell] = value if value > 0 else -ties[cell, gene]
        order = np.argsort(key)
        if len(of_gene) == 0:
            # Nobody expresses it: a usual value, in as many cells as the mean takes.
            usual = max(typical, mean)
            for rank in range(count):
                if places[rank, gene] > 1.0 - mean / usual:
                    written[order[rank], gene] = usual
            continue
        low, high = _limits(of_gene, n_cells)
        reached = min(max(mean, low), high)
        factor = mean / reached
        zeros = _weights(of_gene, n_cells - len(of_gene), reached, weights)
        total = zeros
        for at in range(len(of_gene)):
            total += weights[at]
        cumulated, at = zeros / total, -1
        for rank in range(count):
            cell = order[rank]
            while places[rank, gene] > cumulated and at < len(of_gene) - 1:
                at += 1
                cumulated += weights[at] / total
            if at >= 0:
                written[cell, gene] = of_gene[at] * factor
    return written
