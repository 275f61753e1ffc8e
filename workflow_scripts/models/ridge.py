"""Ridge regression as weights over what it was fitted on, its penalty chosen by leave-one-out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

PENALTIES = (*(10.0 ** (power / 2) for power in range(-6, 7)), float("inf"))
"""The penalties that are tried, in units of the mean squared length of a centred feature vector, so
that they don't depend on the scale of the features: two a decade from 1/1000, where what was fitted
is all but reproduced, to 1000; and infinity, which predicts the mean of all."""

_SAME = 1e-6
"""Errors closer than this, relatively, are the same error. At the least penalty a row's residual is
about 1e-3 of the row, so that rounding of its square (1e-16) is 1e-10 of it and more."""


@dataclass(frozen=True, eq=False)
class Ridge:
    """Ridge regression with an intercept that isn't penalised, fitted on n rows.

    The prediction for any outputs Y [n, outputs] is ``weights(features) @ Y``: linear in Y, so that
    outputs are never copied.

    Attributes
    ----------
    centre
        Mean feature vector.
    projection
        From a centred feature vector to the weight of each row, less 1/n.
    penalty
        The penalty, in the units of `PENALTIES`.
    errors
        Leave-one-out error at each of `PENALTIES`: mean over rows of the squared length of the
        residual. NaN where there is nothing to choose by.
    """

    centre: Float[Tensor, " features"]
    projection: Float[Tensor, "features n"]
    penalty: float
    errors: Float[Tensor, " penalties"]

    def weights(self, features: Float[Tensor, "rows features"]) -> Float[Tensor, "rows n"]:
        """Return the weight of each fitted row in the prediction for some features, in float64.

        The weights of a prediction sum to one.
        """
        n = self.projection.shape[1]
        return (features.double() - self.centre) @ self.projection + 1.0 / n


def fit_ridge(features: Float[Tensor, "n features"], gram: Float[Tensor, "n n"]) -> Ridge:
    """Fit a ridge regression of centred outputs, of which the inner products are all it needs.

    With X the centred features, X = U S Vᵀ and T = U S, the fitted values at the penalty λ are
    H Y = T (S² + λ)⁻¹ Tᵀ Y, and the residual of row i, fitted without row i, is
    (Y - H Y)_i / (1 - 1/n - H_ii): exact for ridge with a free intercept (Hastie, Tibshirani and
    Friedman, The Elements of Statistical Learning, eqs. 3.47 and 7.64; penalising no intercept adds
    the 1/n). Its squared length needs the Gram matrix of Y alone. Of errors that are the same, the
    one with the largest penalty is chosen: what doesn't help isn't used.

    Costs an eigendecomposition of size r = min(n, features) and, for each penalty, 2 n r²
    operations; no randomness.

    Parameters
    ----------
    features
        One row a fitted row.
    gram
        Inner products of the rows of centred outputs.
    """
    n, dimension = features.shape
    centre = features.double().mean(dim=0)
    centred = features.double() - centre
    unit = float(centred.square().sum()) / n
    errors = torch.full((len(PENALTIES),), torch.nan, dtype=torch.float64)
    # One row, or rows that are all alike: rounding aside, the mean is all there is to predict.
    if unit <= 1e-24 * max(float(features.double().square().sum()) / n, 1e-300):
        projection = torch.zeros(dimension, n, dtype=torch.float64)
        return Ridge(centre, projection, PENALTIES[-1], errors)
    # X squared is exact enough: the least penalty is 1e-3 of the unit, and rounding 1e-16 of the
    # largest eigenvalue, which is at most n units. T = U S is `scaled`.
    if n <= dimension:
        squares, left = torch.linalg.eigh(centred @ centred.T)
        scaled = left * squares.clamp_min(0.0).sqrt()
    else:
        squares, right = torch.linalg.eigh(centred.T @ centred)
        scaled = centred @ right
    squares = squares.clamp_min(0.0)
    rotated = gram @ scaled
    inner = scaled.T @ rotated
    for place, penalty in enumerate(PENALTIES):
        fitted = scaled / (squares + penalty * unit)
        # |Y_i - (HY)_i|², from Y Yᵀ = gram and Tᵀ Y Yᵀ T = inner.
        crossed, own = (rotated * fitted).sum(1), ((fitted @ inner) * fitted).sum(1)
        kept = 1.0 - 1.0 / n - (fitted * scaled).sum(1)
        errors[place] = ((gram.diagonal() - 2 * crossed + own).clamp_min(0.0) / kept**2).mean()
    best = int((errors <= errors.min() * (1 + _SAME)).nonzero()[-1])
    inverse = 1.0 / (squares + PENALTIES[best] * unit)
    if n <= dimension:
        projection = centred.T @ ((left * inverse) @ left.T)
    else:
        projection = (right * inverse) @ scaled.T
    return Ridge(centre, projection, PENALTIES[best], errors)
