import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

from workflow_scripts.cells.simulated_folder import check_folder, write_screen
from workflow_scripts.cells.simulation import (
    CONTROL,
    SimulatedContext,
    SimulatedScreen,
    SimulationSettings,
    simulate,
)
from workflow_scripts.errors import ConfigError, DataError
from workflow_scripts.simulate_demo import simulate_demo

SMALL = SimulationSettings(n_contexts=3, n_perturbations=16, n_cells=2000, n_genes=200)
FILES = {
    "sim_alpha.h5ad",
    "sim_beta.h5ad",
    "sim_gamma.h5ad",
    "starter.toml",
    "ESM2_like_features.pt",
    "README.txt",
}


@pytest.fixture(scope="module")
def screen() -> SimulatedScreen:
    return simulate(SimulationSettings())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("simulated") / "demo"
    write_screen(simulate(SMALL), SMALL, path)
    return path


def log_effects(context: SimulatedContext, perturbations: tuple[str, ...]) -> np.ndarray:
    """Mean log1p of counts in 10,000, less that of the controls: one row a perturbation."""
    counts = context.counts.toarray().astype(float)
    logged = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    labels = context.obs["target_gene"].to_numpy(dtype=str)
    control = logged[labels == CONTROL].mean(axis=0)
    return np.stack([logged[labels == name].mean(axis=0) - control for name in perturbations])


def explained_when_held_out(features: np.ndarray, effects: np.ndarray) -> float:
    """Share of the variance of held-out effects that a ridge on features explains."""
    fold = np.arange(len(features)) % 5
    residual = total = 0.0
    for held in range(5):
        train, test = fold != held, fold == held
        kernel = features[train] @ features[train].T + 5.0 * np.eye(train.sum())
        mean = effects[train].mean(axis=0)
        fitted = np.linalg.solve(kernel, effects[train] - mean)
        predicted = mean + features[test] @ features[train].T @ fitted
        residual += ((effects[test] - predicted) ** 2).sum()
        total += ((effects[test] - mean) ** 2).sum()
    return 1.0 - residual / total


def test_counts_are_whole_numbers_of_all_the_cells(screen):
    assert sum(context.counts.shape[0] for context in screen.contexts) == 9000
    for context in screen.contexts:
        assert context.counts.dtype == np.float32
        assert (context.counts.data > 0).all()
        np.testing.assert_array_equal(context.counts.data, context.counts.data.round())
        assert context.counts.shape == (len(context.obs), len(screen.genes))


def test_features_explain_effects_of_held_out_perturbations_and_shuffled_features_do_not(screen):
    features = np.stack([screen.features[name] for name in screen.perturbations])
    features = features - screen.features[CONTROL]
    shuffled = np.random.default_rng(0).permutation(features)
    for context in screen.contexts:
        effects = log_effects(context, screen.perturbations)
        assert explained_when_held_out(features, effects) > 0.4
        assert explained_when_held_out(shuffled, effects) < 0.05


def test_effects_are_shared_by_contexts_in_part(screen):
    first, last = screen.contexts[0].effects, screen.contexts[-1].effects
    assert 0.6 < np.corrcoef(first.ravel(), last.ravel())[0, 1] < 0.95


def test_effects_are_sparse_and_of_all_strengths(screen):
    effects = screen.contexts[0].effects
    assert (effects == 0).mean() > 0.4
    strength = np.linalg.norm(effects, axis=1)
    assert strength.max() > 20 * strength.min()


def test_targets_are_knocked_down_in_every_context(screen):
    columns = [screen.genes.index(name) for name in screen.perturbations]
    for context in screen.contexts:
        changes = log_effects(context, screen.perturbations)[range(len(columns)), columns]
        assert changes.max() < -0.2
        assert np.median(changes) < -0.8


def test_depth_varies_between_cells_and_technical_batches_differ(screen):
    for context in screen.contexts:
        depth = np.asarray(context.counts.sum(axis=1)).ravel()
        assert np.quantile(depth, 0.95) > 2 * np.quantile(depth, 0.05)

        control = context.obs["target_gene"].to_numpy() == CONTROL
        share = context.counts.toarray()[control] / depth[control, None]
        batch = context.obs["batch_var"].cat.codes.to_numpy()[control]
        high = share.mean(axis=0) > 1e-3
        means = np.log(np.stack([share[batch == b].mean(axis=0)[high] for b in np.unique(batch)]))
        # The same cells dealt out at random show what chance alone would do.
        dealt = np.random.default_rng(0).permutation(batch)
        chance = np.log(np.stack([share[dealt == b].mean(axis=0)[high] for b in np.unique(batch)]))
        assert 2 <= len(means) <= 3
        assert means.std(axis=0).mean() > 1.3 * chance.std(axis=0).mean()


def test_controls_and_perturbations_have_enough_cells_everywhere(screen):
    for context in screen.contexts:
        sizes = context.obs["target_gene"].value_counts()
        assert sizes[CONTROL] >= 150
        assert set(sizes.index) == {CONTROL, *screen.perturbations}
        assert sizes.min() >= 8


def test_held_out_perturbations_are_weak_and_strong(screen):
    strength = np.linalg.norm(screen.contexts[-1].effects, axis=1)
    rank = dict(zip(screen.perturbations, strength.argsort().argsort(), strict=True))
    val, test = screen.held_out["val"], screen.held_out["test"]
    assert (len(val), len(test)) == (8, 20)
    assert not set(val) & set(test)
    for names in (val, test):
        assert min(rank[name] for name in names) < 14
        assert max(rank[name] for name in names) > 45


