"""A validation: the loss of its sets, and how well the effects of their perturbations match."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from workflow_scripts.cells.groups import Group
from workflow_scripts.cells.sampling import SetRows
from workflow_scripts.models.effect_scores import EFFECT_SCORES
from workflow_scripts.settings.labels import targets_of


class Validation:
    """Adds up the sets of a validation, over batches and processes.

    Effects are differences of means: of the cells predicted, or observed, for a perturbation in a
    context, from the control cells of all sets of that context. They lie in what the model
    predicts: expression, or an embedding. A context with a single perturbation ranks nothing and
    is left out.

    Attributes
    ----------
    can_score
        Whether there is a context with two perturbations.
    """

    def __init__(
        self, groups: Sequence[Group], sets: SetRows, genes: Sequence[str], width: int
    ) -> None:
        """Prepare for a validation's sets.

        Parameters
        ----------
        groups, sets
            What validates: `sets.groups` are numbers of ``groups``.
        genes
            Names of what is predicted; empty where these aren't genes. Those that are perturbed
            themselves, alone or in a combination, are left out: to know a target isn't to know its
            effect.
        width
            Numbers predicted of a cell.
        """
        of_set = [groups[number] for number in sets.groups]
        pairs = sorted({(group.context, group.perturbation) for group in of_set})
        contexts = sorted({context for context, _ in pairs})
        place = {pair: at for at, pair in enumerate(pairs)}
        self._pair_of = torch.full((int(sets.numbers.max()) + 1,), -1)
        for number, group in zip(sets.numbers, of_set, strict=True):
            self._pair_of[number] = place[group.context, group.perturbation]
        self._context_of = torch.tensor([contexts.index(context) for context, _ in pairs])
        self._n_contexts = len(contexts)
        labels = [perturbation for _, perturbation in pairs]
        targets = {target for own in targets_of(labels, "").values() for target in own}
        self._kept = torch.tensor([gene not in targets for gene in genes], dtype=torch.bool)
        self.can_score = bool((torch.bincount(self._context_of) > 1).any())
        self._width = width
        self.begin(torch.device("cpu"))

    def begin(self, device: torch.device) -> None:
        """Forget the last validation; the next one is on this device."""
        n_pairs = len(self._context_of)
        self._loss = torch.zeros(2, dtype=torch.float64, device=device)
        self._sums = torch.zeros(3, n_pairs, self._width, device=device)
        self._n_sets = torch.zeros(n_pairs, device=device)

    def add(
        self,
        numbers: Int64[Tensor, " sets"],
        losses: Float[Tensor, " sets"],
        *,
        predicted: Float[Tensor, "sets cells width"],
        observed: Float[Tensor, "sets cells width"],
        control: Float[Tensor, "sets cells width"],
    ) -> None:
        """Add some sets; one NaN makes the loss of all NaN."""
        device = losses.device
        self._loss += torch.stack([losses.double().sum(), losses.new_tensor(len(losses)).double()])
        pairs = self._pair_of.to(device)[numbers]
        # A product, where adding by index would depend on the order that a GPU takes.
        members = torch.nn.functional.one_hot(pairs, len(self._n_sets)).T.float()
        self._n_sets += members.sum(dim=1)
        with torch.autocast(device_type=device.type, enabled=False):
            for total, cells in zip(self._sums, (predicted, observed, control), strict=True):
                total += members @ cells.mean(dim=1, dtype=torch.float32)

    def scores(self, of_all: Callable[[Tensor], Tensor] | None = None) -> dict[str, float]:
        """Return ``val_loss``, the mean over sets, and the mean of each score over perturbations.

        Parameters
        ----------
        of_all
            Adds up a tensor over all processes, each of which must call this; None for one process.
        """
        add_up = of_all or (lambda own: own)
        loss, n_sets = add_up(self._loss).tolist()
        scores = {"val_loss": loss / n_sets}
        if self.can_score:
            sums, counts = add_up(self._sums), add_up(self._n_sets)
            scores |= {f"val_{name}": value for name, value in self._of(sums, counts).items()}
        return scores

    def _of(
        self, sums: Float[Tensor, "three pairs width"], counts: Float[Tensor, " pairs"]
    ) -> Mapping[str, float]:
        values: dict[str, list[Tensor]] = {name: [] for name in EFFECT_SCORES}
        context_of = self._context_of.to(sums.device)
        kept = self._columns(sums)
        for context in range(self._n_contexts):
            own = context_of == context
            if own.sum() < 2:
                continue
            means = sums[:, own] / counts[own, None]
            control = sums[2, own].sum(dim=0) / counts[own].sum()
            predicted, observed = (means[:2] - control)[:, :, kept]
            for name, score in EFFECT_SCORES.items():
                values[name].append(score(predicted, observed))
        return {name: float(torch.cat(each).mean()) for name, each in values.items()}

    def _columns(self, sums: Tensor) -> Bool[Tensor, " width"]:
        everything = torch.ones(sums.shape[2], dtype=torch.bool, device=sums.device)
        kept = self._kept.to(sums.device)
        return kept if len(kept) == len(everything) and kept.any() else everything


def nothing_to_rank(select_by: str) -> str:
    """Say that no context has two perturbations to rank."""
    return (
        f"engine.select_by is {select_by}, and no context has two perturbations that validate: "
        "there is nothing to rank; let more of them validate ([fewshot] val in the split file), or "
        "set engine.select_by=val_loss"
    )


def badness(scores: Mapping[str, float], select_by: str) -> float:
    """Return the score that chooses among validations, less being better; infinite for NaN.

    Parameters
    ----------
    scores
        Those of a validation.
    select_by
        ``engine.select_by``: val_loss, or the name of a score, of which more is better.
    """
    value = scores["val_loss"] if select_by == "val_loss" else -scores[f"val_{select_by}"]
    return math.inf if math.isnan(value) else value
