"""The denoised baseline: what a perturbation did in other contexts, without most of the noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse.linalg import svds
from torch import Tensor

from workflow_scripts.models.baselines import (
    Baseline,
    Effects,
    Notes,
    Numbers,
    effects_of_contexts,
)
from workflow_scripts.models.ridge import Ridge, fit_ridge
from workflow_scripts.models.training_effects import GENES_AT_ONCE, TrainingEffects

MEASURED = "measured elsewhere"
OF_PARTS = "sum of its parts"
OF_RIDGE = "ridge on features"
OF_MEAN = "mean response"
"""What a predicted effect rests on."""

NOTES = {
    MEASURED: "",
    OF_PARTS: "not measured in another training context: sum of the effects of its parts",
    OF_RIDGE: "not measured in another training context: mean response + ridge on features",
    OF_MEAN: "not measured in another training context: mean response",
}

DRAWS = 20
"""Draws of noise that the threshold of singular values is taken from."""

LARGE = 4.0
"""Residuals of more than these many standard errors are kept whole."""

PRIOR = (1.2, 0.5)
"""Slopes of the low rank and of the small residuals, before a context's own effects are seen."""

PRIOR_ROWS = 20.0
"""Training perturbations of a context that weigh as much as the prior of its slopes."""

MOST_ROWS = 500
"""Training perturbations of a context that slopes are fitted on; more would fit no other ones."""

TRUSTED = 0.5
"""Factor of the predicted effects, by leave-one-out, from which on they are left as they are."""


@dataclass(frozen=True, eq=False)
class ControlNoise:
    """How means of cells vary by chance, as the control cells show it.

    Attributes
    ----------
    variances
        Variance of each gene within a context.
    spectrum
        Eigenvalues of the covariance of the genes within a context, those that aren't zero.
    """

    variances: Float[np.ndarray, " genes"]
    spectrum: Float[np.ndarray, " directions"]

    @classmethod
    def of_cells(cls, controls: Sequence[Float[np.ndarray, "cells genes"]]) -> ControlNoise:
        """Measure it on control cells of each context."""
        centred = np.concatenate([cells - cells.mean(axis=0) for cells in controls])
        freedom = max(len(centred) - len(controls), 1)
        variances = np.square(centred).sum(axis=0, dtype=np.float64) / freedom
        squares = np.linalg.eigvalsh((centred @ centred.T).astype(np.float64)) / freedom
        return cls(variances, squares[squares > squares[-1] * 1e-9])

    def threshold(self, n_rows: int, seed: int) -> float:
        """Return the singular value that noise alone exceeds in one screen of twenty.

        A row of the noise has the covariance of a cell: a mean of n cells, times √n.
        """
        rng = np.random.default_rng(seed)
        largest = []
        start = np.ones(min(n_rows, len(self.spectrum)))
        for _ in range(DRAWS):
            rows = rng.standard_normal((n_rows, len(self.spectrum)), dtype=np.float32)
            rows *= np.sqrt(self.spectrum, dtype=np.float32)
            rows -= rows.mean(axis=0)
            if min(rows.shape) < 20:
                largest.append(np.linalg.norm(rows, 2))
            else:
                largest += [*svds(rows, k=1, v0=start, return_singular_vectors=False)]
        return float(np.quantile(largest, 0.95))


@dataclass(frozen=True, eq=False)
class Parts:
    """Effects of perturbations, relative to their mean, in three parts that sum to them.

    Attributes
    ----------
    perturbations
        Their numbers, ascending.
    effects
        Their sum.
    loadings, patterns
        The low rank, what perturbations share, as a product.
    is_large
        Where the rest is too large to be noise.
    """

    perturbations: Int[Tensor, " perturbations"]
    effects: Float[Tensor, "perturbations genes"]
    loadings: Float[Tensor, "perturbations rank"]
    patterns: Float[Tensor, "rank genes"]
    is_large: Bool[Tensor, "perturbations genes"]

    def of(self, perturbation: Int[Tensor, " asked"]) -> list[Float[Tensor, "asked genes"]]:
        """Return low rank, small rest and large rest of each; zeros where it is not among these."""
        rows = self.rows(perturbation)
        known, there = rows >= 0, rows[rows >= 0]
        parts = [torch.zeros(len(rows), self.effects.shape[1]) for _ in range(3)]
        low_rank = self.loadings[there] @ self.patterns
        rest = self.effects[there] - low_rank
        large = torch.where(self.is_large[there], rest, 0.0)
        for part, found in zip(parts, (low_rank, rest - large, large), strict=True):
            part[known] = found
        return parts

    def rows(self, perturbation: Int[Tensor, " asked"]) -> Int[Tensor, " asked"]:
        """Return the row of each perturbation; -1 where there is none."""
        if len(self.perturbations) == 0:
            return torch.full_like(perturbation, -1)
        at = torch.searchsorted(self.perturbations, perturbation)
        at = at.clamp_max(len(self.perturbations) - 1)
        return torch.where(self.perturbations[at] == perturbation, at, -1)


