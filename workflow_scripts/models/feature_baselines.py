"""Baselines that know a perturbation by its features: ridge regression and nearest neighbour.

Both predict an effect as a weighted mean of the mean effects of the perturbations trained on, and
add it to the control cells. With the features of the perturbations permuted they say what features
are worth: a permuted vector still names a perturbation, and says nothing of which others are like
it.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from workflow_scripts.models.ridge import fit_ridge
from workflow_scripts.models.training_effects import TrainingEffects, add_effect

_TIE = 1e-6
"""Squared distances that differ by less than this part of the training vectors' mean squared
distance from their centre are the same: float32 features have no more digits."""


class FeatureBaseline(nn.Module):
    """Predict control cells plus a weighted mean of training perturbations' effects.

    Parameters
    ----------
    training
        Effects of the training cells.
    """

    effects: Tensor
    pair_row: Tensor
    pair_weights: Tensor

    def __init__(self, training: TrainingEffects) -> None:
        super().__init__()
        self.register_buffer("effects", training.effects)
        self.register_buffer("pair_row", training.row)
        self.register_buffer("pair_weights", training.pair_weights)

    @abstractmethod
    def weights(
        self, features: Float[Tensor, "sets features"]
    ) -> Float[Tensor, "sets perturbations"]:
        """Return the weight of each training perturbation's mean effect, in float64."""

    def forward(
        self,
        control: Float[Tensor, "sets cells genes"],
        features: Float[Tensor, "sets features"],
        batch: Int[Tensor, "sets cells"] | None = None,
        *,
        perturbation: Int[Tensor, " sets"] | None = None,
        context: Int[Tensor, " sets"] | None = None,
    ) -> Float[Tensor, "sets cells genes"]:
        """Return control cells + effect, at least zero; of a set, its features alone are read."""
        of_pairs = self.weights(features)[:, self.pair_row] * self.pair_weights
        effect = of_pairs.to(self.effects.dtype) @ self.effects
        return add_effect(control, effect)


class RidgeEffect(FeatureBaseline):
    """Predict the effect by ridge regression from features to mean effects.

    A row of the regression is a training perturbation with its mean effect over the contexts where
    it was trained on, each context counted once. Rows weigh alike: by their cells, the few
    perturbations with most cells would decide, which aren't those that one asks about. Features and
    effects are centred, and one penalty is chosen for all genes by the error on a perturbation that
    is left out. A perturbation that was trained on is itself a row; how much of its own effect it
    keeps is up to the penalty.

    One-hot features have nothing to say of a perturbation that is left out, so every penalty has
    the same error, the largest is chosen, and all perturbations get the mean effect.

    Parameters
    ----------
    training
        Effects of the training cells.
    features
        Feature vectors by the number of the perturbation.

    Attributes
    ----------
    penalty
        The penalty chosen, in the units of `ridge.PENALTIES`; infinite where the features helped to
        predict no perturbation that was left out.
    """

    def __init__(
        self, training: TrainingEffects, features: Float[Tensor, "numbers features"]
    ) -> None:
        super().__init__(training)
        self._ridge = fit_ridge(features[training.perturbations], training.gram)
        self.penalty = self._ridge.penalty

    def weights(
        self, features: Float[Tensor, "sets features"]
    ) -> Float[Tensor, "sets perturbations"]:
        """Return the weight of each training perturbation, as the regression has them."""
        return self._ridge.weights(features)


class NearestNeighbour(FeatureBaseline):
    """Predict the effect of the training perturbation whose features are nearest.

    Nearest by Euclidean distance, which ridge's inner products measure too. (The cosine of centred
    vectors would make a direction of the noise of a vector near the centre, and overlook that
    a perturbation is weak.) Training perturbations that are equally near, as all are to a new one
    with one-hot features, are averaged: no order of names or groups decides. A perturbation that
    was trained on is its own nearest neighbour: what it did in its training contexts is predicted.

    Parameters
    ----------
    training
        Effects of the training cells.
    features
        Feature vectors by the number of the perturbation.
    """

    vectors: Tensor

    def __init__(
        self, training: TrainingEffects, features: Float[Tensor, "numbers features"]
    ) -> None:
        super().__init__(training)
        self.register_buffer("vectors", features[training.perturbations].double())

    def weights(
        self, features: Float[Tensor, "sets features"]
    ) -> Float[Tensor, "sets perturbations"]:
        """Return equal weights for the nearest training perturbations."""
        nearest = self.nearest(features).double()
        return nearest / nearest.sum(dim=1, keepdim=True)

    def nearest(
        self, features: Float[Tensor, "sets features"]
    ) -> Bool[Tensor, "sets perturbations"]:
        """Tell which training perturbations (ascending numbers) are nearest, ties included."""
        asked = features.double()
        distance = torch.cdist(asked, self.vectors, compute_mode="donot_use_mm_for_euclid_dist")
        spread = (self.vectors - self.vectors.mean(dim=0)).square().sum(dim=1).mean()
        squared = distance.square()
        return squared <= squared.amin(dim=1, keepdim=True) + _TIE * spread
