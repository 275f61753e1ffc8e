"""Several models that predict together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.prediction.test_predictions import small_model, splits, store, targets  # noqa: F401
from workflow_scripts.errors import DataError
from workflow_scripts.features.vectors import Features
from workflow_scripts.models import ModelDescription, save_model
from workflow_scripts.prediction.readiness import Asked
from workflow_scripts.prediction.trained_models import TrainedModels, load_fitting
from workflow_scripts.settings.rules import broken_rules


def test_mean_of_the_models_is_predicted(store, targets, tmp_path):  # noqa: F811
    genes = tuple(map(str, store.genes))
    names = tuple(sorted({group.perturbation for group in targets.groups}))
    features = Features(names, np.eye(len(names), 4, dtype=np.float32))
    paths = []
    for seed in range(3):
        model = small_model(store.n_genes)
        torch.manual_seed(seed)
        with torch.no_grad():
            for weights in model.parameters():
                weights.add_(0.1 * torch.randn_like(weights))
        # The last one has its genes in another order.
        order = genes[::-1] if seed == 2 else genes
        save_model(tmp_path / str(seed), model, ModelDescription(order))
        paths.append(tmp_path / str(seed))
    asked = Asked(genes, 4, model.settings.cell_set_len, None, None)

    def predict(*chosen):
        models = TrainedModels([load_fitting(path, asked, "cpu") for path in chosen], features)
        blocks = models.predict(store, targets, 2)
        return np.concatenate([block.expression for block in blocks])

    alone = [predict(path) for path in paths]
    assert not np.allclose(alone[0], alone[1])
    np.testing.assert_allclose(predict(*paths), np.mean(alone, axis=0), rtol=1e-5, atol=1e-6)


def test_model_that_does_not_fit_is_named(store, tmp_path):  # noqa: F811
    genes = tuple(map(str, store.genes))
    model = small_model(store.n_genes)
    save_model(tmp_path / "not", model, ModelDescription((*genes[:-1], "other")))
    asked = Asked(genes, 4, model.settings.cell_set_len, None, None)
    with pytest.raises(DataError, match=r"not: trained on .* are not among the .*: other"):
        load_fitting(tmp_path / "not", asked, "cpu")


def test_what_is_no_path_is_said():
    values = {"prediction.ensemble": ["runs/a/final.ckpt", "last.ckpt", "best"]}
    ((path, text, _),) = broken_rules(values, frozenset())
    assert path == "prediction.ensemble"
    assert text == (
        "'best' is not the path of a model: a checkpoint (….ckpt) or a folder, as ./best"
    )