class Denoised(Baseline):
    """Predict an effect as low rank plus sparse, from the effects in other contexts.

    The effect of perturbation p in context c is m_c + γ₁ l_p + γ₂ s_p + b_p. Over all contexts but
    c, an additive fit gives p an effect of its own, d_p. The low rank l_p comes from all d by
    shrinking singular values (Gavish and Donoho, Optimal shrinkage of singular values, 2017,
    eq. 7), with a threshold that noise as among the controls exceeds in one screen of twenty. Of
    the residual d_p - l_p, genes beyond `LARGE` standard errors and the target's own gene are b_p,
    the others s_p. The slopes γ are fitted on the training perturbations of c, and shrunk to
    `PRIOR`; m_c centres them. In a context without any, m_c is the mean response of the others.

    Where no other context has p, a combination is the sum of the effects of its parts, if all of
    them were trained on; any other perturbation gets, in place of γ₁ l_p + γ₂ s_p + b_p, what ridge
    regression from features predicts of it, or nothing: the mean response is left.

    Parameters
    ----------
    training
        Effects of the training cells.
    noise
        How their means vary by chance.
    own_genes
        Places of the genes that each perturbation targets.
    combinations
        Numbers of the parts of each combination.
    features
        Feature vectors by the number of the perturbation.
    seed
        Of the draws of noise.
    """

    def __init__(
        self,
        training: TrainingEffects,
        noise: ControlNoise,
        own_genes: Mapping[int, Sequence[int]],
        *,
        combinations: Mapping[int, Sequence[int]] = MappingProxyType({}),
        features: Float[Tensor, "numbers features"] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(training)
        self.noise = noise
        self.own_genes = own_genes
        self.combinations = combinations
        self.features = features
        self.seed = seed
        self._of_others: tuple[int, Parts] | None = None

    def effects(self, perturbations: Numbers, contexts: Numbers) -> Effects:
        """Return the predicted effect of each perturbation in a context."""
        predicted = torch.empty(len(perturbations), self.training.effects.shape[1])
        for context in torch.unique(contexts).tolist():
            at = (contexts == context).nonzero()[:, 0]
            predicted[at] = self._in_context(context, perturbations[at])
        return predicted

    def notes(self, perturbations: Numbers, contexts: Numbers) -> Notes:
        """Say which effects were measured in no other context, and what stands for them."""
        return [NOTES[source] for source in self.sources(perturbations, contexts)]

    def sources(self, perturbations: Numbers, contexts: Numbers) -> list[str]:
        """Return what the effect of each perturbation in a context rests on: keys of `NOTES`."""
        instead = OF_MEAN if self.features is None else OF_RIDGE
        return [
            MEASURED
            if self._trained.get(number, set()) - {context}
            else OF_PARTS
            if self._known_parts(number)
            else instead
            for number, context in zip(perturbations.tolist(), contexts.tolist(), strict=True)
        ]

    def trained_elsewhere(self, perturbations: Numbers, contexts: Numbers) -> list[tuple[int, int]]:
        """Return in how many other contexts, and cells, each perturbation was trained on.

        Of a combination that rests on its parts, those in which all parts were, by the least.
        """
        training, found = self.training, []
        sources = self.sources(perturbations, contexts)
        asked = zip(perturbations.tolist(), contexts.tolist(), sources, strict=True)
        for number, context, source in asked:
            behind = []
            for part in self.combinations[number] if source == OF_PARTS else (number,):
                pairs = training.perturbation == part
                if source != OF_PARTS:
                    pairs &= training.context != context
                behind.append((int(pairs.sum()), int(training.cells[pairs].sum())))
            found.append(min(behind))
        return found

    def left_out(self, context: int) -> tuple[Int[Tensor, " pairs"], Float[Tensor, "pairs genes"]]:
        """Return training pairs of a context, and their effects as predicted without them."""
        return self.rows_of(context), self._fit(context).left_out()

    def _in_context(
        self, context: int, asked: Int[Tensor, " asked"]
    ) -> Float[Tensor, "asked genes"]:
        parts = self.elsewhere(context)
        is_known = (parts.rows(asked) >= 0)[:, None]
        if self.training.trained_contexts[context]:
            fit = self._fit(context)
            mean, effects = fit.effects.mean(dim=0), fit.predict(*parts.of(asked))
        else:
            mean = self.mean_response_without(context)
            effects = self.without_context(context, asked)
        if not bool(is_known.all()):
            instead = mean if self.features is None else mean + self._ridge(asked)
            effects = torch.where(is_known, effects, instead)
        for at in (~is_known).nonzero()[:, 0].tolist():
            if (sum_of_parts := self.sum_of_parts(int(asked[at]), mean)) is not None:
                effects[at] = sum_of_parts
        return effects

    def without_context(
        self, context: int, asked: Int[Tensor, " asked"]
    ) -> Float[Tensor, "asked genes"]:
        """Return effects in a context, predicted as if none of its own pairs had trained."""
        low_rank, small, large = self.elsewhere(context).of(asked)
        mean = self.mean_response_without(context)
        return mean + PRIOR[0] * low_rank + PRIOR[1] * small + large

    def mean_response_without(self, context: int) -> Float[Tensor, " genes"]:
        """Return the mean response of the other trained contexts, each counted once."""
        of_context = [
            self.training.effects[self.training.context == other].mean(dim=0)
            for other in self.training.trained_contexts.nonzero()[:, 0].tolist()
            if other != context
        ]
        if not of_context:
            return torch.full((self.training.effects.shape[1],), torch.nan)
        return torch.stack(of_context).mean(dim=0)

    def sum_of_parts(
        self, number: int, mean: Float[Tensor, " genes"]
    ) -> Float[Tensor, " genes"] | None:
        """Return the effect of a combination, if its parts were trained on.

        ``mean`` is the mean response of the context: each part adds it once.
        """
        if not (parts := self._known_parts(number)):
            return None
        return len(parts) * mean + self._everywhere(parts).sum(dim=0)

    def _known_parts(self, number: int) -> Sequence[int]:
        """Return the parts of a combination, if all of them were trained on."""
        parts = self.combinations.get(number, ())
        return parts if self._trained.keys() >= {*parts} else ()

    @cached_property
    def _trained(self) -> dict[int, set[int]]:
        """Contexts in which each perturbation was trained on."""
        trained: dict[int, set[int]] = {}
        pairs = zip(
            self.training.perturbation.tolist(), self.training.context.tolist(), strict=True
        )
        for number, context in pairs:
            trained.setdefault(number, set()).add(context)
        return trained

    def rows_of(self, context: int) -> Int[Tensor, " pairs"]:
        """Return the training pairs of a context, or `MOST_ROWS` of them that the seed draws."""
        pairs = (self.training.context == context).nonzero()[:, 0]
        drawn = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(self.seed))
        return pairs[drawn[:MOST_ROWS].sort().values]

    def _fit(self, context: int) -> SlopeFit:
        pairs = self.rows_of(context)
        known = self.elsewhere(context).of(self.training.perturbation[pairs])
        return SlopeFit(self.training.effects[pairs], *known)

    def _ridge(self, asked: Int[Tensor, " asked"]) -> Float[Tensor, "asked genes"]:
        """Return what features tell of perturbations, relative to the mean of those trained."""
        assert self.features is not None
        ridge, denoised = self._fitted_ridge
        return ridge.weights(self.features[asked]).float() @ denoised

    def ridge_left_out(self, trained: Int[Tensor, " asked"]) -> Float[Tensor, "asked genes"]:
        """Return the same of trained perturbations, each by a regression of the others."""
        assert self.features is not None
        ridge, denoised = self._fitted_ridge
        rows = torch.searchsorted(self.training.perturbations, trained)
        weights = ridge.weights(self.features[trained])
        own = weights.gather(1, rows[:, None])
        # Of ridge with a free intercept: (H Y - h_ii Y_i) / (1 - h_ii).
        weights = weights.scatter(1, rows[:, None], 0.0) / (1.0 - own)
        return weights.float() @ denoised

    @cached_property
    def _fitted_ridge(self) -> tuple[Ridge, Float[Tensor, "perturbations genes"]]:
        """The regression, and the effects that it weighs: denoised, relative to their mean."""
        assert self.features is not None
        numbers = self.training.perturbations
        denoised = self._everywhere(numbers)
        denoised = denoised - denoised.mean(dim=0)
        gram = (denoised @ denoised.T).double()
        return fit_ridge(self.features[numbers], gram), denoised

    def _everywhere(self, asked: Sequence[int] | Numbers) -> Float[Tensor, "asked genes"]:
        """Return the effects of trained perturbations, relative to their mean, by all contexts."""
        low_rank, small, large = self.elsewhere(None).of(torch.as_tensor(asked))
        return PRIOR[0] * low_rank + PRIOR[1] * small + large

    @cached_property
    def threshold(self) -> float:
        """Singular value up to which the effects may be noise."""
        return self.noise.threshold(len(self.training.perturbations), self.seed)

    def elsewhere(self, context: int | None) -> Parts:
        """Return the parts of the effects of all contexts but one; None leaves none out."""
        if context is None:
            return self._of_all
        if self._of_others is None or self._of_others[0] != context:
            self._of_others = context, self._separated(context)
        return self._of_others[1]

    @cached_property
    def _of_all(self) -> Parts:
        return self._separated(-1)

    def _separated(self, context: int) -> Parts:
        training = self.training
        of_others = training.context != context
        chosen = replace(
            training,
            control_means=training.control_means[:, :0],
            effects=training.effects[of_others, :0],
            perturbation=training.perturbation[of_others],
            context=training.context[of_others],
            cells=training.cells[of_others],
        )
        numbers, row, share = chosen.perturbations, chosen.row, chosen.pair_weights
        effects = torch.zeros(len(numbers), training.effects.shape[1])
        is_large = torch.zeros_like(effects, dtype=torch.bool)
        if len(numbers) < 2:
            return Parts(numbers, effects, effects[:, :0], effects[:0], is_large)
        for first in range(0, effects.shape[1], GENES_AT_ONCE):  # a copy of all is too large
            span = slice(first, first + GENES_AT_ONCE)
            block, own = training.effects[:, span], effects[:, span]
            means = training.control_means[:, span]
            part = replace(chosen, control_means=means, effects=block[of_others])
            rest = part.effects - effects_of_contexts(part)[part.context].float()
            own.index_add_(0, row, rest * share[:, None].float())
        # Variance of each effect, in units of that of a cell.
        variance = torch.zeros(len(numbers), dtype=torch.float64)
        variance.index_add_(0, row, share**2 / chosen.cells.double())
        scale = variance.sqrt()[:, None].float()
        loadings, patterns = shrink_to_low_rank(effects / scale, self.threshold)
        loadings *= scale
        limits = LARGE * torch.from_numpy(self.noise.variances).sqrt().float()
        for at, number in enumerate(numbers.tolist()):
            rest = effects[at] - loadings[at] @ patterns
            is_large[at] = rest.abs() > limits * scale[at]
            is_large[at, list(self.own_genes.get(number, ()))] = True
        return Parts(numbers, effects, loadings, patterns, is_large)


