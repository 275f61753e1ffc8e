"""Several draws of control cells: their mean, or a cell of each."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import anndata
import numpy as np
import pytest

from tests.prediction.test_predictions import splits, store  # noqa: F401
from workflow_scripts.cells.predicted_cells import Predicted, write_predicted
from workflow_scripts.prediction.prediction import Prediction
from workflow_scripts.settings.slices import Slice


@pytest.fixture
def opened(store, splits, tmp_path):  # noqa: F811
    splits.to_parquet(tmp_path / "splits.parquet")
    given = Namespace(
        cells=store.path,
        asked_cells=None,
        splits=tmp_path / "splits.parquet",
        genes=None,
        targets=None,
    )

    def open_inputs(draws: int, *, average: bool, seed: int = 7) -> Prediction:
        values = {
            "model.kwargs.cell_set_len": 4,
            "data.kwargs.basal_mapping_strategy": "random",
            "prediction.seed": seed,
            "prediction.draws": draws,
            "prediction.average_draws": average,
            "prediction.genes": None,
            "prediction.output": "log1p",
            "prediction.sets_per_pass": 3,
            "name": "run",
        }
        return Prediction.open(given, Slice(values, {}))

    return open_inputs


class Controls:
    """Predict of each cell the control that it is drawn, in two blocks."""

    def predict(self, store, targets, sets_per_pass):  # noqa: F811
        half = len(targets.paired) // 2
        for rows in (targets.paired[:half], targets.paired[half:]):
            yield Predicted(store.dense(rows))


def controls_themselves(inputs: Prediction) -> np.ndarray:
    return np.concatenate([block.expression for block in inputs.blocks(Controls(), inputs.draws)])


def test_draws_differ_and_the_first_is_the_only_one_of_one(opened):
    one, three = opened(1, average=True), opened(3, average=True)
    assert np.array_equal(one.targets.paired, three.targets.paired)
    drawn = [draw.paired for draw in three.draws]
    assert len({draw.tobytes() for draw in drawn}) == 3
    again = [draw.paired for draw in opened(3, average=True).draws]
    assert all(np.array_equal(a, b) for a, b in zip(drawn, again, strict=True))


def test_mean_of_draws_is_written(opened):
    inputs = opened(3, average=True)
    expected = np.mean([inputs.store.dense(draw.paired) for draw in inputs.draws], axis=0)
    np.testing.assert_allclose(controls_themselves(inputs), expected, rtol=1e-6)


def test_kept_draws_stand_one_below_the_other(opened, tmp_path: Path):
    averaged, kept = opened(3, average=True), opened(3, average=False)
    n_cells = len(averaged.targets.paired)
    expected = np.concatenate([kept.store.dense(draw.paired) for draw in averaged.draws])
    np.testing.assert_array_equal(controls_themselves(kept), expected)
    blocks = iter([Predicted(expected)])
    path = tmp_path / "predicted.h5ad"
    write_predicted(path, kept.store, kept.targets, blocks, {}, clip=False)
    cells = anndata.read_h5ad(path)
    predicted = cells[cells.obs["draw"] > 0]
    assert predicted.obs["draw"].value_counts().to_dict() == dict.fromkeys((1, 2, 3), n_cells)
    labels = predicted.obs[["perturbation", "context"]].astype(str).to_numpy().reshape(3, -1, 2)
    assert (labels == labels[0]).all()
    assert (cells.obs.loc[cells.obs["draw"] == 0, "perturbation"] == "control").all()
