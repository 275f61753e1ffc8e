"""Baselines: the effects that a model must predict better, fitted in closed form.

All work on expression (log1p of normalised counts), never on embeddings. Perturbations and contexts
are numbers; the control is no perturbation here.

Ridge and nearest neighbour know a perturbation by its features. With permuted features they say
what features are worth: a permuted vector still names a perturbation, and says nothing of which
others are like it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from workflow_scripts.models.ridge import fit_ridge
from workflow_scripts.models.training_effects import GENES_AT_ONCE, TrainingEffects
from workflow_scripts.settings.findings import listing

Numbers = Int[Tensor, " asked"]
Effects = Float[Tensor, "asked genes"]
Notes = list[str] | None

ADDITIVE_PENALTY = 1e-3
"""Penalty on each level of the additive baseline, in observations: enough to make the solution
unique where contexts and perturbations overlap too little for it, and it shrinks a level that was
observed once by a thousandth."""

_TIE = 1e-6
"""Squared distances that differ by less than this part of the training vectors' mean squared
distance from their centre are the same: float32 features have no more digits."""

FALLBACK = "not seen in another training context: mean effect of all training perturbations"
NO_RESPONSE = "no training perturbation in this context: its controls + mean effect of the others"
NO_MEAN = "no training perturbation in this context: mean of its controls"
NO_PERTURBATION = "perturbation not trained on: without an effect of its own"
NO_CONTEXT = "no training perturbation in this context: without an effect of its own"
USELESS = (
    "features predict no perturbation that is left out: mean effect of all training perturbations"
)
EQUALLY_NEAR = (
    "all training perturbations are equally near, as with one-hot features: their mean effect"
)
ITSELF = "trained on: its own mean effect"


class Baseline(ABC):
    """Predict effects from those of the training cells.

    Attributes
    ----------
    one_profile
        Whether each cell is the mean of its context's controls + the effect, without the noise of
        a control cell: perturbations with the same effect then tie exactly.
    """

    one_profile = False

    def __init__(self, training: TrainingEffects) -> None:
        self.training = training

    @abstractmethod
    def effects(self, perturbations: Numbers, contexts: Numbers) -> Effects:
        """Return the effect of each perturbation in its context, in log1p units."""

    def notes(self, perturbations: Numbers, contexts: Numbers) -> Notes:
        """Say what each effect rests on, where the baseline's name doesn't say it.

        Empty where there is nothing to say; None where there never is.
        """
        return None


class ControlBaseline(Baseline):
    """Predict that nothing happens."""

    def effects(self, perturbations: Numbers, contexts: Numbers) -> Effects:
        """Return zeros."""
        return torch.zeros(len(perturbations), self.training.effects.shape[1])


class OneProfile(Baseline):
    """Predict one profile for all perturbations of a context, which carries no information.

    Parameters
    ----------
    training
        Effects of the training cells.
    weights
        Weight of each pair's effect in each context's, float64.
    """

    one_profile = True
    fallback = ""
    """What is said of contexts without training perturbations."""

    def __init__(self, training: TrainingEffects, weights: Float[Tensor, "contexts pairs"]) -> None:
        super().__init__(training)
        self.of_context = weights.to(training.effects.dtype) @ training.effects

    def effects(self, perturbations: Numbers, contexts: Numbers) -> Effects:
        """Return the context's effect, whatever the perturbation."""
        effects: Tensor = self.of_context[contexts]
        return effects

    def notes(self, perturbations: Numbers, contexts: Numbers) -> Notes:
        """Say which contexts have no training perturbation."""
        return where(~self.training.trained_contexts[contexts], self.fallback)


class MeanResponse(OneProfile):
    """Predict the mean profile of a context's training perturbations, each counted once.

    In a context without any, it is the control mean plus the mean effect of the contexts that have
    some, each context counted once.
    """

    fallback = NO_RESPONSE

    def __init__(self, training: TrainingEffects) -> None:
        weights = _weights_in_contexts(training, torch.ones(len(training.cells)))
        trained = training.trained_contexts
        elsewhere = weights[trained].mean(dim=0)
        super().__init__(training, torch.where(trained[:, None], weights, elsewhere))


class ContextMean(OneProfile):
    """Predict the mean of a context's perturbed training cells, each cell counted once.

    In a context without any, it is the mean of the context's control cells: what is known of that
    context alone.
    """

    fallback = NO_MEAN

    def __init__(self, training: TrainingEffects) -> None:
        super().__init__(training, _weights_in_contexts(training, training.cells))


