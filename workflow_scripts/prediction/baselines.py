"""Predicted cells of the baselines, which a model must beat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from workflow_scripts.cells.groups import Group, make_groups
from workflow_scripts.cells.store import CellStore
from workflow_scripts.errors import DataError
from workflow_scripts.features.vectors import Features
from workflow_scripts.models import (
    Additive,
    ContextMean,
    ControlBaseline,
    MeanResponse,
    NearestNeighbour,
    PerturbationMeanEffect,
    RidgeEffect,
    TrainingEffects,
)
from workflow_scripts.prediction.negative_controls import circle
from workflow_scripts.prediction.notes import Asked, remarks
from workflow_scripts.prediction.targets import Targets
from workflow_scripts.prediction.writing import Blocks, Predicted
from workflow_scripts.settings.findings import listing


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline, and the features that it is asked with.

    Attributes
    ----------
    model
        Called like a trained model.
    features
        Vectors by the number of the perturbation; None where it reads none.
    """

    model: nn.Module
    features: Tensor | None = None


@dataclass(frozen=True)
class Baselines:
    """Effects of the training cells, and the numbering that baselines are asked in.

    Attributes
    ----------
    training
        What baselines are fitted on.
    perturbations, contexts
        Number of each label, ascending by name.
    features, shuffled
        Vectors by the number of the perturbation, and the same ones permuted.
    """

    training: TrainingEffects
    perturbations: dict[str, int]
    contexts: dict[str, int]
    features: Tensor | None = None
    shuffled: Tensor | None = None

    @classmethod
    def fit(
        cls,
        store: CellStore,
        splits: pd.DataFrame,
        targets: Targets,
        *,
        most_cells: int | None = None,
        predicted_from: CellStore | None = None,
    ) -> Baselines:
        """Average the training cells of every group and the controls of every context.

        Parameters
        ----------
        store, splits
            The cells of the run, and their split.
        targets
            What will be predicted.
        most_cells
            Cells of a group, where a model's training has no more either.
        predicted_from
            The cells of the targets' controls, in the genes and order of the store; None where
            they are those of the store. A context of both has the mean of the store's controls.
        """
        groups = make_groups(
            store.cells, splits, "train", by_batch=False, controls=False, most_cells=most_cells
        )
        if not groups:
            raise DataError("no training cells to fit baselines on; see splits_audit.json")
        everything = [*groups, *targets.groups]
        contexts = _numbers(group.context for group in everything)
        perturbations = _numbers(group.perturbation for group in everything)
        of_store = everything if predicted_from is None else groups
        means = {
            **({} if predicted_from is None else _control_means(predicted_from, targets.groups)),
            **_control_means(store, of_store),
        }
        training = TrainingEffects.of_groups(
            torch.from_numpy(np.stack([means[context] for context in contexts])),
            (torch.from_numpy(store.mean(group.rows)) for group in groups),
            perturbation=torch.tensor([perturbations[group.perturbation] for group in groups]),
            context=torch.tensor([contexts[group.context] for group in groups]),
            cells=torch.tensor([len(group.rows) for group in groups]),
        )
        return cls(training, perturbations, contexts)

    def with_features(self, features: Features, seed: int) -> Baselines:
        """Return the same with the perturbations' vectors, for the baselines that read them.

        The others are dealt out anew (`negative_controls.circle`), by the names and the seed alone.

        Raises
        ------
        DataError
            Where a perturbation has no vector.
        """
        vectors = dict(zip(features.names, features.matrix, strict=True))
        if missing := [name for name in self.perturbations if name not in vectors]:
            raise DataError(
                f"features: there is no vector of {listing(missing)}; give the file that "
                "validate_features wrote for these cells"
            )
        own = torch.from_numpy(np.stack([vectors[name] for name in self.perturbations]))
        dealt = own[torch.from_numpy(circle(len(own), seed))]
        return replace(self, features=own, shuffled=dealt)

    def build(self, name: str) -> Baseline:
        """Return the baseline of that name, fitted.

        Raises
        ------
        DataError
            Where there is none, or it reads features and none were given.
        """
        if name == "control":
            return Baseline(ControlBaseline())
        if name == "mean_response":
            return Baseline(MeanResponse(self.training))
        if name == "context_mean":
            return Baseline(ContextMean(self.training))
        if name == "perturbation_mean_effect":
            return Baseline(PerturbationMeanEffect(self.training))
        if name == "additive":
            return Baseline(Additive(self.training))
        kind = name.removesuffix("_shuffled")
        if kind not in ("ridge", "nearest_neighbour"):
            raise DataError(f"prediction.baselines: there is no baseline {name!r}")
        features = self.features if kind == name else self.shuffled
        if features is None:
            raise DataError(
                f"prediction.baselines: {name} reads the perturbations' features, and none were "
                "given; add --features features.safetensors"
            )
        if kind == "ridge":
            return Baseline(RidgeEffect(self.training, features), features)
        return Baseline(NearestNeighbour(self.training, features), features)

    def predict(
        self, baseline: Baseline, store: CellStore, targets: Targets, *, sets_per_pass: int
    ) -> Blocks:
        """Yield predicted cells in the order of ``targets.paired``."""
        asked = self._asked(baseline, targets)
        for start in range(0, len(targets.sets.groups), sets_per_pass):
            sets = targets.sets.take(slice(start, start + sets_per_pass))
            shape = (*sets.control.shape, store.n_genes)
            control = torch.from_numpy(store.dense(sets.control.ravel()).reshape(shape))
            groups = torch.from_numpy(sets.groups)
            predicted = baseline.model(
                control,
                None if asked.features is None else asked.features[groups],
                perturbation=asked.perturbation[groups],
                context=asked.context[groups],
            )
            yield Predicted(predicted.numpy()[targets.kept(sets)])

    def notes(self, baseline: Baseline, targets: Targets) -> np.ndarray | None:
        """Return a remark for each predicted cell, where the baseline has any."""
        names = [list(self.perturbations)[at] for at in self.training.perturbations]
        texts = remarks(baseline.model, self._asked(baseline, targets), names)
        if texts is None:
            return None
        sizes = [len(group.rows) for group in targets.groups]
        return np.repeat(np.array(texts, dtype=object), sizes)

    def _asked(self, baseline: Baseline, targets: Targets) -> Asked:
        perturbation = torch.tensor([self.perturbations[g.perturbation] for g in targets.groups])
        return Asked(
            perturbation,
            torch.tensor([self.contexts[group.context] for group in targets.groups]),
            torch.isin(perturbation, self.training.perturbations),
            None if baseline.features is None else baseline.features[perturbation],
        )


def _control_means(store: CellStore, groups: Sequence[Group]) -> dict[str, np.ndarray]:
    """Average the controls of each context of some groups [genes]."""
    pools: dict[str, dict[int, np.ndarray]] = {}
    for group in groups:  # many share the same array
        pools.setdefault(group.context, {})[id(group.controls)] = group.controls
    return {
        context: store.mean(np.unique(np.concatenate(list(arrays.values()))))
        for context, arrays in pools.items()
    }


def _numbers(names: Iterable[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(sorted(set(names)))}
