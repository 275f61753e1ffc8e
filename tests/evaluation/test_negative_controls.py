"""A model that knows nothing is scored, and one that knows its perturbations is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from workflow_scripts.evaluation.engine import EvaluationSettings
from workflow_scripts.evaluation.negative_controls import (
    DERIVED,
    doubled_variance,
    doubled_variance_of_counts,
    same_cells,
)
from workflow_scripts.evaluation.scoring import evaluate

CONTROL = "non-targeting"


def cells_of(screen, *, sparse: bool) -> AnnData:
    here = (screen.obs["context"] == "left").to_numpy()
    values = screen.values[here]
    return AnnData(csr_matrix(values) if sparse else values, screen.obs[here])


def dense(cells: AnnData) -> np.ndarray:
    return cells.X.toarray() if hasattr(cells.X, "toarray") else cells.X


@pytest.mark.parametrize("sparse", [False, True])
def test_every_perturbation_gets_the_same_cells(screen, sparse):
    cells = cells_of(screen, sparse=sparse)
    made, before = dense(same_cells(cells, CONTROL)), dense(cells)
    labels = cells.obs["perturbation"].to_numpy()
    is_control = labels == CONTROL
    assert np.array_equal(made[is_control], before[is_control])
    first = made[labels == "G03"]  # the one with most cells
    for name in set(labels) - {CONTROL}:
        mine = made[labels == name]
        assert np.array_equal(mine, first[: len(mine)])
    # They are cells of all perturbations alike.
    rows = {row.tobytes(): label for row, label in zip(before, labels, strict=True)}
    sources = [rows[row.tobytes()] for row in first[:16]]
    assert sorted(sources) == sorted(2 * list(set(labels) - {CONTROL}))


@pytest.mark.parametrize("sparse", [False, True])
def test_variance_between_cells_is_doubled_and_means_are_kept(screen, sparse):
    cells = cells_of(screen, sparse=sparse)
    made, before = dense(doubled_variance(cells, CONTROL)), dense(cells)
    labels = cells.obs["perturbation"].to_numpy()
    assert np.array_equal(made[labels == CONTROL], before[labels == CONTROL])
    one = labels == "G05"
    least, most = (f(before[labels != CONTROL], axis=0) for f in (np.min, np.max))
    assert (made[one] >= least).all()
    assert (made[one] <= most).all()
    free = ((made[one] > least) & (made[one] < most)).all(axis=0)  # of which nothing was cut
    assert free.sum() > 10
    np.testing.assert_allclose(made[one].mean(0)[free], before[one].mean(0)[free], rtol=1e-5)
    np.testing.assert_allclose(made[one].var(0)[free], 2 * before[one].var(0)[free], rtol=1e-4)


@pytest.fixture(scope="module")
def scored(draw_screen, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored")
    screen = draw_screen(tuple(f"G{n:02d}" for n in range(12)), ("left",))
    labels = screen.obs["perturbation"].to_numpy()
    names = sorted(set(labels) - {CONTROL})
    wrong = screen.values.copy()
    for name, other in zip(names, np.roll(names, 1), strict=True):
        rows, others = np.flatnonzero(labels == name), np.flatnonzero(labels == other)
        wrong[rows] = screen.values[np.resize(others, len(rows))]

    def write(name: str, values: np.ndarray):
        cells = AnnData(values, screen.obs)
        cells.var_names = list(screen.genes)
        cells.uns["stateline"] = {"control": CONTROL}
        cells.write_h5ad(folder / f"{name}.h5ad")
        return folder / f"{name}.h5ad"

    files = {
        "observed": write("observed", screen.values),
        "right": write("right", screen.values),
        "blind": write("blind", screen.one_profile()),
        "wrong": write("wrong", wrong),
    }

    def score(model: str, spoiled: str):
        return evaluate(
            files["observed"],
            {"model": files[model], "control": files["right"]},
            EvaluationSettings(),
            negative_controls={"shuffled_features": files[spoiled]},
            derived=list(DERIVED["log1p"]),
            resamples=100,
            tell=lambda line: None,
        ).scores

    return score


def test_model_that_knows_its_perturbations_is_not_matched(scored):
    found = scored("right", "wrong").negative_controls
    assert found["shuffled_features"]["pds_l1"].matches is False
    assert found["same_cells"]["pds_l1"].matches is False
    # A metric of means can't see the variance, and one of the tests between cells does.
    variance = found["doubled_variance"]
    assert variance["de_wilcoxon_overlap"].matches is False


def test_model_that_ignores_features_is_matched(scored):
    scores = scored("blind", "blind")
    for way in ("shuffled_features", "same_cells"):
        assert scores.negative_controls[way]["pds_l1"].matches is True
    # They are no baselines: neither the number of tests nor the verdict hangs on them.
    assert set(scores.comparisons) == {"control"}
    assert {"shuffled_features", "same_cells"} <= set(scores.overall)


def test_too_few_perturbations_tell_nothing(draw_screen, write):
    screen = draw_screen(("G01", "G02", "G03"), ("left",))
    found = evaluate(
        write("observed", screen),
        {"model": write("model", screen)},
        EvaluationSettings(),
        derived=["same_cells"],
        tell=lambda line: None,
    ).scores.negative_controls
    assert found["same_cells"]["pds_l1"].matches is None


def test_doubled_variance_of_counts_keeps_means_and_whole_numbers():
    draws = np.random.default_rng(0)
    counts = draws.negative_binomial(3, [0.9, 0.6, 0.2, 0.02], (20_000, 4)).astype(np.float32)
    labels = np.repeat(["control", "A"], [5_000, 15_000])
    cells = AnnData(csr_matrix(counts), pd.DataFrame({"perturbation": labels}))
    made = doubled_variance_of_counts(cells, "control").X.toarray()
    assert np.array_equal(made[:5_000], counts[:5_000])
    assert np.array_equal(made, np.rint(made))
    before, after = counts[5_000:], made[5_000:]
    error = np.sqrt(2 * before.var(axis=0) / len(before))
    assert (np.abs(after.mean(axis=0) - before.mean(axis=0)) < 4 * error).all()
    np.testing.assert_allclose(after.var(axis=0) / before.var(axis=0), 2.0, rtol=0.1)
