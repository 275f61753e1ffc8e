"""The energy distance of two sets of cells, and its gradient in closed form.

A set of cells at all genes is a large tensor, and what a pass over it costs is the memory's time,
not the arithmetic's. So there is one product of all cells with all cells, whose diagonal has the
norms too, and the gradient is one product with the same cells; autograd would keep and add up a
term for each norm and each side of each product.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


def energy_distance(
    predicted: Float[Tensor, "sets cells genes"], observed: Float[Tensor, "sets others genes"]
) -> Float[Tensor, " sets"]:
    """Compute the energy distance of each set: E‖y − t‖ − ½E‖y − y′‖ − ½E‖t − t′‖.

    Euclidean, means over all pairs, those of a cell with itself included: half of the usual
    2E − E − E of Székely & Rizzo (2013), and what geomloss calls ``energy``. Distances come from
    matrix products, so that memory grows with cells², not with cells² × genes.

    A distance below what a float32 product can tell from zero (about a thousandth of the cells'
    distance from the observed mean) counts as zero and passes no gradient, as do self-pairs.

    Parameters
    ----------
    predicted, observed
        Cells of each set. The two may differ in number.

    Returns
    -------
    One value a set, in the unit of the cells; zero for two equal sets.
    """
    values: Tensor = _EnergyDistance.apply(predicted, observed)  # type: ignore[no-untyped-call]
    return values


class _EnergyDistance(torch.autograd.Function):
    """The energy distance, in float32 at least, whatever the precision around it."""

    @staticmethod
    def forward(ctx: Any, predicted: Tensor, observed: Tensor) -> Tensor:
        n_predicted, n_observed = predicted.shape[1], observed.shape[1]
        n_sets, _, n_genes = predicted.shape
        dtype = torch.promote_types(predicted.dtype, observed.dtype)
        dtype = torch.promote_types(dtype, torch.float32)
        with torch.autocast(device_type=predicted.device.type, enabled=False):
            cells = predicted.new_empty(n_sets, n_predicted + n_observed, n_genes, dtype=dtype)
            # Distances ignore a common shift; near the origin less of each product cancels.
            centre = observed.mean(dim=1, keepdim=True, dtype=dtype)
            _subtract(predicted, centre, cells[:, :n_predicted])
            _subtract(observed, centre, cells[:, n_predicted:])
            distances = _distances(cells)
        ctx.save_for_backward(cells, distances)
        ctx.n_predicted = n_predicted
        ctx.dtypes = predicted.dtype, observed.dtype
        across = distances[:, :n_predicted, n_predicted:].mean(dim=(1, 2))
        within_predicted = distances[:, :n_predicted, :n_predicted].mean(dim=(1, 2))
        within_observed = distances[:, n_predicted:, n_predicted:].mean(dim=(1, 2))
        return across - 0.5 * within_predicted - 0.5 * within_observed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return Σⱼ wᵢⱼ (zᵢ − zⱼ) / ‖zᵢ − zⱼ‖ for each cell zᵢ: weighted sums of all cells.

        A pair has the weight with which its distance enters the value: 1 / (cells × others) across
        the two sets, −1 / cells² within one.
        """
        cells, distances = ctx.saved_tensors
        sizes = [ctx.n_predicted, cells.shape[1] - ctx.n_predicted]
        pulls = distances.reciprocal().masked_fill_(distances == 0, 0.0)
        for at, rows in enumerate(torch.split(pulls, sizes, dim=1)):
            for beside, block in enumerate(torch.split(rows, sizes, dim=2)):
                block.mul_((-1.0 if at == beside else 1.0) / (sizes[at] * sizes[beside]))
        pulls.mul_(gradient[:, None, None])
        weights = torch.diag_embed(pulls.sum(dim=2)).sub_(pulls)
        with torch.autocast(device_type=cells.device.type, enabled=False):
            towards_predicted, towards_observed = (
                torch.bmm(rows, cells).to(dtype) if needed else None
                for rows, dtype, needed in zip(
                    torch.split(weights, sizes, dim=1),
                    ctx.dtypes,
                    ctx.needs_input_grad,
                    strict=True,
                )
            )
        return towards_predicted, towards_observed


def _subtract(cells: Tensor, centre: Tensor, out: Tensor) -> None:
    if cells.dtype == out.dtype and not torch.compiler.is_compiling():
        torch.sub(cells, centre, out=out)
    else:  # subtracted as it is, the CPU would copy it first; compiled, both are one pass
        out.copy_(cells).sub_(centre)


def _distances(cells: Float[Tensor, "sets cells genes"]) -> Float[Tensor, "sets cells cells"]:
    """Compute Euclidean distances as √(‖a‖² + ‖b‖² − 2a·b); zero of a cell from itself."""
    products = torch.bmm(cells, cells.mT)
    # From the same product, so that a cell has exactly the norm that its distances assume.
    norms = products.diagonal(dim1=1, dim2=2)
    sums = norms[:, :, None] + norms[:, None, :]
    squared = torch.sub(sums, products, alpha=2)
    # Rounding leaves a few units in the last place of the norms; the root's slope explodes there.
    nothing = ~(squared > 8 * torch.finfo(cells.dtype).eps * sums)
    return squared.masked_fill_(nothing, 0.0).sqrt_()
