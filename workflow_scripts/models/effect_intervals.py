"""How far observed effects may lie from predicted ones: as far as effects left out of the fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workflow_scripts.models.denoised import MEASURED, OF_MEAN, OF_PARTS, OF_RIDGE, Denoised

LEVEL = 0.9
"""Share of the observed means that intervals are to hold."""

N_BINS = 10
"""Bins of equally many genes, by their expression in the controls."""

LEAST = 5
"""Effects that have to be left out for an interval; fewer give none."""


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Effects of training pairs of one context, less what is predicted without them.

    Attributes
    ----------
    residuals
        Observed less predicted effect.
    cells
        Cells of each observed mean.
    expression
        Mean of the controls of the context.
    """

    residuals: Float[Tensor, "pairs genes"]
    cells: Int[Tensor, " pairs"]
    expression: Float[Tensor, " genes"]


@dataclass(frozen=True, eq=False)
class Intervals:
    """Quantiles of residuals by expression, in units of their expected size.

    The expected square of a residual is v (1/n + ρ): v, the variance of the gene among cells; n,
    the cells of the observed mean; and ρ, what the prediction itself is wrong by, of a bin.

    Attributes
    ----------
    variances
        Variance of each gene among the cells of a context.
    edges
        Of the bins of expression.
    own
        ρ of each bin.
    low, high
        Quantiles of each bin; NaN where too little was left out.
    """

    variances: Float[Tensor, " genes"]
    edges: Float[Tensor, " inner_edges"]
    own: Float[Tensor, " bins"]
    low: Float[Tensor, " bins"]
    high: Float[Tensor, " bins"]

    @classmethod
    def fit(cls, variances: Float[Tensor, " genes"], parts: Sequence[LeftOut]) -> Intervals:
        """Measure the residuals of what was left out, in one context or several."""
        least = variances[variances > 0].min() if (variances > 0).any() else torch.tensor(1.0)
        variances = variances.clamp_min(float(least))
        nothing = torch.full((N_BINS,), torch.nan)
        edges = torch.zeros(N_BINS - 1)
        if sum(len(part.cells) for part in parts) < LEAST:
            return cls(variances, edges, nothing, nothing, nothing)
        shares = torch.linspace(0, 1, N_BINS + 1)[1:-1]
        edges = torch.quantile(torch.cat([part.expression for part in parts]).float(), shares)
        own, low, high = (nothing.clone() for _ in range(3))
        for number in range(N_BINS):
            squared, shares_of_one, errors = [], [], []
            for part in parts:
                genes = torch.bucketize(part.expression.float(), edges) == number
                squared.append((part.residuals[:, genes].square() / variances[genes]).ravel())
                one = (1.0 / part.cells)[:, None].expand(-1, int(genes.sum()))
                shares_of_one.append(one.ravel())
                errors.append((part.residuals[:, genes] / variances[genes].sqrt()).ravel())
            if not sum(len(found) for found in errors):
                continue
            one = torch.cat(shares_of_one)
            own[number] = (torch.cat(squared).mean() - one.mean()).clamp_min(0.0)
            scaled = (torch.cat(errors) / (one + own[number]).sqrt()).sort().values
            for ends, share in ((low, (1 - LEVEL) / 2), (high, (1 + LEVEL) / 2)):
                ends[number] = scaled[round(share * (len(scaled) - 1))]
        return cls(variances, edges, own, low, high)

    def around(
        self,
        effects: Float[Tensor, "asked genes"],
        cells: Int[Tensor, " asked"],
        expression: Float[Tensor, " genes"],
    ) -> tuple[Float[Tensor, "asked genes"], Float[Tensor, "asked genes"]]:
        """Return the ends of the interval of the mean of so many observed cells."""
        bins = torch.bucketize(expression.float(), self.edges)
        size = (self.variances * (1.0 / cells[:, None] + self.own[bins])).sqrt()
        return effects + self.low[bins] * size, effects + self.high[bins] * size


def fit_intervals(model: Denoised, context: int, source: str) -> Intervals:
    """Return the intervals of effects in a context that rest on ``source``.

    Where the context trains, its training pairs are left out one by one; else every other context
    is predicted as if none of its pairs trained. Effects that are sums of parts have the intervals
    of trained combinations, or else those of the mean response.
    """
    trained = model.training.trained_contexts
    if trained[context]:
        parts = [_left_out(model, context, source, alone=True)]
    else:
        others = trained.nonzero()[:, 0].tolist()
        parts = [
            _left_out(model, other, source, alone=False) for other in others if len(others) > 1
        ]
    variances = torch.from_numpy(model.noise.variances).float()
    found = Intervals.fit(variances, [part for part in parts if len(part.cells)])
    if source == OF_PARTS and bool(found.low.isnan().all()):
        return fit_intervals(model, context, OF_MEAN)
    return found


def _left_out(model: Denoised, context: int, source: str, *, alone: bool) -> LeftOut:
    training = model.training
    pairs = model.rows_of(context)
    numbers, observed = training.perturbation[pairs], training.effects[pairs]
    n = len(pairs)
    if alone and n > 1:
        mean = (observed.sum(dim=0) - observed) / (n - 1)
    else:
        mean = model.mean_response_without(context).expand(n, -1)
    used = torch.ones(n, dtype=torch.bool)
    if source == MEASURED:
        used = model.elsewhere(context).rows(numbers) >= 0
        predicted = model.left_out(context)[1] if alone else model.without_context(context, numbers)
    elif source == OF_RIDGE:
        predicted = mean + model.ridge_left_out(numbers)
    elif source == OF_PARTS:
        sums = [model.sum_of_parts(number, mean[at]) for at, number in enumerate(numbers.tolist())]
        used = torch.tensor([found is not None for found in sums])
        predicted = torch.stack([mean[0] if found is None else found for found in sums])
    else:
        predicted = mean
    used &= predicted.isfinite().all(dim=1)
    return LeftOut(
        (observed - predicted)[used], training.cells[pairs][used], training.control_means[context]
    )
