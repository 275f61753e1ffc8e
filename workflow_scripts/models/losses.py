"""Distances between a predicted and an observed set of cells: one value a set.

All are computed in float32 at least, whatever the precision of the model around them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from geomloss import SamplesLoss
from jaxtyping import Bool, Float
from torch import Tensor

from workflow_scripts.models.energy import energy_distance

CHUNKED = ("energy", "sinkhorn")
"""Losses that the reference computes over chunks of genes: what its models give for three chunks
and for one shows it (benchmarks/reference_losses.py)."""

SINKHORN_SCALING = 0.5
"""Ratio of successive temperatures in Sinkhorn's annealing: geomloss's default, the reference's."""

SINKHORN_SHARE = 0.01
"""Weight of the Sinkhorn divergence in ``se``; the energy distance has weight 1 (reference)."""


def mse(
    predicted: Float[Tensor, "sets cells genes"], observed: Float[Tensor, "sets cells genes"]
) -> Float[Tensor, " sets"]:
    """Compute each set's mean squared difference, cell by cell in their order."""
    difference = _at_least_float32(predicted) - _at_least_float32(observed)
    return difference.square().mean(dim=(1, 2))


def sinkhorn(
    predicted: Float[Tensor, "sets cells genes"],
    observed: Float[Tensor, "sets others genes"],
    blur: float = 0.05,
) -> Float[Tensor, " sets"]:
    """Compute the debiased Sinkhorn divergence of each set, p = 2, as geomloss computes it.

    Feydy et al. (2019), "Interpolating between Optimal Transport and MMD using Sinkhorn
    Divergences". The annealing starts at the diameter of all sets together.

    Parameters
    ----------
    predicted, observed
        Cells of each set.
    blur
        Length, in the unit of the cells, below which structure is blurred.
    """
    divergence = SamplesLoss(
        "sinkhorn", p=2, blur=blur, scaling=SINKHORN_SCALING, debias=True, backend="tensorized"
    )
    with torch.autocast(device_type=predicted.device.type, enabled=False):
        values: Tensor = divergence(_at_least_float32(predicted), _at_least_float32(observed))
    return values


@dataclass(frozen=True)
class SetLoss:
    """Score predicted sets against observed ones, as ``model.kwargs`` choose it.

    Parameters
    ----------
    loss
        ``"energy"``, ``"mse"``, ``"sinkhorn"``, or ``"se"`` (0.01 × sinkhorn + energy).
    distributional_loss
        Which distance between sets ``loss: energy`` means; read for no other loss.
    blur
        Blur of the Sinkhorn divergence; the energy distance has none.
    mmd_num_chunks
        Genes are cut in their order into at most so many chunks, as `torch.chunk` does it, and the
        distance is the mean over them; of the distances in `CHUNKED` alone.
    regularization
        Weight of the mean absolute difference between prediction and control in what a step
        lowers (`objective`); it is no part of the distance.
    """

    loss: str = "energy"
    distributional_loss: str = "energy"
    blur: float = 0.05
    mmd_num_chunks: int = 1
    regularization: float = 0.0

    def __call__(
        self,
        predicted: Float[Tensor, "sets cells genes"],
        observed: Float[Tensor, "sets cells genes"],
    ) -> Float[Tensor, ""]:
        """Return the mean over sets, leaving out sets whose value is NaN; NaN if all are."""
        return mean_over_sets(self.per_set(predicted, observed))

    def per_set(
        self,
        predicted: Float[Tensor, "sets cells genes"],
        observed: Float[Tensor, "sets cells genes"],
    ) -> Float[Tensor, " sets"]:
        """Compute the distance of each set.

        Returns
        -------
        One value a set; NaN, without a gradient, where a cell of the set holds a NaN.

        Raises
        ------
        ValueError
            If there are more chunks than genes.
        """
        n_genes = predicted.shape[2]
        if self.mmd_num_chunks > n_genes:
            raise ValueError(f"mmd_num_chunks is {self.mmd_num_chunks}, for {n_genes} genes")
        whole = ~(has_nan(predicted) | has_nan(observed))
        # A gradient of zero times NaN is NaN: broken sets must not enter the distance at all.
        # Only the CPU may ask: it would make the host wait for a GPU, in every step, and cut a
        # compiled step in two.
        if not (whole.is_cuda or torch.compiler.is_compiling()) and whole.all():
            return self._of_whole_sets(predicted, observed)
        clean = whole[:, None, None]
        values = self._of_whole_sets(
            torch.where(clean, predicted, 0.0), torch.where(clean, observed, 0.0)
        )
        return values.masked_fill(~whole, torch.nan)

    def _of_whole_sets(self, predicted: Tensor, observed: Tensor) -> Tensor:
        distance = self._distance()
        n_chunks = self.mmd_num_chunks if distance in CHUNKED else 1
        chunks = zip(predicted.chunk(n_chunks, 2), observed.chunk(n_chunks, 2), strict=True)
        return torch.stack([self._measure(distance, y, t) for y, t in chunks]).mean(dim=0)

    def _distance(self) -> str:
        return self.distributional_loss if self.loss == "energy" else self.loss

    def _measure(self, distance: str, predicted: Tensor, observed: Tensor) -> Tensor:
        if distance == "mse":
            return mse(predicted, observed)
        if distance == "energy":
            return energy_distance(predicted, observed)
        divergence = sinkhorn(predicted, observed, self.blur)
        if distance == "sinkhorn":
            return divergence
        return SINKHORN_SHARE * divergence + energy_distance(predicted, observed)


def mean_change(
    predicted: Float[Tensor, "sets cells genes"],
    control: Float[Tensor, "sets cells genes"],
    counts: Bool[Tensor, " sets"],
) -> Float[Tensor, ""]:
    """Return the mean absolute difference of predicted cells from those they started from.

    Over the sets that count; NaN where none does.
    """
    change = _at_least_float32(predicted) - _at_least_float32(control)
    # As above, what doesn't count must not pass a gradient.
    change = torch.where(counts[:, None, None], change, 0.0).abs().mean(dim=(1, 2))
    return change.sum() / counts.sum()


def mean_over_sets(values: Float[Tensor, " sets"]) -> Float[Tensor, ""]:
    """Average over sets, leaving out NaN; NaN if nothing is left, so that training can stop."""
    return values.nanmean()


def has_nan(cells: Float[Tensor, "sets cells genes"]) -> Bool[Tensor, " sets"]:
    """Say which sets hold a NaN (or infinities of both signs), in one pass without a copy."""
    return cells.detach().sum(dim=(1, 2)).isnan()


def _at_least_float32(cells: Tensor) -> Tensor:
    return cells if cells.dtype == torch.float64 else cells.float()