def _weights_in_contexts(
    training: TrainingEffects, pair_weights: Shaped[Tensor, " pairs"]
) -> Float[Tensor, "contexts pairs"]:
    """Return the share of each pair in the mean of its context; no shares where there is none."""
    weights = torch.zeros(len(training.control_means), len(pair_weights), dtype=torch.float64)
    weights[training.context, torch.arange(len(pair_weights))] = pair_weights.double()
    trained = training.trained_contexts
    weights[trained] /= weights[trained].sum(dim=1, keepdim=True)
    return weights


class PerturbationMeanEffect(Baseline):
    """Predict what this perturbation did, on average, in other contexts.

    The effect is the mean over the *other* training contexts where the perturbation was seen, each
    context counted once; its effect in the predicted context is never used. A perturbation not seen
    in any other context falls back to the mean effect of all training perturbations (each averaged
    over its contexts first).
    """

    def __init__(self, training: TrainingEffects) -> None:
        super().__init__(training)
        weights = training.pair_weights / len(training.perturbations)
        self.fallback = weights.to(training.effects.dtype) @ training.effects

    def effects(self, perturbations: Numbers, contexts: Numbers) -> Effects:
        """Return the mean over other contexts."""
        elsewhere = self._seen_elsewhere(perturbations, contexts)
        all_effects = self.training.effects
        return torch.stack(
            [all_effects[rows].mean(dim=0) if rows.any() else self.fallback for rows in elsewhere]
        )

    def notes(self, perturbations: Numbers, contexts: Numbers) -> Notes:
        """Say which perturbations were seen in no other training context."""
        return where(~self._seen_elsewhere(perturbations, contexts).any(dim=1), FALLBACK)

    def _seen_elsewhere(
        self, perturbations: Numbers, contexts: Numbers
    ) -> Bool[Tensor, "asked pairs"]:
        same_perturbation = self.training.perturbation == perturbations[:, None]
        return same_perturbation & (self.training.context != contexts[:, None])


class Additive(Baseline):
    """Predict a common effect, one of the context and one of the perturbation, added up.

    The effect of perturbation p in context c is m + a_c + b_p, fitted to all training pairs, each
    counted once, by least squares with `ADDITIVE_PENALTY` on a and b (not on m). So a perturbation
    isn't credited with what a context does to all, as a plain mean over its contexts would where
    not every context has every perturbation. Of a level that was not trained on, nothing is known
    but m: its a_c or b_p is zero.
    """

    def __init__(self, training: TrainingEffects) -> None:
        super().__init__(training)
        self.of_context = effects_of_contexts(training)

    def effects(self, perturbations: Numbers, contexts: Numbers) -> Effects:
        """Return the sum of the parts, in float64."""
        own = torch.stack([self._of_perturbation(int(number)) for number in perturbations])
        return self.of_context[contexts] + own

    def notes(self, perturbations: Numbers, contexts: Numbers) -> Notes:
        """Say of which perturbations and of which contexts nothing was trained on."""
        new = ~torch.isin(perturbations, self.training.perturbation)
        of_perturbation = where(new, NO_PERTURBATION)
        of_context = where(~self.training.trained_contexts[contexts], NO_CONTEXT)
        both = zip(of_perturbation, of_context, strict=True)
        return ["; ".join(filter(None, texts)) for texts in both]

    def _of_perturbation(self, perturbation: int) -> Float[Tensor, " genes"]:
        pairs = (self.training.perturbation == perturbation).nonzero()[:, 0]
        of_context = self.of_context[self.training.context[pairs]]
        residuals = self.training.effects[pairs].double() - of_context
        return residuals.sum(dim=0) / (len(pairs) + ADDITIVE_PENALTY)


def effects_of_contexts(training: TrainingEffects) -> Float[Tensor, "contexts genes"]:
    """Return m + a_c of the fit m + a_c + b_p, for every context; m where nothing was trained.

    The b are eliminated: with Z the columns of m and a, and P those of b,
    (Zᵀ Q Z + λ diag(0, 1, …)) (m, a) = Zᵀ Q E for Q = 1 - P (PᵀP + λ)⁻¹ Pᵀ, a system of the size of
    the contexts; b_p is the mean of a perturbation's residuals, with the penalty in its number.
    """
    n_pairs, n_contexts = len(training.cells), len(training.control_means)
    columns = torch.zeros(n_pairs, 1 + n_contexts, dtype=torch.float64)
    columns[:, 0] = 1.0
    columns[torch.arange(n_pairs), 1 + training.context] = 1.0
    sums = torch.zeros(len(training.perturbations), 1 + n_contexts, dtype=torch.float64)
    sums.index_add_(0, training.row, columns)
    # The first column of the sums is the number of pairs of each perturbation.
    free = columns - (sums / (sums[:, :1] + ADDITIVE_PENALTY))[training.row]
    penalty = torch.full((1 + n_contexts,), ADDITIVE_PENALTY, dtype=torch.float64)
    penalty[0] = 0.0
    system = free.T @ columns + penalty.diag()
    fitted = [
        torch.linalg.solve(system, free.T @ block.double())
        for block in torch.split(training.effects, GENES_AT_ONCE, dim=1)
    ]
    solution = torch.cat(fitted, dim=1)
    return solution[0] + solution[1:]


