"""What the training cells say of effects: all that a baseline needs to be fitted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

GENES_AT_ONCE = 1024
"""Genes that are turned into float64 at a time: a few MB beside the effects for a small screen, and
80 MB for 10,000 pairs."""


@dataclass(frozen=True, eq=False)
class TrainingEffects:
    """Hold the effect of every perturbation in every context where it was trained on.

    An effect is the mean (pseudobulk) of the training cells of a perturbation in a context minus
    the mean of the context's control cells. The effects are the one large thing here and are held
    once, whatever the number of baselines fitted on them: 10,000 pairs of 18,080 genes are 720 MB.

    Parameters
    ----------
    control_means
        Mean of each context's control cells, held-out contexts included.
    effects
        Effect of each (perturbation, context) pair, in log1p units.
    perturbation, context
        Number of each pair's perturbation and context; no pair comes twice.
    cells
        Number of training cells of each pair.
    """

    control_means: Float[Tensor, "contexts genes"]
    effects: Float[Tensor, "pairs genes"]
    perturbation: Int[Tensor, " pairs"]
    context: Int[Tensor, " pairs"]
    cells: Int[Tensor, " pairs"]

    @classmethod
    def of_groups(
        cls,
        control_means: Float[Tensor, "contexts genes"],
        means: Iterable[Float[Tensor, " genes"]],
        *,
        perturbation: Int[Tensor, " groups"],
        context: Int[Tensor, " groups"],
        cells: Int[Tensor, " groups"],
    ) -> TrainingEffects:
        """Collect the means of groups of training cells, one after another.

        A group is the cells of one perturbation in one context; several groups of the same pair (of
        several files, say) are averaged, weighted by their cells.

        Parameters
        ----------
        control_means
            Mean of each context's control cells; float64 keeps the most of a difference.
        means
            Mean of each group's cells, in the order of the other arguments; read once.
        perturbation, context, cells
            Perturbation, context and number of training cells of each group.

        Raises
        ------
        ValueError
            If there is no group, a group has no cells, or a context has no row in
            ``control_means``.
        """
        if len(cells) == 0:
            raise ValueError("there is no training group: nothing to fit a baseline on")
        if int(cells.min()) < 1:
            raise ValueError("a training group has no cells; leave it out")
        known = len(control_means)
        strays = context[(context < 0) | (context >= known)]
        if len(strays):
            raise ValueError(
                f"a training group is of context {int(strays[0])}, but control_means has rows 0 "
                f"to {known - 1}"
            )
        pairs, pair_of_group = torch.unique(
            torch.stack([perturbation, context], dim=1), dim=0, return_inverse=True
        )
        numbers, contexts = (column.contiguous() for column in pairs.unbind(dim=1))
        totals = cells.new_zeros(len(pairs)).index_add_(0, pair_of_group, cells)
        effects = torch.zeros(len(pairs), control_means.shape[1])
        for mean, pair, n_cells in zip(means, pair_of_group.tolist(), cells.tolist(), strict=True):
            # Subtracted before it is rounded to float32: effects are small beside expression.
            effect = mean.double() - control_means[contexts[pair]].double()
            effects[pair] += (effect * (n_cells / int(totals[pair]))).float()
        return cls(control_means, effects, numbers, contexts, totals)

    @cached_property
    def perturbations(self) -> Int[Tensor, " perturbations"]:
        """Number of each perturbation that was trained on, ascending."""
        numbers: Tensor = torch.unique(self.perturbation)
        return numbers

    @cached_property
    def trained_contexts(self) -> Bool[Tensor, " contexts"]:
        """Whether a context has training perturbations."""
        return torch.isin(torch.arange(len(self.control_means)), self.context)

    @cached_property
    def row(self) -> Int[Tensor, " pairs"]:
        """Place of each pair's perturbation in `perturbations`."""
        return torch.searchsorted(self.perturbations, self.perturbation)

    @cached_property
    def pair_weights(self) -> Float[Tensor, " pairs"]:
        """Weight of each pair in the mean over its perturbation's contexts, each counted once."""
        return 1.0 / self.row.bincount().double()[self.row]

    @cached_property
    def gram(self) -> Float[Tensor, "perturbations perturbations"]:
        """Inner products of the perturbations' mean effects, each centred by the mean of all.

        A mean effect is the mean over the contexts where the perturbation was trained on. n
        perturbations and g genes take 2 n² g operations in float64 (0.15 TFLOP for 2,000 and
        18,080) and 8 n² bytes.
        """
        n = len(self.perturbations)
        gram = torch.zeros(n, n, dtype=torch.float64)
        for block in torch.split(self.effects, GENES_AT_ONCE, dim=1):
            means = torch.zeros(n, block.shape[1], dtype=torch.float64)
            means.index_add_(0, self.row, block.double() * self.pair_weights[:, None])
            means -= means.mean(dim=0)
            gram.addmm_(means, means.T)
        return gram
