"""Predicted cells of the baselines: what a model must beat, through the same door."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from workflow_scripts.cells.groups import make_groups
from workflow_scripts.cells.store import CellStore
from workflow_scripts.models import (
    ControlBaseline,
    MeanResponse,
    PerturbationMeanEffect,
    TrainingMeans,
)
from workflow_scripts.prediction.targets import Targets
from workflow_scripts.prediction.writing import Blocks
from workflow_scripts.settings.errors import DataError

FALLBACK_NOTE = "not seen in another training context: mean effect of all training perturbations"


@dataclass(frozen=True)
class Baselines:
    """Fitted baselines and the numbering that they are asked in."""

    means: TrainingMeans
    perturbations: dict[str, int]
    contexts: dict[str, int]

    @classmethod
    def fit(
        cls,
        store: CellStore,
        splits: pd.DataFrame,
        targets: Targets,
        *,
        most_cells: int | None = None,
    ) -> Baselines:
        """Average the training cells of every group and the controls of every context.

        With ``most_cells``, those of a model's training that has no more of a group either.
        """
        groups = make_groups(
            store.cells, splits, "train", by_batch=False, controls=False, most_cells=most_cells
        )
        if not groups:
            raise DataError("no training cells to fit baselines on; see splits_audit.json")
        everything = [*groups, *targets.groups]
        contexts = _numbers(group.context for group in everything)
        perturbations = _numbers(group.perturbation for group in everything)
        pools = {
            context: np.unique(
                np.concatenate([g.controls for g in everything if g.context == context])
            )
            for context in contexts
        }
        return cls(
            TrainingMeans(
                control_means=_tensor([store.mean(rows) for rows in pools.values()]),
                perturbed_means=_tensor([store.mean(group.rows) for group in groups]),
                group_perturbation=torch.tensor([perturbations[g.perturbation] for g in groups]),
                group_context=torch.tensor([contexts[g.context] for g in groups]),
                group_cells=torch.tensor([len(g.rows) for g in groups]),
            ),
            perturbations,
            contexts,
        )

    def build(self, name: str) -> ControlBaseline | MeanResponse | PerturbationMeanEffect:
        """Return the baseline of that name."""
        if name == "control":
            return ControlBaseline()
        if name == "mean_response":
            return MeanResponse(self.means)
        if name == "perturbation_mean_effect":
            return PerturbationMeanEffect(self.means)
        raise DataError(f"prediction.baselines: there is no baseline {name!r}")

    def predict(
        self,
        model: ControlBaseline | MeanResponse | PerturbationMeanEffect,
        store: CellStore,
        targets: Targets,
        *,
        sets_per_pass: int,
    ) -> Blocks:
        """Yield predicted cells in the order of ``targets.observed``."""
        for start in range(0, len(targets.sets.groups), sets_per_pass):
            sets = targets.sets.take(slice(start, start + sets_per_pass))
            shape = (*sets.control.shape, store.n_genes)
            control = torch.from_numpy(store.dense(sets.control.ravel()).reshape(shape))
            groups = [targets.groups[g] for g in sets.groups]
            predicted = model(
                control,
                perturbation=torch.tensor([self.perturbations[g.perturbation] for g in groups]),
                context=torch.tensor([self.contexts[g.context] for g in groups]),
            )
            yield predicted.numpy()[targets.kept(sets)]

    def notes(self, model: object, targets: Targets) -> np.ndarray | None:
        """Return a remark for each predicted cell, where the baseline has any."""
        if not isinstance(model, PerturbationMeanEffect):
            return None
        perturbation = [self.perturbations[group.perturbation] for group in targets.groups]
        context = [self.contexts[group.context] for group in targets.groups]
        fallback = model.uses_fallback(torch.tensor(perturbation), torch.tensor(context)).numpy()
        sizes = [len(group.rows) for group in targets.groups]
        return np.repeat(np.where(fallback, FALLBACK_NOTE, "").astype(object), sizes)


def _numbers(names: Iterable[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(sorted(set(names)))}


def _tensor(rows: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(rows).astype(np.float32))
