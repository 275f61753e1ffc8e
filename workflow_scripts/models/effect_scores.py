"""How well predicted effects match observed ones: the scores that choose among checkpoints.

They are those of cell-eval2 (preset v2) of the same names, of which the evaluation's come; here on
tensors, for a device that is about to go on training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

Effects = Float[Tensor, "perturbations genes"]


def discrimination(
    predicted: Effects, observed: Effects, distance: Callable[[Tensor, Tensor], Tensor]
) -> Float[Tensor, " perturbations"]:
    """Rank each observed effect among all by its distance to the prediction for it (PDS).

    Parameters
    ----------
    predicted, observed
        Effects of the same perturbations in one context, two at least.
    distance
        Distances of all pairs of rows.

    Returns
    -------
    1 where its own is the nearest, 0 where it is the farthest; equal distances share the mean of
    their ranks. NaN where a prediction or its own effect holds one.
    """
    distances = distance(predicted, observed)
    own = distances.diagonal()[:, None]
    nearer, equal = (distances < own).sum(dim=1), (distances == own).sum(dim=1)
    ranks = nearer + (equal - 1) / 2
    scores = 1 - ranks / (len(distances) - 1)
    return scores.masked_fill(own[:, 0].isnan(), torch.nan)


def _manhattan(predicted: Effects, observed: Effects) -> Tensor:
    return torch.cdist(predicted, observed, p=1.0)


def _cosine(predicted: Effects, observed: Effects) -> Tensor:
    """Return distances of 0 to 2; an effect of zero is at 1 from all."""
    one, other = (torch.nn.functional.normalize(effects) for effects in (predicted, observed))
    distances: Tensor = 1.0 - one @ other.T
    return distances


def delta_pearson(predicted: Effects, observed: Effects) -> Float[Tensor, " perturbations"]:
    """Correlate the genes of each predicted effect with the observed; NaN where all are alike."""
    one, other = (effects - effects.mean(dim=1, keepdim=True) for effects in (predicted, observed))
    norms = one.norm(dim=1) * other.norm(dim=1)
    correlations: Tensor = (one * other).sum(dim=1) / norms.masked_fill(norms == 0, torch.nan)
    return correlations


EFFECT_SCORES: Mapping[str, Callable[[Effects, Effects], Float[Tensor, " perturbations"]]] = {
    "pds_l1": lambda predicted, observed: discrimination(predicted, observed, _manhattan),
    "pds_cosine": lambda predicted, observed: discrimination(predicted, observed, _cosine),
    "delta_pearson": delta_pearson,
}
"""Scores by name; of all, more is better."""
