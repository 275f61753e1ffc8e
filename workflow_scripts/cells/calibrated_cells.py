"""Predicted effects become cells that look like control cells (`tilting`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Float64, Int64

from workflow_scripts.cells.groups import Group
from workflow_scripts.cells.predicted_cells import Blocks, Predicted
from workflow_scripts.cells.store import CellStore
from workflow_scripts.cells.targets import Targets
from workflow_scripts.cells.tilting import MOST_CELLS, Support

_AT_ONCE = 1024
"""Cells that are written at once: those of a larger group are written in parts."""

_SUPPORT, _LENT, _CELLS = 21, 22, 23
"""Purposes of random numbers: no other draw shares their key."""


@dataclass(frozen=True)
class TrainingRows:
    """Training cells whose values may be borrowed.

    Attributes
    ----------
    store
        The cells of the run, with the genes of the predictions.
    groups
        The groups of its training split.
    """

    store: CellStore
    groups: list[Group]

    def lend(self, group: Group, label: str, rng: np.random.Generator) -> np.ndarray:
        """Return cells of a perturbation in other contexts, or else of the same context."""
        elsewhere = [
            other.rows
            for other in self.groups
            if other.perturbation == label and other.context != group.context
        ]
        here = [other.rows for other in self.groups if other.context == group.context]
        rows = np.concatenate(elsewhere or here or [np.empty(0, dtype=np.int64)])
        lent: np.ndarray = self.store.dense(np.sort(rng.permutation(rows)[:MOST_CELLS]))
        return lent


@dataclass(frozen=True)
class CalibratedCells:
    """Cells with the predicted means, of which the controls' values are the material.

    The values of a group's cells are those of up to `MOST_CELLS` of its controls. Genes whose mean
    these can't have borrow the values of training cells; if that isn't enough, values are scaled.

    Attributes
    ----------
    store
        The cells that are predicted from.
    targets
        What is predicted.
    effects
        Of each group, relative to the mean of all its controls.
    training
        Whose values may be borrowed.
    labels
        Of which perturbation each one borrows, where not of itself.
    seed
        Of the draws.
    stratified
        Whether cells are written without sampling noise (`Support.cells`).
    """

    store: CellStore
    targets: Targets
    effects: Float64[np.ndarray, "groups genes"]
    training: TrainingRows
    labels: Mapping[str, str]
    seed: int
    stratified: bool = True

    @property
    def borrowing_groups(self) -> Int64[np.ndarray, " genes"]:
        """In how many groups each gene borrows."""
        n_groups = np.zeros(self.effects.shape[1], dtype=np.int64)
        for at in range(len(self.targets.groups)):
            n_groups += ~self._of_controls(at).carries(self._means(at))
        return n_groups

    def blocks(self) -> Blocks:
        """Yield the cells in the order of ``targets.paired``."""
        start = 0
        for at, group in enumerate(self.targets.groups):
            means, support = self._means(at), self._of_controls(at)
            carried = support.carries(means)
            borrowing = None
            if not carried.all():
                label = self.labels.get(group.perturbation, group.perturbation)
                lent = self.training.lend(group, label, self._random(_LENT, at))
                borrowing = support.joined(Support.of_cells(lent), ~carried)
            for first in range(0, len(group.rows), _AT_ONCE):
                count = min(_AT_ONCE, len(group.rows) - first)
                controls = self.store.dense(self.targets.paired[start : start + count])
                rng = self._random(_CELLS, at, first)
                cells = self._write(support, np.where(carried, means, 0.0), controls, rng)
                if borrowing is not None:
                    cells += self._write(borrowing, np.where(carried, 0.0, means), controls, rng)
                start += count
                yield Predicted(cells)

    def _write(
        self,
        support: Support,
        means: Float64[np.ndarray, " genes"],
        controls: Float32[np.ndarray, "cells genes"],
        rng: np.random.Generator,
    ) -> Float32[np.ndarray, "cells genes"]:
        return support.cells(means, controls, rng, stratified=self.stratified)

    def _means(self, at: int) -> Float64[np.ndarray, " genes"]:
        group = self.targets.groups[at]
        means: np.ndarray = self._pools[id(group.controls)][0] + self.effects[at]
        return means.clip(0.0)

    def _of_controls(self, at: int) -> Support:
        return self._pools[id(self.targets.groups[at].controls)][1]

    @cached_property
    def _pools(self) -> dict[int, tuple[np.ndarray, Support]]:
        """Mean of all controls, and the values of some, by the identity of the controls' rows."""
        pools: dict[int, tuple[np.ndarray, Support]] = {}
        for group in self.targets.groups:  # many share the same array
            if id(group.controls) not in pools:
                rng = self._random(_SUPPORT, len(pools))
                drawn: Int64[np.ndarray, " cells"] = rng.permutation(group.controls)[:MOST_CELLS]
                support = Support.of_cells(self.store.dense(np.sort(drawn)))
                pools[id(group.controls)] = self.store.mean(group.controls), support
        return pools

    def _random(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *purpose])
