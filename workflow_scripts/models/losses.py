"""Distances between a predicted and an observed set of cells: one value a set.

All are computed in float32 at least, whatever the precision of the model around them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from geomloss import SamplesLoss
from jaxtyping import Bool, Float
from torch import Tensor

from workflow_scripts.models.energy import energy_distance

LOSSES = ("energy", "mse", "sinkhorn", "se")
DISTRIBUTIONAL_LOSSES = ("energy", "sinkhorn")

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
        Genes are cut into so many chunks of equal size (to one) in their order; the loss is the
        mean over chunks.
    regularization
        Weight of the mean absolute difference between prediction and control.

    Raises
    ------
    ValueError
        For an unknown name, a blur of zero or less, no chunk, or a negative weight.
    """

    loss: str = "energy"
    distributional_loss: str = "energy"
    blur: float = 0.05
    mmd_num_chunks: int = 1
    regularization: float = 0.0

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"loss is {self.loss!r}; known are {LOSSES}")
        if self.distributional_loss not in DISTRIBUTIONAL_LOSSES:
            raise ValueError(
                f"distributional_loss is {self.distributional_loss!r}; known are "
                f"{DISTRIBUTIONAL_LOSSES}"
            )
        if self.blur <= 0:
            raise ValueError(f"blur is {self.blur}, must be above 0")
        if self.mmd_num_chunks < 1:
            raise ValueError(f"mmd_num_chunks is {self.mmd_num_chunks}, must be at least 1")
        if self.regularization < 0:
            raise ValueError(f"regularization is {self.regularization}, must not be negative")

    def __call__(
        self,
        predicted: Float[Tensor, "sets cells genes"],
        observed: Float[Tensor, "sets cells genes"],
        control: Float[Tensor, "sets cells genes"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the mean over sets, leaving out sets whose value is NaN; NaN if all are."""
        return mean_over_sets(self.per_set(predicted, observed, control))

    def per_set(
        self,
        predicted: Float[Tensor, "sets cells genes"],
        observed: Float[Tensor, "sets cells genes"],
        control: Float[Tensor, "sets cells genes"] | None = None,
    ) -> Float[Tensor, " sets"]:
        """Compute one value a set.

        Parameters
        ----------
        predicted, observed
            Cells of each set.
        control
            The control cells the prediction started from, for ``regularization``. None leaves that
            term out: decoded genes have no control of their own.

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
        if whole.is_cuda or torch.compiler.is_compiling():
            # To ask whether there are any would make the host wait for the GPU, in every step, and
            # cut a compiled step in two. Zeros instead cost a pass over the cells.
            clean = whole[:, None, None]
            kept = None if control is None else torch.where(clean, control, 0.0)
            values = self._of_whole_sets(
                torch.where(clean, predicted, 0.0), torch.where(clean, observed, 0.0), kept
            )
            return values.masked_fill(~whole, torch.nan)
        if whole.all():
            return self._of_whole_sets(predicted, observed, control)
        values = _at_least_float32(predicted).new_full(whole.shape, torch.nan)
        if whole.any():
            kept = None if control is None else control[whole]
            kept_values = self._of_whole_sets(predicted[whole], observed[whole], kept)
            values = values.masked_scatter(whole, kept_values)
        return values

    def _of_whole_sets(self, predicted: Tensor, observed: Tensor, control: Tensor | None) -> Tensor:
        distance = self._distance()
        chunks = zip(
            predicted.tensor_split(self.mmd_num_chunks, dim=2),
            observed.tensor_split(self.mmd_num_chunks, dim=2),
            strict=True,
        )
        values = torch.stack([distance(y, t) for y, t in chunks]).mean(dim=0)
        if self.regularization and control is not None:
            change = _at_least_float32(predicted) - _at_least_float32(control)
            values = values + self.regularization * change.abs().mean(dim=(1, 2))
        return values

    def _distance(self) -> Callable[[Tensor, Tensor], Tensor]:
        name = self.distributional_loss if self.loss == "energy" else self.loss
        if name == "mse":
            return mse
        if name == "energy":
            return energy_distance
        if name == "sinkhorn":
            return lambda y, t: sinkhorn(y, t, self.blur)
        return lambda y, t: SINKHORN_SHARE * sinkhorn(y, t, self.blur) + energy_distance(y, t)


def mean_over_sets(values: Float[Tensor, " sets"]) -> Float[Tensor, ""]:
    """Average over sets, leaving out NaN; NaN if nothing is left, so that training can stop."""
    return values.nanmean()


def has_nan(cells: Float[Tensor, "sets cells genes"]) -> Bool[Tensor, " sets"]:
    """Say which sets hold a NaN (or infinities of both signs), in one pass without a copy."""
    return cells.detach().sum(dim=(1, 2)).isnan()


def _at_least_float32(cells: Tensor) -> Tensor:
    return cells if cells.dtype == torch.float64 else cells.float()
