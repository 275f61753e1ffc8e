"""Predicted cells: the right ones, in order, whatever the size of a forward pass."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

from tests.targets import targets_of_test
from workflow_scripts.cells.annotations import Columns
from workflow_scripts.cells.audit import audit_cells
from workflow_scripts.cells.cell_settings import CellSettings
from workflow_scripts.cells.manifest import write_manifest
from workflow_scripts.cells.packing import pack_cells
from workflow_scripts.cells.predicted_cells import (
    Blocks,
    Predicted,
    describe,
    write_observed,
    write_predicted,
)
from workflow_scripts.cells.split_file import SplitFile
from workflow_scripts.cells.splits import SplitSettings, split_groups
from workflow_scripts.cells.store import CellStore
from workflow_scripts.cells.targets import Targets
from workflow_scripts.features.vectors import Features
from workflow_scripts.models import (
    ModelDescription,
    StateTransition,
    StateTransitionSettings,
)
from workflow_scripts.models import baselines as notes
from workflow_scripts.prediction.baselines import Baselines
from workflow_scripts.prediction.trained_models import TrainedModels

PERTURBATIONS = ("control", "A", "B", "C")


@pytest.fixture
def store(tmp_path: Path, make_screen) -> CellStore:
    settings = CellSettings(Columns("gene", "cell_type", "gem_group"), "control", "auto", 1e4)
    path = make_screen(cells_per_group=11)
    manifest = pack_cells({"d": {"screen": str(path)}}, settings, tmp_path / "store")
    write_manifest({**manifest, "folder": "store"}, tmp_path / "manifest.json")
    return CellStore.open(tmp_path / "manifest.json")


@pytest.fixture
def splits(store: CellStore) -> pd.DataFrame:
    files = {"d": {source["label"]: source["file"] for source in store.manifest["sources"]}}
    settings = CellSettings(Columns("gene", "cell_type", "gem_group"), "control", "auto", 1e4)
    held_out = {"d.rpe1": {"val": ("A",), "test": ("B", "C")}}
    plan = SplitFile("split.toml", {}, ("d",), {"d.k562": "train"}, held_out)
    groups = audit_cells(files, settings).groups
    # C is seen nowhere in training: its baseline has to fall back.
    table = split_groups(groups, plan, SplitSettings("from_toml", 0.1, "error", 0)).table
    unseen = (table["context"] == "k562") & (table["perturbation"] == "C")
    return table.assign(split=table["split"].mask(unseen, "dropped"))


@pytest.fixture
def targets(store: CellStore, splits: pd.DataFrame) -> Targets:
    return targets_of_test(store, splits)


def small_model(n_genes: int) -> StateTransition:
    torch.manual_seed(0)
    backbone = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    settings = StateTransitionSettings(
        input_dim=n_genes,
        output_dim=n_genes,
        pert_dim=4,
        hidden_dim=8,
        cell_set_len=4,
        n_encoder_layers=1,
        n_decoder_layers=1,
        use_basal_projection=False,
        output_space="all",
        expression_output=True,
        backbone_key="llama",
        backbone=backbone,
    )
    return StateTransition(settings).eval()


def predicted(store: CellStore, targets: Targets, sets_per_pass: int) -> np.ndarray:
    model = models_of(small_model(store.n_genes), store.genes)
    return expression(model.predict(store, targets, sets_per_pass))


def models_of(model: StateTransition, genes: np.ndarray) -> TrainedModels:
    features = Features(tuple(sorted(PERTURBATIONS)), np.eye(4, dtype=np.float32))
    return TrainedModels([(model, ModelDescription(tuple(genes)))], features)


def expression(blocks: Blocks) -> np.ndarray:
    return np.concatenate([block.expression for block in blocks])


def test_every_test_cell_is_predicted_once_from_a_control_of_its_context(store, splits, targets):
    labels = store.cells[["context", "perturbation"]].astype(str).agg(".".join, axis=1)
    wanted = np.flatnonzero(labels.isin(["rpe1.B", "rpe1.C"]))
    np.testing.assert_array_equal(np.sort(targets.observed), wanted)
    assert set(labels.iloc[targets.paired]) == {"rpe1.control"}
    assert set(labels.iloc[targets.controls]) == {"rpe1.control"}
    assert len(targets.controls) == 11


def test_predictions_do_not_depend_on_the_sets_of_a_pass(store, targets):
    one, many = (predicted(store, targets, size) for size in (1, 64))
    assert one.shape == (22, store.n_genes)
    np.testing.assert_allclose(one, many, rtol=1e-5, atol=1e-6)


GENE_AXES = {
    "basal_encoder.weight": 1,
    "project_out.0.weight": 0,
    "project_out.0.bias": 0,
    "final_down_then_up.0.weight": 1,
    "final_down_then_up.2.weight": 0,
    "final_down_then_up.2.bias": 0,
}
"""Which axis of a weight of the small model counts genes."""


def test_model_that_has_its_genes_in_another_order_predicts_the_same(store, targets):
    model, order = small_model(store.n_genes), torch.randperm(store.n_genes)
    expected = predicted(store, targets, 64)
    # The genes of what comes in and goes out change places; those between stay.
    with torch.no_grad():
        weights = model.state_dict()
        for name, axis in GENE_AXES.items():
            weights[name].copy_(weights[name].index_select(axis, order))
    blocks = models_of(model, store.genes[order.numpy()]).predict(store, targets, 64)
    np.testing.assert_allclose(expression(blocks), expected, rtol=1e-4, atol=1e-5)


def test_files_hold_names_labels_and_observed_controls(tmp_path, store, targets):
    cells = predicted(store, targets, 2)
    described = describe(store, "run")
    cut = write_predicted(
        tmp_path / "predictions.h5ad",
        store,
        targets,
        iter([Predicted(cells)]),
        described,
        clip=True,
    )
    write_observed(tmp_path / "observed.h5ad", store, targets, described)
    predictions = anndata.read_h5ad(tmp_path / "predictions.h5ad")
    observed = anndata.read_h5ad(tmp_path / "observed.h5ad")
    assert cut == 0
    assert list(predictions.var_names) == list(observed.var_names) == list(store.genes)
    np.testing.assert_array_equal(predictions.X[:22], cells)
    np.testing.assert_array_equal(predictions.X[22:], store.dense(targets.controls))
    np.testing.assert_array_equal(observed.X.toarray()[22:], predictions.X[22:])
    for column in ("perturbation", "context"):
        assert list(predictions.obs[column]) == list(observed.obs[column])
    paired = store.barcodes[targets.paired]
    assert list(predictions.obs["control_barcode"])[:22] == list(paired)
    assert predictions.uns["stateline"]["control"] == "control"
    assert predictions.uns["stateline"]["scale"] == "log1p"


def test_impossible_values_are_cut_and_counted(tmp_path, store, targets):
    cells = np.zeros((22, store.n_genes), dtype=np.float32)
    cells[3, 5] = cells[4, 6] = 12.0
    path = tmp_path / "predictions.h5ad"
    cut = write_predicted(
        path, store, targets, iter([Predicted(cells.copy())]), describe(store, "run"), clip=True
    )
    written = anndata.read_h5ad(path)
    assert cut == written.uns["stateline"]["clipped_values"] == 2
    assert written.X[:22].max() == np.float32(np.log1p(10_000.0))
    write_predicted(
        path, store, targets, iter([Predicted(cells)]), describe(store, "run"), clip=False
    )
    kept = anndata.read_h5ad(path)
    assert kept.X[:22].max() == 12.0
    assert "clipped_values" not in kept.uns["stateline"]


def test_interrupted_writing_leaves_nothing(tmp_path, store, targets):
    def blocks():
        yield Predicted(np.zeros((4, store.n_genes), dtype=np.float32))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_predicted(
            tmp_path / "out" / "p.h5ad", store, targets, blocks(), describe(store, "r"), clip=True
        )
    assert list((tmp_path / "out").iterdir()) == []


def test_control_baseline_gives_back_the_paired_controls(store, splits, targets):
    baselines = Baselines.fit(store, splits, targets)
    blocks = baselines.build("control").predict(store, targets, 3)
    np.testing.assert_array_equal(expression(blocks), store.dense(targets.paired))


def test_mean_response_is_one_profile_of_the_training_perturbations(store, splits, targets):
    baselines = Baselines.fit(store, splits, targets)
    blocks = baselines.build("mean_response").predict(store, targets, 3)
    cells = expression(blocks)
    assert (cells == cells[0]).all()
    rows = {
        (context, perturbation): store.dense(part.index.to_numpy()).astype(np.float64)
        for (context, perturbation), part in store.cells.groupby(
            ["context", "perturbation"], observed=True
        )
    }
    # rpe1 trains on nothing: its controls, plus the mean effect in k562 of A and B.
    effect = np.mean([rows["k562", p].mean(axis=0) for p in "AB"], axis=0) - rows[
        "k562", "control"
    ].mean(axis=0)
    expected = np.maximum(rows["rpe1", "control"].mean(axis=0) + effect, 0)
    np.testing.assert_allclose(cells[0], expected, rtol=1e-4, atol=1e-5)


def test_fallback_of_a_perturbation_never_trained_on_is_noted(store, splits, targets):
    baselines = Baselines.fit(store, splits, targets)
    found = baselines.build("perturbation_mean_effect").notes(store, targets, None)
    labels = store.cells["perturbation"].astype(str).iloc[targets.observed].to_numpy()
    assert set(found[labels == "C"]) == {notes.FALLBACK}
    assert set(found[labels == "B"]) == {""}