class SlopeFit:
    """Effects of a context as slopes of two parts, plus a third one, about a centre.

    The slopes are fitted by least squares and shrunk to `PRIOR`, as if `PRIOR_ROWS` more
    perturbations had shown it. Predictions are shrunk to the mean of the effects where rows left
    out say so: if a factor below `TRUSTED` fits those best, by that factor over `TRUSTED`.

    Parameters
    ----------
    effects
        Observed effects.
    low_rank, small, large
        Their parts as other contexts tell them.
    """

    def __init__(
        self,
        effects: Float[Tensor, "rows genes"],
        low_rank: Float[Tensor, "rows genes"],
        small: Float[Tensor, "rows genes"],
        large: Float[Tensor, "rows genes"],
    ) -> None:
        self.effects = effects
        self.parts = (low_rank, small, large)
        self.rest = effects - large
        rows = (low_rank, small, self.rest)
        self._means = [part.mean(dim=0) for part in rows]
        # Of each row, and of the means, the inner products that least squares needs.
        self._own = torch.stack([(a * b).sum(1) for a in rows for b in rows], 1).double()
        self._with_mean = torch.stack([b @ a for a in self._means for b in rows], 1).double()
        self._of_means = torch.stack([a @ b for a in self._means for b in self._means]).double()

    def predict(
        self,
        low_rank: Float[Tensor, "asked genes"],
        small: Float[Tensor, "asked genes"],
        large: Float[Tensor, "asked genes"],
    ) -> Float[Tensor, "asked genes"]:
        """Return the effects of perturbations with these parts."""
        slopes = self.slopes
        centre = self._means[2] - slopes[0] * self._means[0] - slopes[1] * self._means[1]
        predicted = centre + slopes[0] * low_rank + slopes[1] * small + large
        mean = self.effects.mean(dim=0)
        if len(self.effects) < 2:
            return predicted
        return mean + self._shares(*self._mean_and_left_out())[0] * (predicted - mean)

    @property
    def slopes(self) -> Float[Tensor, " 2"]:
        """The slopes of low rank and small residuals."""
        n = len(self.effects)
        moments = self._own.sum(dim=0) - n * self._of_means
        return _solved(moments[None], n)[0]

    def left_out(self) -> Float[Tensor, "rows genes"]:
        """Return each row as predicted by a fit of the others; NaN where there is only one."""
        n = len(self.effects)
        if n < 2:
            return torch.full_like(self.effects, torch.nan)
        mean, predicted = self._mean_and_left_out()
        return mean + self._shares(mean, predicted)[1:, None] * (predicted - mean)

    def _shares(
        self, mean: Float[Tensor, "rows genes"], predicted: Float[Tensor, "rows genes"]
    ) -> Float[Tensor, " all_and_rows"]:
        """Return the factors of predictions about the mean: by all rows, and by all but each.

        ``mean`` and ``predicted`` are of each row left out.
        """
        change = predicted - mean
        both = (change * (self.effects - mean)).sum(dim=1).double()
        squared = change.square().sum(dim=1).double()
        none = torch.zeros(1, dtype=torch.float64)
        own_both, own_squared = torch.cat([none, both]), torch.cat([none, squared])
        best = (both.sum() - own_both) / (squared.sum() - own_squared).clamp_min(1e-300)
        return (best / TRUSTED).clamp(0.0, 1.0).float()

    def _mean_and_left_out(
        self,
    ) -> tuple[Float[Tensor, "rows genes"], Float[Tensor, "rows genes"]]:
        """Return, for each row, the mean of the others, and what their slopes predict."""
        n = len(self.effects)
        crossed = self._with_mean.view(n, 3, 3)
        mean_products = (
            n**2 * self._of_means
            - n * (crossed + crossed.transpose(1, 2)).reshape(n, 9)
            + self._own
        ) / (n - 1) ** 2
        moments = self._own.sum(dim=0) - self._own - (n - 1) * mean_products
        slopes = _solved(moments, n - 1)
        low_rank, small, large = self.parts
        own = slopes[:, :1] * low_rank + slopes[:, 1:] * small
        mean = n * (
            self._means[2] - slopes[:, :1] * self._means[0] - slopes[:, 1:] * self._means[1]
        )
        predicted = (mean - (self.rest - own)) / (n - 1) + own + large
        return (self.effects.sum(dim=0) - self.effects) / (n - 1), predicted