def test_seed_decides_everything():
    first, again, other = simulate(SMALL), simulate(SMALL), simulate(replace(SMALL, seed=1))
    assert first.held_out == again.held_out
    for one, two, three in zip(first.contexts, again.contexts, other.contexts, strict=True):
        assert (one.counts != two.counts).nnz == 0
        pd.testing.assert_frame_equal(one.obs, two.obs)
        assert (one.counts != three.counts).nnz > 0
    for name, vector in first.features.items():
        np.testing.assert_array_equal(vector, again.features[name])


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"n_cells": 100}, "n_cells"),
        ({"n_genes": 20}, "n_genes"),
        ({"n_perturbations": 2}, "n_perturbations"),
        ({"n_contexts": 9, "n_cells": 9000}, "n_contexts"),
        ({"seed": -1}, "seed"),
    ],
)
def test_sizes_that_cannot_be_are_named(change, word):
    with pytest.raises(ConfigError, match=word):
        replace(SMALL, **change)


def test_folder_holds_exactly_its_files_and_every_one_says_simulated(folder):
    assert {path.name for path in folder.iterdir()} == FILES
    for name in ("starter.toml", "README.txt"):
        assert "imulated" in (folder / name).read_text().splitlines()[0]


def test_files_hold_what_the_workflow_reads(folder):
    barcodes: list[str] = []
    features = torch.load(folder / "ESM2_like_features.pt", weights_only=True)
    for name in ("sim_alpha", "sim_beta", "sim_gamma"):
        cells = anndata.read_h5ad(folder / f"{name}.h5ad")
        barcodes += list(cells.obs_names)
        assert cells.X.format == "csr"
        assert cells.X.dtype == np.float32
        assert list(cells.obs.columns) == ["target_gene", "cell_type", "batch_var"]
        assert set(cells.obs["cell_type"]) == {name}
        assert set(cells.obs["target_gene"]) <= features.keys()
        assert set(cells.obs["target_gene"]) - {CONTROL} <= set(cells.var_names)
        assert "imulated" in cells.uns["simulated"]
    assert len(set(barcodes)) == len(barcodes)
    assert {vector.dtype for vector in features.values()} == {torch.float32}
    assert {vector.shape for vector in features.values()} == {(64,)}


def test_split_file_names_only_what_is_in_the_data(folder):
    splits = tomllib.loads((folder / "starter.toml").read_text())
    assert splits["datasets"] == {"simulated": f"{folder.as_posix()}/*.h5ad"}
    assert splits["training"] == {"simulated": "train"}
    (context, held_out), *others = splits["fewshot"].items()
    assert not others
    dataset, _, name = context.partition(".")
    assert dataset in splits["datasets"]
    present = set(anndata.read_h5ad(folder / f"{name}.h5ad").obs["target_gene"])
    elsewhere = set(anndata.read_h5ad(folder / "sim_alpha.h5ad").obs["target_gene"])
    for split in ("val", "test"):
        assert held_out[split]
        assert set(held_out[split]) <= present & elsewhere - {CONTROL}


def test_writing_again_replaces_an_earlier_simulation(tmp_path):
    write_screen(simulate(SMALL), SMALL, tmp_path)
    other = replace(SMALL, seed=7)
    write_screen(simulate(other), other, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert "Seed 7" in (tmp_path / "starter.toml").read_text()


def test_what_a_kill_left_behind_does_not_block_the_next_run(tmp_path):
    (tmp_path / ".sim_alpha.h5ad.partial").write_bytes(b"half a file")
    check_folder(tmp_path, ["sim_alpha"])


@pytest.mark.parametrize("name", ["mine.h5ad", "notes.txt", *sorted(FILES)])
def test_a_folder_with_somebody_elses_file_is_left_as_it_is(tmp_path, name):
    theirs = tmp_path / name
    if name.startswith("sim_"):
        anndata.AnnData(np.ones((2, 3), np.float32)).write_h5ad(theirs)
    elif name.endswith(".pt"):
        torch.save({"TP53": torch.ones(3)}, theirs)
    else:
        theirs.write_text("# mine\n")
    before = theirs.read_bytes()

    with pytest.raises(DataError, match="nothing was written") as refusal:
        simulate_demo(["--out-dir", str(tmp_path), "--n-cells", "2000"])

    assert name in str(refusal.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert theirs.read_bytes() == before


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "demo").write_text("mine")
    with pytest.raises(DataError, match="a file is there"):
        check_folder(tmp_path / "demo", ["sim_alpha"])


def test_command_says_in_one_line_what_is_wrong_and_writes_nothing(tmp_path):
    theirs = tmp_path / "mine.h5ad"
    theirs.write_text("cells of years of work")
    command = [sys.executable, "-m", "workflow_scripts.simulate_demo", "--out-dir", str(tmp_path)]
    for more, status, words in [([], 1, "mine.h5ad"), (["--n-cells", "10"], 2, "n_cells is 10")]:
        done = subprocess.run([*command, *more], capture_output=True, text=True)
        assert done.returncode == status
        assert done.stderr.count("\n") == 1
        assert words in done.stderr
    assert list(tmp_path.iterdir()) == [theirs]