class FeatureBaseline(Baseline):
    """Predict a weighted mean of training perturbations' mean effects.

    Parameters
    ----------
    training
        Effects of the training cells.
    features
        Feature vectors by the number of the perturbation.
    """

    def __init__(
        self, training: TrainingEffects, features: Float[Tensor, "numbers features"]
    ) -> None:
        super().__init__(training)
        self.features = features

    @abstractmethod
    def weights(self, perturbations: Numbers) -> Float[Tensor, "asked perturbations"]:
        """Return the weight of each training perturbation's mean effect, in float64."""

    def effects(self, perturbations: Numbers, contexts: Numbers) -> Effects:
        """Return the weighted means, whatever the context."""
        of_pairs = self.weights(perturbations)[:, self.training.row] * self.training.pair_weights
        return of_pairs.to(self.training.effects.dtype) @ self.training.effects


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

    Attributes
    ----------
    penalty
        The penalty chosen, in the units of `ridge.PENALTIES`; infinite where the features helped to
        predict no perturbation that was left out.
    """

    def __init__(
        self, training: TrainingEffects, features: Float[Tensor, "numbers features"]
    ) -> None:
        super().__init__(training, features)
        self._ridge = fit_ridge(features[training.perturbations], training.gram)
        self.penalty = self._ridge.penalty

    def weights(self, perturbations: Numbers) -> Float[Tensor, "asked perturbations"]:
        """Return the weight of each training perturbation, as the regression has them."""
        return self._ridge.weights(self.features[perturbations])

    def notes(self, perturbations: Numbers, contexts: Numbers) -> Notes:
        """Say whether the features help at all."""
        return [USELESS if math.isinf(self.penalty) else ""] * len(perturbations)


class NearestNeighbour(FeatureBaseline):
    """Predict the effect of the training perturbation whose features are nearest.

    Nearest by Euclidean distance, which ridge's inner products measure too. (The cosine of centred
    vectors would make a direction of the noise of a vector near the centre, and overlook that
    a perturbation is weak.) Training perturbations that are equally near, as all are to a new one
    with one-hot features, are averaged: no order of names or groups decides. A perturbation that
    was trained on is its own nearest neighbour: what it did in its training contexts is predicted.

    Parameters
    ----------
    training, features
        As `FeatureBaseline` takes them.
    names
        Labels of the perturbations by their number, for notes.
    """

    def __init__(
        self,
        training: TrainingEffects,
        features: Float[Tensor, "numbers features"],
        names: Sequence[str],
    ) -> None:
        super().__init__(training, features)
        self.names = names

    def weights(self, perturbations: Numbers) -> Float[Tensor, "asked perturbations"]:
        """Return equal weights for the nearest training perturbations."""
        nearest = self.nearest(perturbations).double()
        return nearest / nearest.sum(dim=1, keepdim=True)

    def nearest(self, perturbations: Numbers) -> Bool[Tensor, "asked perturbations"]:
        """Tell which training perturbations (ascending numbers) are nearest, ties included."""
        asked, known = (
            self.features[numbers].double()
            for numbers in (perturbations, self.training.perturbations)
        )
        squared = torch.cdist(asked, known, compute_mode="donot_use_mm_for_euclid_dist").square()
        spread = (known - known.mean(dim=0)).square().sum(dim=1).mean()
        return squared <= squared.amin(dim=1, keepdim=True) + _TIE * spread

    def notes(self, perturbations: Numbers, contexts: Numbers) -> Notes:
        """Say which training perturbations are nearest."""
        known = self.training.perturbations
        trained = torch.isin(perturbations, known).tolist()
        texts = []
        for itself, nearest in zip(trained, self.nearest(perturbations), strict=True):
            found = [self.names[number] for number in known[nearest].tolist()]
            if itself:
                texts.append(ITSELF)
            elif len(found) == len(known) > 1:
                texts.append(EQUALLY_NEAR)
            else:
                many = f"mean of {len(found)} equally near"
                texts.append(f"{many if found[1:] else 'nearest trained on'}: {listing(found, 3)}")
        return texts


def where(true: Bool[Tensor, " asked"], text: str) -> list[str]:
    """Return a text where something is true, and nothing elsewhere."""
    return [text if one else "" for one in true.tolist()]
