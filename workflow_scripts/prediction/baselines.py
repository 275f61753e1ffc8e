"""Baselines of packed cells, which a model must beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workflow_scripts.cells.groups import Group, make_groups
from workflow_scripts.cells.predicted_cells import Blocks, place_effects
from workflow_scripts.cells.store import CellStore
from workflow_scripts.cells.targets import Targets
from workflow_scripts.errors import DataError
from workflow_scripts.features.vectors import Features
from workflow_scripts.models import (
    Additive,
    Baseline,
    ContextMean,
    ControlBaseline,
    ControlNoise,
    Denoised,
    MeanResponse,
    NearestNeighbour,
    PerturbationMeanEffect,
    RidgeEffect,
    TrainingEffects,
)
from workflow_scripts.prediction.negative_controls import circle
from workflow_scripts.prediction.prediction import Notes, join_notes
from workflow_scripts.settings.choices import CALIBRATED, RECENTRED, WRITTEN_OTHERWISE
from workflow_scripts.settings.findings import listing
from workflow_scripts.settings.labels import parts_of
from workflow_scripts.settings.slices import Slice

_WITHOUT_FEATURES: Mapping[str, Callable[[TrainingEffects], Baseline]] = {
    "control": ControlBaseline,
    "mean_response": MeanResponse,
    "context_mean": ContextMean,
    "perturbation_mean_effect": PerturbationMeanEffect,
    "additive": Additive,
}


_NOISE_CELLS = 2000
"""Control cells that the noise of mean effects is measured on."""


@dataclass(frozen=True)
class Baselines:
    """Effects of the training cells, and the numbering that baselines are asked in.

    Attributes
    ----------
    store
        The cells of the run.
    controls
        Rows of the controls of each context that has training cells.
    training
        What baselines are fitted on.
    perturbations, contexts
        Number of each label, ascending by name.
    features, shuffled
        Vectors by the number of the perturbation, and the same ones permuted.
    """

    store: CellStore
    controls: Mapping[str, np.ndarray]
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
        contexts, perturbations = (
            {name: number for number, name in enumerate(sorted(names))}
            for names in ({g.context for g in everything}, {g.perturbation for g in everything})
        )
        means = _control_means(store, everything if predicted_from is None else groups)
        if predicted_from is not None:
            means = {**_control_means(predicted_from, targets.groups), **means}
        training = TrainingEffects.of_groups(
            torch.from_numpy(np.stack([means[context] for context in contexts])),
            (torch.from_numpy(store.mean(group.rows)) for group in groups),
            perturbation=torch.tensor([perturbations[group.perturbation] for group in groups]),
            context=torch.tensor([contexts[group.context] for group in groups]),
            cells=torch.tensor([len(group.rows) for group in groups]),
        )
        return cls(store, controls_of(groups), training, perturbations, contexts)

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

    def build(self, name: str) -> BaselinePredictor:
        """Return the baseline of that name, fitted.

        Raises
        ------
        DataError
            Where there is none, or it reads features and none were given.
        """
        if name == "denoised":
            return BaselinePredictor(self, self._denoised())
        if name in _WITHOUT_FEATURES:
            return BaselinePredictor(self, _WITHOUT_FEATURES[name](self.training))
        if name in WRITTEN_OTHERWISE:
            additive, written = name.split("_")
            return replace(self.build(additive), written=written)
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
            return BaselinePredictor(self, RidgeEffect(self.training, features))
        neighbour = NearestNeighbour(self.training, features, [*self.perturbations])
        return BaselinePredictor(self, neighbour)

    def _denoised(self) -> Denoised:
        control = self.store.manifest["control"]
        own_genes, combinations = {}, {}
        genes = pd.Index(self.store.genes)
        for label, number in self.perturbations.items():
            parts = parts_of(label, control)
            places = genes.get_indexer(list(parts or (label,)))
            own_genes[number] = places[places >= 0].tolist()
            if parts and all(part in self.perturbations for part in parts):
                combinations[number] = [self.perturbations[part] for part in parts]
        return Denoised(
            self.training,
            self._noise(),
            own_genes,
            combinations=combinations,
            features=self.features,
        )

    def _noise(self) -> ControlNoise:
        rng = np.random.default_rng(0)
        share = max(_NOISE_CELLS // len(self.controls), 2)
        drawn = (np.sort(rng.permutation(rows)[:share]) for rows in self.controls.values())
        return ControlNoise.of_cells([self.store.dense(rows) for rows in drawn])


@dataclass(frozen=True)
class BaselinePredictor:
    """A baseline that is asked by labels (`prediction.Predictor`).

    Attributes
    ----------
    written
        How its cells are written: `CALIBRATED`, unless the run writes no such cells; else `DIRECT`,
        controls + effect; or `RECENTRED`, the same about the mean of all controls.
    """

    fitted: Baselines
    baseline: Baseline
    written: str = CALIBRATED
    description: Mapping[str, Any] = field(default_factory=dict)

    def effects(self, perturbations: Sequence[str], contexts: Sequence[str]) -> np.ndarray:
        """Return the effect of each perturbation in its context [asked, genes]."""
        effects: np.ndarray = self.baseline.effects(*self.numbers(perturbations, contexts)).numpy()
        return effects

    @property
    def labels(self) -> Mapping[str, str]:
        """Each perturbation borrows of itself."""
        return {}

    def mean_effects(
        self, store: CellStore, groups: list[Group], settings: Slice
    ) -> np.ndarray | None:
        """Return the effects of groups; none where controls are written, shifted or as they are."""
        if isinstance(self.baseline, ControlBaseline) or self.written != CALIBRATED:
            return None
        return self.effects(*_labels(groups))

    def predict(self, store: CellStore, targets: Targets, sets_per_pass: int) -> Blocks:
        """Yield predicted cells in the order of ``targets.paired``."""
        shifts = self._shifts(store, targets)
        for sets in targets.passes(sets_per_pass):
            labels = _labels([targets.groups[number] for number in sets.groups])
            profiles = None
            if self.baseline.one_profile:
                _, contexts = self.numbers(*labels)
                profiles = self.fitted.training.control_means[contexts].numpy()
            effects = self.effects(*labels)
            if shifts is not None:
                effects = effects + shifts[sets.groups]
            yield place_effects(store, sets, effects, profiles)

    def _shifts(self, store: CellStore, targets: Targets) -> np.ndarray | None:
        """Return the mean of all controls of each group less that of the drawn ones."""
        if self.written != RECENTRED:
            return None
        pools = {id(group.controls): group.controls for group in targets.groups}
        means = {pool: store.mean(rows) for pool, rows in pools.items()}
        of_cell = targets.group_of_cell
        return np.stack(
            [
                means[id(group.controls)] - store.mean(targets.paired[of_cell == at])
                for at, group in enumerate(targets.groups)
            ]
        )

    def notes(self, store: CellStore, targets: Targets, others: Notes) -> Notes:
        """Return what each predicted cell rests on, before other remarks."""
        texts = self.baseline.notes(*self.numbers(*_labels(targets.groups)))
        own = None if texts is None else np.array(texts, dtype=object)[targets.group_of_cell]
        return join_notes(own, others)

    def numbers(
        self, perturbations: Sequence[str], contexts: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        """Return the numbers of perturbations and their contexts."""
        return (
            torch.tensor([self.fitted.perturbations[name] for name in perturbations]),
            torch.tensor([self.fitted.contexts[name] for name in contexts]),
        )


def _labels(groups: Sequence[Group]) -> tuple[list[str], list[str]]:
    return [group.perturbation for group in groups], [group.context for group in groups]


def controls_of(groups: Sequence[Group]) -> dict[str, np.ndarray]:
    """Return the rows of the controls of each context of some groups."""
    pools: dict[str, dict[int, np.ndarray]] = {}
    for group in groups:  # many share the same array
        pools.setdefault(group.context, {})[id(group.controls)] = group.controls
    return {
        context: np.unique(np.concatenate(list(arrays.values())))
        for context, arrays in pools.items()
    }


def _control_means(store: CellStore, groups: Sequence[Group]) -> dict[str, np.ndarray]:
    """Average the controls of each context of some groups [genes]."""
    return {context: store.mean(rows) for context, rows in controls_of(groups).items()}
