"""Baselines of packed cells: what they may read, what they say, what features are worth."""

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
from workflow_scripts.cells.predicted_cells import Blocks
from workflow_scripts.cells.simulated_folder import write_screen
from workflow_scripts.cells.simulation import CONTROL, SimulationSettings, simulate
from workflow_scripts.cells.store import CellStore
from workflow_scripts.cells.targets import Targets
from workflow_scripts.errors import DataError
from workflow_scripts.features.vectors import Features
from workflow_scripts.models import baselines as notes
from workflow_scripts.prediction.baselines import Baselines
from workflow_scripts.settings.choices import BASELINES, FEATURE_BASELINES

SMALL = Columns("gene", "cell_type", "gem_group")
DEMO = Columns("target_gene", "cell_type", "batch_var")


def packed(
    folder: Path, columns: Columns, control: str, *paths: Path
) -> tuple[CellStore, pd.DataFrame]:
    """Pack files, and return the store and its groups."""
    settings = CellSettings(columns, control, "auto", 1e4)
    files = {"d": {path.stem: str(path) for path in paths}}
    manifest = pack_cells(files, settings, folder / "store")
    write_manifest({**manifest, "folder": "store"}, folder / "manifest.json")
    store = CellStore.open(folder / "manifest.json")
    labels = {source["label"]: source["file"] for source in store.manifest["sources"]}
    return store, audit_cells({"d": labels}, settings).groups


def split(groups: pd.DataFrame, test: pd.Series, val: pd.Series | None = None) -> pd.DataFrame:
    """Return the table of splits in which these groups are tested, and controls start from all."""
    table = groups.assign(split="train")
    table.loc[test, "split"] = "test"
    if val is not None:
        table.loc[val, "split"] = "val"
    table.loc[table["is_control"], "split"] = "control"
    return table


def random_features(names: pd.Series, seed: int = 0) -> Features:
    labels = tuple(sorted(set(names)))
    generator = np.random.default_rng(seed)
    return Features(labels, generator.normal(size=(len(labels), 5)).astype(np.float32))


def expression(blocks: Blocks) -> np.ndarray:
    return np.concatenate([block.expression for block in blocks])


def predict_all(
    store: CellStore, splits: pd.DataFrame, targets: Targets, features: Features, seed: int = 0
) -> dict[str, np.ndarray]:
    baselines = Baselines.fit(store, splits, targets).with_features(features, seed)
    return {
        name: expression(baselines.build(name).predict(store, targets, 3)) for name in BASELINES
    }


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_was_held_out_is_not_read(tmp_path: Path, make_screen, seed: int) -> None:
    path = make_screen(cells_per_group=9, perturbations=("control", "A", "B", "C", "D", "E"))
    cells = anndata.read_h5ad(path)
    held_out = (cells.obs["cell_type"] == "rpe1") & cells.obs["gene"].isin(["B", "C"])
    held_out |= cells.obs["gene"] == "D"
    changed = cells.copy()
    noise = np.random.default_rng(seed).poisson(4.0, (int(held_out.sum()), cells.n_vars)) + 1.0
    dense = changed.X.toarray()
    dense[held_out.to_numpy()] = noise
    changed.X = dense
    other_path = path.with_name("other") / path.name
    other_path.parent.mkdir()
    changed.write_h5ad(other_path)
    results = []
    for folder, file in ((tmp_path / "one", path), (tmp_path / "two", other_path)):
        folder.mkdir()
        store, groups = packed(folder, SMALL, "control", file)
        place = (groups["context"] == "rpe1") & groups["perturbation"].isin(["B", "C"])
        val = (groups["context"] == "rpe1") & (groups["perturbation"] == "C")
        splits = split(groups, place | (groups["perturbation"] == "D"), val)
        targets = targets_of_test(store, splits, set_size=4)
        features = random_features(groups["perturbation"])
        results.append(predict_all(store, splits, targets, features))
    for name in BASELINES:
        np.testing.assert_array_equal(results[0][name], results[1][name], err_msg=name)


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> tuple[CellStore, pd.DataFrame, Features]:
    """Return the demo's cells, a quarter of the perturbations tested in all contexts, features."""
    folder = tmp_path_factory.mktemp("demo")
    settings = SimulationSettings()
    simulated = simulate(settings)
    write_screen(simulated, settings, folder)
    store, groups = packed(folder, DEMO, CONTROL, *sorted(folder.glob("*.h5ad")))
    tested = groups["perturbation"].isin(simulated.perturbations[::4])
    names = tuple(sorted(simulated.features))
    matrix = np.stack([simulated.features[name] for name in names])
    return store, split(groups, tested), Features(names, matrix)


