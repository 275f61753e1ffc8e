"""Cells that a list asks for: how many, from which controls, of which genes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from tests.prediction.test_predictions import small_model, splits, store  # noqa: F401
from tests.targets import targets_of_list
from workflow_scripts.errors import DataError
from workflow_scripts.features.vectors import Features
from workflow_scripts.models import ModelDescription
from workflow_scripts.prediction.baselines import Baselines
from workflow_scripts.prediction.prediction import join_notes, novelty
from workflow_scripts.prediction.readiness import check_batches
from workflow_scripts.prediction.trained_models import TrainedModels, unknown_batches

ASKED = pd.DataFrame({"perturbation": ["new", "B"], "context": ["rpe1", "k562"], "n_cells": [9, 2]})


@pytest.mark.parametrize("by_batch", [False, True])
def test_each_target_has_its_cells_from_controls_of_its_context(store, by_batch):  # noqa: F811
    targets = targets_of_list(store, ASKED, by_batch=by_batch)
    cells = [targets.groups[number] for number in targets.group_of_cell]
    assert [(c.perturbation, c.context) for c in cells] == [("new", "rpe1")] * 9 + [
        ("B", "k562")
    ] * 2
    sources = store.cells.iloc[targets.paired]
    assert sources["is_control"].all()
    assert list(sources["context"].astype(str)) == [cell.context for cell in cells]
    assert len(targets.observed) == 0
    if by_batch:
        for group in targets.groups:
            assert store.cells["batch"].iloc[group.controls].nunique() == 1
        drawn = store.cells["batch"].iloc[targets.paired[:9]].astype(str).value_counts()
        pool = store.cells[store.cells["is_control"] & (store.cells["context"] == "rpe1")]
        wanted = 9 * pool["batch"].astype(str).value_counts() / len(pool)
        assert ((drawn - wanted).abs() < 1).all()
    again = targets_of_list(store, ASKED, by_batch=by_batch)
    other = targets_of_list(store, ASKED, by_batch=by_batch, seed=2)
    assert np.array_equal(targets.paired, again.paired)
    assert not np.array_equal(targets.paired, other.paired)


def test_context_without_controls_is_refused(store):  # noqa: F811
    asked = ASKED.assign(context=["rpe1", "hela"])
    with pytest.raises(DataError, match="without control cells to predict from: hela"):
        targets_of_list(store, asked)


def test_what_was_not_trained_on_is_noted(store, splits):  # noqa: F811
    targets = targets_of_list(store, ASKED)
    notes = novelty(targets, splits.assign(split=splits["split"].where(splits.context == "k562")))
    assert list(notes) == ["perturbation not trained on; context not trained on"] * 9 + [""] * 2
    assert join_notes(None, None) is None
    joined = join_notes(notes, np.array(["far"] * 11, dtype=object))
    assert joined[0] == "perturbation not trained on; context not trained on; far"
    assert joined[-1] == "far"


def test_baselines_predict_from_other_cells_than_they_are_fitted_on(store, splits):  # noqa: F811
    other = replace(store, values=np.asarray(store.values) * 2)  # the same profiles, normalised
    targets = targets_of_list(other, ASKED)
    fitted = Baselines.fit(store, splits, targets, predicted_from=other)
    blocks = fitted.build("control").predict(other, targets, 2)
    predicted = np.concatenate([block.expression for block in blocks])
    np.testing.assert_array_equal(predicted, other.dense(targets.paired))


def test_unknown_batch_is_refused_or_taken_as_the_one_that_is_named(store):  # noqa: F811
    targets = targets_of_list(store, ASKED)
    names = tuple(sorted({g.perturbation for g in targets.groups}))
    features = Features(names, np.ones((len(names), 4), dtype=np.float32))
    model = small_model(store.n_genes)
    settings = replace(model.settings, n_batches=1)
    torch.manual_seed(0)
    model = type(model)(settings).eval()
    known = (sorted(set(store.cells["batch"].astype(str)))[0],)
    assert unknown_batches(store, targets, known).any()

    description = ModelDescription(tuple(store.genes), batches=known)

    def predict(unknown_batch=None):
        models = TrainedModels([(model, description)], features, unknown_batch)
        blocks = models.predict(store, targets, 3)
        return np.concatenate([block.expression for block in blocks])

    with pytest.raises(DataError, match=r"aren't trained on: .*; set prediction\.unknown_batch"):
        predict()
    with pytest.raises(DataError, match="'b9' is no batch that the model is trained on"):
        predict("b9")
    assert predict(known[0]).shape == (11, store.n_genes)


def test_unknown_batches_are_found_before_training():
    assert check_batches({"b1", "b2"}, {"b1"}, None) == []
    (error,) = check_batches({"b1"}, {"b1", "new"}, None)
    assert (error.severity, error.names) == ("error", ("new",))
    (warning,) = check_batches({"b1"}, {"b1", "new"}, "b1")
    assert warning.severity == "warning"
    (typo,) = check_batches({"lane_1"}, set(), "lane1")
    assert "no batch that the model is trained on: did you mean `lane_1`?" in typo.message


def test_genes_in_another_order_are_the_same_values(store):  # noqa: F811
    rows = np.arange(7)
    names = [str(gene) for gene in store.genes[::-1][:5]]
    view = store.in_order(names)
    wanted = store.dense(rows)[:, ::-1][:, :5]
    np.testing.assert_array_equal(view.dense(rows), wanted)
    np.testing.assert_array_equal(view.sparse(rows).toarray(), wanted)
    again = view.in_order(names[:2][::-1])
    np.testing.assert_array_equal(again.dense(rows), wanted[:, :2][:, ::-1])
    assert list(again.genes) == names[:2][::-1]