def _solved(moments: Float[Tensor, "fits 9"], n_rows: int) -> Float[Tensor, "fits 2"]:
    """Return slopes from the centred moments of low rank, small residuals and effects."""
    matrix = moments.view(-1, 3, 3)
    gram, moment = matrix[:, :2, :2], matrix[:, :2, 2]
    diagonal = gram.diagonal(dim1=1, dim2=2)
    least = 1e-9 * diagonal.sum(dim=1, keepdim=True) + 1e-12
    weight = (diagonal + least) * PRIOR_ROWS / n_rows
    prior = torch.tensor(PRIOR, dtype=torch.float64)
    slopes: Tensor = torch.linalg.solve(gram + weight.diag_embed(), moment + weight * prior)
    return slopes.clamp(0.0, 1.3).float()


def shrink_to_low_rank(
    effects: Float[Tensor, "rows genes"], threshold: float
) -> tuple[Float[Tensor, "rows rank"], Float[Tensor, "rank genes"]]:
    """Return effects as a product with singular values shrunk, without those up to a threshold."""
    n_rows, n_genes = effects.shape
    gram = (effects @ effects.T).double()
    squares, vectors = torch.linalg.eigh(gram)
    singular = squares.clamp_min(0.0).sqrt()
    ratio = min(n_rows, n_genes) / max(n_rows, n_genes)
    unit = threshold / (1 + ratio**0.5)
    kept = singular > threshold
    squared = (singular[kept] / unit) ** 2
    shrunk = ((squared - ratio - 1) ** 2 - 4 * ratio).clamp_min(0.0).sqrt() / squared
    loadings = vectors[:, kept].float()
    return loadings * shrunk.float(), loadings.T @ effects
