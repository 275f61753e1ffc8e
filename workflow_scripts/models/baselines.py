"""Baselines: what a model must beat, fitted in closed form and asked like a model.

All work on expression (log1p of normalised counts), never on embeddings. Perturbations and contexts
are numbers; the control is no perturbation here. Those that read features are in
`feature_baselines`.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from workflow_scripts.models.training_effects import GENES_AT_ONCE, TrainingEffects, add_effect

ADDITIVE_PENALTY = 1e-3
"""Penalty on each level of the additive baseline, in observations: enough to make the solution
unique where contexts and perturbations overlap too little for it, and it shrinks a level that was
observed once by a thousandth."""


class ControlBaseline(nn.Module):
    """Predict that nothing happens: the control cells themselves."""

    def forward(
        self,
        control: Float[Tensor, "sets cells genes"],
        features: Tensor | None = None,
        batch: Int[Tensor, "sets cells"] | None = None,
        *,
        perturbation: Int[Tensor, " sets"] | None = None,
        context: Int[Tensor, " sets"] | None = None,
    ) -> Float[Tensor, "sets cells genes"]:
        """Return the control cells; nothing else is read."""
        return control


class OneProfile(nn.Module):
    """Predict one profile for all perturbations of a context, which carries no information.

    Every predicted cell is that profile, so that perturbations tie exactly where they are told
    apart. Expression can't be negative: profiles are clipped at zero.

    Parameters
    ----------
    training
        Effects of the training cells.
    weights
        Weight of each pair's effect in each context's profile, float64.
    """

    profiles: Tensor
    trained: Tensor

    def __init__(self, training: TrainingEffects, weights: Float[Tensor, "contexts pairs"]) -> None:
        super().__init__()
        dtype = training.effects.dtype
        profiles = training.control_means + weights.to(dtype) @ training.effects
        self.register_buffer("profiles", profiles.clamp_min(0.0).to(dtype))
        self.register_buffer("trained", training.trained_contexts)

    def uses_fallback(self, context: Int[Tensor, " sets"]) -> Bool[Tensor, " sets"]:
        """Say which contexts have no training perturbation."""
        return ~self.trained[context]

    def forward(
        self,
        control: Float[Tensor, "sets cells genes"],
        features: Tensor | None = None,
        batch: Int[Tensor, "sets cells"] | None = None,
        *,
        perturbation: Int[Tensor, " sets"] | None = None,
        context: Int[Tensor, " sets"] | None = None,
    ) -> Float[Tensor, "sets cells genes"]:
        """Return the context's profile for every cell; of the control, only the shape is read.

        Raises
        ------
        ValueError
            If ``context`` is missing.
        """
        if context is None:
            raise ValueError("one profile a context needs `context`")
        profile = self.profiles[context][:, None, :]
        return profile.expand_as(control).to(control.dtype).contiguous()


class MeanResponse(OneProfile):
    """Predict the mean profile of a context's training perturbations, each counted once.

    In a context without any, it is the control mean plus the mean effect of the contexts that have
    some, each context counted once.

    Parameters
    ----------
    training
        Effects of the training cells.
    """

    def __init__(self, training: TrainingEffects) -> None:
        weights = _weights_in_contexts(training, torch.ones(len(training.cells)))
        trained = training.trained_contexts
        elsewhere = weights[trained].mean(dim=0)
        super().__init__(training, torch.where(trained[:, None], weights, elsewhere))


class ContextMean(OneProfile):
    """Predict the mean of a context's perturbed training cells, each cell counted once.

    In a context without any, it is the mean of the context's control cells: what is known of that
    context alone.

    Parameters
    ----------
    training
        Effects of the training cells.
    """

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


class PerturbationMeanEffect(nn.Module):
    """Predict control cells plus what this perturbation did, on average, in other contexts.

    The effect is the mean over the *other* training contexts where the perturbation was seen, each
    context counted once; its effect in the predicted context is never used. A perturbation not seen
    in any other context falls back to the mean effect of all training perturbations (each averaged
    over its contexts first); ``uses_fallback`` says where.

    Parameters
    ----------
    training
        Effects of the training cells.
    """

    effects: Tensor
    pair_perturbation: Tensor
    pair_context: Tensor
    fallback: Tensor

    def __init__(self, training: TrainingEffects) -> None:
        super().__init__()
        weights = training.pair_weights / len(training.perturbations)
        self.register_buffer("effects", training.effects)
        self.register_buffer("pair_perturbation", training.perturbation)
        self.register_buffer("pair_context", training.context)
        self.register_buffer("fallback", weights.to(training.effects.dtype) @ training.effects)

    def forward(
        self,
        control: Float[Tensor, "sets cells genes"],
        features: Tensor | None = None,
        batch: Int[Tensor, "sets cells"] | None = None,
        *,
        perturbation: Int[Tensor, " sets"] | None = None,
        context: Int[Tensor, " sets"] | None = None,
    ) -> Float[Tensor, "sets cells genes"]:
        """Return control cells + effect, at least zero; features and batch are not read.

        Raises
        ------
        ValueError
            If ``perturbation`` or ``context`` is missing.
        """
        if perturbation is None or context is None:
            raise ValueError("the perturbation mean effect needs `perturbation` and `context`")
        elsewhere = self._seen_elsewhere(perturbation, context)
        effect = torch.stack(
            [self.effects[rows].mean(dim=0) if rows.any() else self.fallback for rows in elsewhere]
        )
        return add_effect(control, effect)

    def uses_fallback(
        self, perturbation: Int[Tensor, " sets"], context: Int[Tensor, " sets"]
    ) -> Bool[Tensor, " sets"]:
        """Say where a perturbation was seen in no other training context."""
        return ~self._seen_elsewhere(perturbation, context).any(dim=1)

    def _seen_elsewhere(
        self, perturbation: Int[Tensor, " sets"], context: Int[Tensor, " sets"]
    ) -> Bool[Tensor, "sets pairs"]:
        same_perturbation = self.pair_perturbation == perturbation[:, None]
        return same_perturbation & (self.pair_context != context[:, None])


class Additive(nn.Module):
    """Predict control cells plus a common effect, one of the context and one of the perturbation.

    The effect of perturbation p in context c is m + a_c + b_p, fitted to all training pairs, each
    counted once, by least squares with `ADDITIVE_PENALTY` on a and b (not on m). So a perturbation
    isn't credited with what a context does to all, as a plain mean over its contexts would where
    not every context has every perturbation. Of a level that was not trained on, nothing is known
    but m: its a_c or b_p is zero.

    The b are eliminated: with Z the columns of m and a, and P those of b,
    (Zᵀ Q Z + λ diag(0, 1, …)) (m, a) = Zᵀ Q E for Q = 1 - P (PᵀP + λ)⁻¹ Pᵀ, a system of the size of
    the contexts; b follows for a perturbation when it is asked for.

    Parameters
    ----------
    training
        Effects of the training cells.
    """

    effects: Tensor
    pair_perturbation: Tensor
    pair_context: Tensor
    trained_contexts: Tensor
    of_context: Tensor

    def __init__(self, training: TrainingEffects) -> None:
        super().__init__()
        n_pairs, n_contexts = len(training.cells), len(training.control_means)
        n_perturbations = len(training.perturbations)
        columns = torch.zeros(n_pairs, 1 + n_contexts, dtype=torch.float64)
        columns[:, 0] = 1.0
        columns[torch.arange(n_pairs), 1 + training.context] = 1.0
        sums = torch.zeros(n_perturbations, 1 + n_contexts, dtype=torch.float64)
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
        self.register_buffer("effects", training.effects)
        self.register_buffer("pair_perturbation", training.perturbation)
        self.register_buffer("pair_context", training.context)
        self.register_buffer("trained_contexts", training.trained_contexts)
        self.register_buffer("of_context", solution[0] + solution[1:])

    def forward(
        self,
        control: Float[Tensor, "sets cells genes"],
        features: Tensor | None = None,
        batch: Int[Tensor, "sets cells"] | None = None,
        *,
        perturbation: Int[Tensor, " sets"] | None = None,
        context: Int[Tensor, " sets"] | None = None,
    ) -> Float[Tensor, "sets cells genes"]:
        """Return control cells + effect, at least zero; features and batch are not read.

        Raises
        ------
        ValueError
            If ``perturbation`` or ``context`` is missing.
        """
        if perturbation is None or context is None:
            raise ValueError("the additive baseline needs `perturbation` and `context`")
        own = torch.stack([self._of_perturbation(int(number)) for number in perturbation])
        return add_effect(control, self.of_context[context] + own)

    def knows(
        self, perturbation: Int[Tensor, " sets"], context: Int[Tensor, " sets"]
    ) -> tuple[Bool[Tensor, " sets"], Bool[Tensor, " sets"]]:
        """Say of which perturbations and of which contexts something was trained on."""
        return torch.isin(perturbation, self.pair_perturbation), self.trained_contexts[context]

    def _of_perturbation(self, perturbation: int) -> Float[Tensor, " genes"]:
        pairs = (self.pair_perturbation == perturbation).nonzero()[:, 0]
        residuals = self.effects[pairs].double() - self.of_context[self.pair_context[pairs]]
        return residuals.sum(dim=0) / (len(pairs) + ADDITIVE_PENALTY)
