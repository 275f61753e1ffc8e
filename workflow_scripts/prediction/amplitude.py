"""How large predicted effects are: scaled by a factor that is given, or fitted on validation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from workflow_scripts.cells.store import CellStore
from workflow_scripts.errors import DataError
from workflow_scripts.prediction.targets import Targets
from workflow_scripts.prediction.writing import Blocks, Predicted


def amplify(blocks: Blocks, store: CellStore, targets: Targets, factor: float) -> Blocks:
    """Scale what tells each predicted cell from the control that it was predicted from.

    control + factor × (predicted − control), not below 0, in log1p values.

    Parameters
    ----------
    blocks
        Predicted cells in the order of ``targets.paired``.
    store
        Cells of the controls, in the genes of the predictions.
    targets
        What is predicted.
    factor
        1 leaves everything as it is.
    """
    at = 0
    for block in blocks:
        cells = block.expression
        if factor != 1.0:
            control = store.dense(targets.paired[at : at + len(cells)])
            cells = np.maximum(control + np.float32(factor) * (cells - control), 0.0)
        at += len(cells)
        yield Predicted(cells, block.embedding)


def fit_amplitude(
    predict: Callable[[Targets], Blocks], store: CellStore, targets: Targets
) -> float:
    """Return the factor by which predicted effects come closest to those observed.

    Least squares through the origin over genes and groups, a = Σpo / Σp²: p, a group's mean of
    predicted cells less that of the controls they were predicted from; o, of its observed cells
    less that of all its controls, whose noise p doesn't share. Not below 0.

    Parameters
    ----------
    predict
        Yields predicted cells.
    store
        Observed cells.
    targets
        Of the validation cells.

    Raises
    ------
    DataError
        Where nothing is predicted to change, so that no factor helps.
    """
    n_groups = len(targets.groups)
    sums = np.zeros((n_groups, store.n_genes))
    at, groups = 0, targets.group_of_cell
    for block in predict(targets):
        stop = at + len(block.expression)
        change = block.expression - store.dense(targets.paired[at:stop])
        for group in np.unique(groups[at:stop]):
            sums[group] += change[groups[at:stop] == group].sum(axis=0, dtype=np.float64)
        at = stop
    both, squares = 0.0, 0.0
    controls: dict[int, np.ndarray] = {}
    for group, total in zip(targets.groups, sums, strict=True):
        pool = id(group.controls)  # many groups share the same array
        if pool not in controls:
            controls[pool] = store.mean(group.controls)
        predicted = total / len(group.rows)
        both += float(predicted @ (store.mean(group.rows) - controls[pool]))
        squares += float(predicted @ predicted)
    if squares == 0:
        raise DataError(
            "prediction.amplitude is validation, and the model predicts no effect at all on the "
            "validation cells; give a number"
        )
    return max(both / squares, 0.0)