def squared_error(store: CellStore, splits: pd.DataFrame, features: Features, seed: int) -> dict:
    """Return the squared error of mean expression, summed over genes, averaged over groups."""
    targets = targets_of_test(store, splits, set_size=32)
    ends = np.cumsum([len(group.rows) for group in targets.groups])
    observed = np.split(store.dense(targets.observed), ends[:-1])
    errors = {}
    for name, cells in predict_all(store, splits, targets, features, seed).items():
        predicted = np.split(cells, ends[:-1])
        errors[name] = np.mean(
            [
                np.square(o.mean(0) - p.mean(0)).sum()
                for o, p in zip(observed, predicted, strict=True)
            ]
        )
    return errors


def test_features_are_worth_something_on_the_simulated_screen(screen) -> None:
    store, splits, features = screen
    errors = [squared_error(store, splits, features, seed) for seed in range(5)]
    for kind in ("ridge", "nearest_neighbour"):
        assert len({each[kind] for each in errors}) == 1
        assert len({each[f"{kind}_shuffled"] for each in errors}) > 1
        assert errors[0][kind] < min(each[f"{kind}_shuffled"] for each in errors)
    # These perturbations are known by their features alone: ridge is ahead of what reads none and
    # adds to control cells too. (A single profile has no noise of a few control cells in its mean.)
    for name in ("control", "perturbation_mean_effect", "additive"):
        assert errors[0]["ridge"] < errors[0][name]


def test_permuted_features_are_the_same_ones_and_nobodys_own(screen) -> None:
    store, splits, features = screen
    targets = targets_of_test(store, splits, set_size=32)
    fitted = Baselines.fit(store, splits, targets)
    one, again, other = (fitted.with_features(features, seed) for seed in (0, 0, 1))
    assert torch.equal(one.shuffled, again.shuffled)
    assert not torch.equal(one.shuffled, other.shuffled)
    assert not (one.shuffled == one.features).all(dim=1).any()
    assert sorted(map(tuple, one.shuffled.tolist())) == sorted(map(tuple, one.features.tolist()))


def test_predictions_that_rest_on_something_else_say_so(tmp_path: Path, make_screen) -> None:
    path = make_screen(contexts=("k562", "rpe1", "jurkat"), cells_per_group=5)
    store, groups = packed(tmp_path, SMALL, "control", path)
    # C is new, and jurkat has controls alone.
    tested = (groups["perturbation"] == "C") | (groups["context"] == "jurkat")
    splits = split(groups, tested)
    targets = targets_of_test(store, splits, set_size=4)
    names = tuple(sorted(set(groups["perturbation"])))
    one_hot = Features(names, np.eye(len(names), dtype=np.float32))
    fitted = Baselines.fit(store, splits, targets)
    given = fitted.with_features(one_hot, 0)
    labels = store.cells.iloc[targets.observed][["context", "perturbation"]].astype(str)

    def said(name: str, context: str, perturbation: str, baselines: Baselines = given) -> str:
        found = baselines.build(name).notes(store, targets, None)
        place = (labels["context"] == context) & (labels["perturbation"] == perturbation)
        (text,) = set(found[place.to_numpy()])
        return text

    assert given.build("control").notes(store, targets, None) is None
    assert said("mean_response", "k562", "C") == said("context_mean", "k562", "C") == ""
    assert said("mean_response", "jurkat", "A") == notes.NO_RESPONSE
    assert said("context_mean", "jurkat", "A") == notes.NO_MEAN
    assert said("additive", "k562", "C") == notes.NO_PERTURBATION
    assert said("additive", "jurkat", "A") == notes.NO_CONTEXT
    assert said("additive", "jurkat", "C") == f"{notes.NO_PERTURBATION}; {notes.NO_CONTEXT}"
    assert said("ridge", "k562", "C") == notes.USELESS
    assert said("nearest_neighbour", "k562", "C") == notes.EQUALLY_NEAR
    assert said("nearest_neighbour", "jurkat", "B") == notes.ITSELF
    # Names are sorted: A, B, C, control.
    line = Features(names, np.array([[0.0], [2.0], [1.9], [9.0]], dtype=np.float32))
    near = fitted.with_features(line, 0)
    assert said("nearest_neighbour", "k562", "C", near) == "nearest trained on: B"


def test_a_baseline_that_reads_features_asks_for_them(screen) -> None:
    store, splits, _ = screen
    targets = targets_of_test(store, splits, set_size=32)
    fitted = Baselines.fit(store, splits, targets)
    for name in FEATURE_BASELINES:
        with pytest.raises(DataError, match=f"{name} reads the perturbations' features"):
            fitted.build(name)
    with pytest.raises(DataError, match="no vector of GENE"):
        fitted.with_features(Features(("other",), np.ones((1, 2), dtype=np.float32)), 0)
    with pytest.raises(DataError, match="no baseline 'ridge_shuffled_twice'"):
        fitted.build("ridge_shuffled_twice")
