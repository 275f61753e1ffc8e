"""Baselines: what a model must beat, fitted in closed form and asked like a model.

All work on expression (log1p of normalised counts), never on embeddings. Perturbations and contexts
are numbers; the control is no perturbation here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class TrainingMeans:
    """Hold the means (pseudobulks) of the training cells, all a baseline needs to be fitted.

    A group is the cells of one perturbation in one context; several groups of the same pair (of
    several files, say) are averaged, weighted by their cells.

    Parameters
    ----------
    control_means
        Mean of each context's control cells, held-out contexts included.
    perturbed_means
        Mean of each group's training cells.
    group_perturbation, group_context
        Perturbation and context of each group.
    group_cells
        Number of training cells of each group.

    Raises
    ------
    ValueError
        If there is no group, a group has no cells, or a context has no row in ``control_means``.
    """

    control_means: Float[Tensor, "contexts genes"]
    perturbed_means: Float[Tensor, "groups genes"]
    group_perturbation: Int[Tensor, " groups"]
    group_context: Int[Tensor, " groups"]
    group_cells: Int[Tensor, " groups"]

    def __post_init__(self) -> None:
        if len(self.perturbed_means) == 0:
            raise ValueError("there is no training group: nothing to fit a baseline on")
        if int(self.group_cells.min()) < 1:
            raise ValueError("a training group has no cells; leave it out")
        known = len(self.control_means)
        strays = self.group_context[(self.group_context < 0) | (self.group_context >= known)]
        if len(strays):
            raise ValueError(
                f"group_context names context {int(strays[0])}, but control_means has rows 0 to "
                f"{known - 1}"
            )


@dataclass(frozen=True, eq=False)
class PairEffects:
    """Hold the effect of each (perturbation, context) pair of the training cells.

    The effect is the pair's mean minus the mean of the context's control cells.
    """

    effects: Float[Tensor, "pairs genes"]
    perturbation: Int[Tensor, " pairs"]
    context: Int[Tensor, " pairs"]


def pair_effects(means: TrainingMeans) -> PairEffects:
    """Compute one effect a (perturbation, context) pair, groups weighted by their cells."""
    keys = torch.stack([means.group_perturbation, means.group_context], dim=1)
    pairs, pair_of_group = torch.unique(keys, dim=0, return_inverse=True)
    weights = means.group_cells.to(means.perturbed_means)
    sums = means.perturbed_means.new_zeros(len(pairs), means.perturbed_means.shape[1])
    sums.index_add_(0, pair_of_group, means.perturbed_means * weights[:, None])
    cells = weights.new_zeros(len(pairs)).index_add_(0, pair_of_group, weights)
    effects = sums / cells[:, None] - means.control_means[pairs[:, 1]]
    return PairEffects(effects=effects, perturbation=pairs[:, 0], context=pairs[:, 1])


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


class MeanResponse(nn.Module):
    """Predict one profile for all perturbations of a context, which carries no information.

    The profile is the mean over the context's training perturbations of their mean profiles, each
    perturbation counted once. In a context without any, it is the control mean plus the mean effect
    of the contexts that have some, each context counted once, clipped at zero because expression
    can't be negative. Every predicted cell is that profile, so that perturbations tie exactly
    where they are told apart.

    Parameters
    ----------
    means
        Means of the training cells.
    """

    profiles: Tensor

    def __init__(self, means: TrainingMeans) -> None:
        super().__init__()
        pairs = pair_effects(means)
        n_contexts = len(means.control_means)
        sums = torch.zeros_like(means.control_means)
        sums.index_add_(0, pairs.context, pairs.effects)
        counts = pairs.context.bincount(minlength=n_contexts)
        seen = counts > 0
        effects = sums / counts.clamp_min(1)[:, None]
        effects[~seen] = effects[seen].mean(dim=0)
        self.register_buffer("profiles", (means.control_means + effects).clamp_min(0.0))

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
            raise ValueError("the mean response needs `context`")
        profile = self.profiles[context][:, None, :]
        return profile.expand_as(control).to(control.dtype).contiguous()


class PerturbationMeanEffect(nn.Module):
    """Predict control cells plus what this perturbation did, on average, in other contexts.

    The effect is the mean over the *other* training contexts where the perturbation was seen, each
    context counted once; its effect in the predicted context is never used. A perturbation not seen
    in any other context falls back to the mean effect of all training perturbations (each averaged
    over its contexts first); ``uses_fallback`` says where. The result is clipped at zero, because
    expression can't be negative: the mean over predicted cells may then exceed control + effect.

    Parameters
    ----------
    means
        Means of the training cells.
    """

    effects: Tensor
    pair_perturbation: Tensor
    pair_context: Tensor
    fallback: Tensor

    def __init__(self, means: TrainingMeans) -> None:
        super().__init__()
        pairs = pair_effects(means)
        perturbations, row = torch.unique(pairs.perturbation, return_inverse=True)
        sums = pairs.effects.new_zeros(len(perturbations), pairs.effects.shape[1])
        sums.index_add_(0, row, pairs.effects)
        per_perturbation = sums / row.bincount()[:, None]
        self.register_buffer("effects", pairs.effects)
        self.register_buffer("pair_perturbation", pairs.perturbation)
        self.register_buffer("pair_context", pairs.context)
        self.register_buffer("fallback", per_perturbation.mean(dim=0))

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
        return (control + effect[:, None, :].to(control.dtype)).clamp_min(0.0)

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
