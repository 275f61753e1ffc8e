"""A validation scores the effects of its perturbations, and a score may choose the best state."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from cell_eval2.metrics.delta import pearson_delta
from cell_eval2.metrics.discrimination import discrimination_score

from tests.screens import write_screen
from tests.training.training_runs import Training, kill_after, same
from workflow_scripts.cells.groups import Group
from workflow_scripts.cells.sampling import SetRows
from workflow_scripts.errors import DataError
from workflow_scripts.reporting.inputs import VALIDATION_SCORES
from workflow_scripts.training.metrics_file import SCORES
from workflow_scripts.training.validating import Validation, badness

GENES = ["A", "g1", "C", "g3", "g4", "g5"]
PAIRS = [(context, name) for context in ("k562", "rpe1") for name in ("A", "B", "C")]
PAIRS.append(("jurkat", "A"))  # alone: nothing to rank
N_SETS, N_CELLS = 11, 4


def groups() -> list[Group]:
    rows = np.arange(1)
    return [Group(context, name, rows, rows, is_control=False) for context, name in PAIRS]


def sets() -> SetRows:
    """Return eleven sets of seven groups, and numbers with gaps, as a part of all sets has."""
    of_group = np.array([0, 0, 1, 2, 3, 4, 4, 4, 5, 6, 6])
    rows = np.zeros((N_SETS, N_CELLS), dtype=np.int64)
    return SetRows(of_group, np.full(N_SETS, N_CELLS), np.arange(N_SETS) * 3 + 1, rows, rows)


def cells() -> torch.Tensor:
    """Return cells predicted, observed and of controls [three, sets, cells, genes]."""
    return torch.rand(3, N_SETS, N_CELLS, len(GENES), generator=torch.Generator().manual_seed(3))


def validation_of(genes: list[str]) -> Validation:
    return Validation(groups(), sets(), genes, len(GENES))


def add(validation: Validation, values: torch.Tensor, chosen: list[int]) -> None:
    predicted, observed, control = values[:, chosen]
    validation.add(
        torch.from_numpy(sets().numbers)[chosen],
        torch.arange(N_SETS, dtype=torch.float32)[chosen],
        predicted=predicted,
        observed=observed,
        control=control,
    )


def official(values: torch.Tensor) -> dict[str, float]:
    """Score the same cells with cell-eval2, one call a context, and average perturbations."""
    found: dict[str, list[float]] = {"pds_l1": [], "pds_cosine": [], "delta_pearson": []}
    of_set = [PAIRS[number] for number in sets().groups]
    for context in ("k562", "rpe1"):
        here = [at for at, pair in enumerate(of_set) if pair[0] == context]
        control = values[2, here].mean(dim=(0, 1)).double().numpy()
        names = np.array(["control", "A", "B", "C"])
        bulks = []
        for side in (0, 1):
            means = [
                values[side, [at for at in here if of_set[at][1] == name]].mean(dim=(0, 1))
                for name in names[1:]
            ]
            bulks.append((names, np.stack([control, *(m.double().numpy() for m in means)])))
        own = {"pred_bulk": bulks[0], "real_bulk": bulks[1], "control": "control"}
        for name, distance in (("pds_l1", "l1"), ("pds_cosine", "cosine")):
            scores = discrimination_score(
                **own,
                distance=distance,
                rank_denominator="n-1",
                control_source="real",
                genes=np.array(GENES),
            )
            found[name] += scores.values()
        kept = [at for at, gene in enumerate(GENES) if gene not in ("A", "C")]
        bulks = [(labels, means[:, kept]) for labels, means in bulks]
        own = {"pred_bulk": bulks[0], "real_bulk": bulks[1], "control": "control"}
        found["delta_pearson"] += pearson_delta(**own, control_source="real").values()
    return {f"val_{name}": float(np.mean(scores)) for name, scores in found.items()}


def test_scores_are_those_of_cell_eval2_on_the_same_cells():
    validation = validation_of(GENES)
    for chosen in ([3, 0, 9], [1, 2, 4, 5], [6, 7, 8, 10]):
        add(validation, cells(), chosen)
    scores = validation.scores()
    assert scores.pop("val_loss") == 5.0
    assert scores == pytest.approx(official(cells()), rel=1e-5)
    validation.begin(torch.device("cpu"))
    add(validation, cells(), list(range(N_SETS)))
    assert validation.scores() == pytest.approx({"val_loss": 5.0, **scores}, rel=1e-5)


def test_processes_add_up_to_one():
    whole, *parts = (validation_of(GENES) for _ in range(3))
    add(whole, cells(), list(range(N_SETS)))
    add(parts[0], cells(), [0, 2, 4, 6, 8, 10])
    add(parts[1], cells(), [1, 3, 5, 7, 9])
    # What the other process holds, in the order in which each asks for it.
    others = [parts[1]._loss, parts[1]._sums, parts[1]._n_sets]
    assert parts[0].scores(lambda own: own + others.pop(0)) == pytest.approx(whole.scores())


def test_embedding_has_no_targets_among_its_columns():
    named, unnamed = validation_of(["g"] * 6), validation_of([])
    for validation in (named, unnamed):
        add(validation, cells(), list(range(N_SETS)))
    assert named.scores() == unnamed.scores()
    with_targets = validation_of(GENES)
    add(with_targets, cells(), list(range(N_SETS)))
    assert with_targets.scores() != named.scores()


def test_targets_of_all_parts_of_a_combination_are_left_out(monkeypatch):
    monkeypatch.setitem(globals(), "PAIRS", [(c, n.replace("B", "A+g3")) for c, n in PAIRS])
    plain, knocked = validation_of(GENES), validation_of(GENES)
    values = cells()
    add(plain, values, list(range(N_SETS)))
    for name in ("A", "g3", "C"):
        values[0, :, :, GENES.index(name)] -= 0.5
    add(knocked, values, list(range(N_SETS)))
    assert knocked.scores() == plain.scores()


def test_nan_makes_the_loss_and_the_scores_nan():
    validation = validation_of(GENES)
    broken = cells()
    broken[0, 4, 2, 3] = math.nan
    predicted, observed, control = broken
    losses = torch.zeros(N_SETS)
    losses[4] = math.nan
    validation.add(
        torch.from_numpy(sets().numbers),
        losses,
        predicted=predicted,
        observed=observed,
        control=control,
    )
    scores = validation.scores()
    assert all(math.isnan(value) for value in scores.values())
    assert badness(scores, "val_loss") == badness(scores, "pds_l1") == math.inf


def test_less_bad_is_less_loss_or_more_of_a_score():
    scores = {"val_loss": 2.0, "val_pds_l1": 0.25}
    assert badness(scores, "val_loss") == 2.0
    assert badness(scores, "pds_l1") == -0.25


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """Return inputs of `train` with two perturbations that validate, and the run `unbroken`."""
    folder = tmp_path_factory.mktemp("training")
    screen = write_screen(folder / "screen.h5ad", cells_per_group=9)
    made = Training(folder, screen, val=["A", "B"], test="C")
    made.run("unbroken", *SELECTING)
    return made


SELECTING = ("engine.select_by=delta_pearson", "training.lr=3e-2", "training.val_freq=2")


def test_best_state_is_that_of_the_highest_score(training):
    rows = [row for row in training.log("unbroken") if row["val_loss"]]
    scores = {int(row["step"]): float(row["val_delta_pearson"]) for row in rows}
    losses = {int(row["step"]): float(row["val_loss"]) for row in rows}
    best = max(scores, key=lambda step: scores[step])
    assert best != min(losses, key=lambda step: losses[step])
    assert {"val_pds_l1", "val_pds_cosine"} <= rows[0].keys()
    content = torch.load(training.folder / "unbroken" / "best.ckpt", weights_only=True)
    assert content["stateline"]["step"] == best
    out = training.run("said", *SELECTING, "training.max_steps=3")
    assert re.search(r"validation [\d.]+  best delta_pearson [\d.]+ \(step 2\)", out)


def test_killed_training_selects_as_one_that_was_not(training):
    command = training.command("killed", *SELECTING)
    kill_after(command, training.folder / "killed", "*/step=*012.ckpt")
    assert "from step 0" not in training.run("killed", *SELECTING)
    for name in ("final.ckpt", "best.ckpt"):
        assert same(training.weights("unbroken", name), training.weights("killed", name))
    assert training.log("unbroken") == training.log("killed")


def test_training_stops_early_by_the_score(training):
    stopping = (*SELECTING, "training.lr=1e-12", "engine.early_stopping=2")
    out = training.run("early", *stopping)
    assert "step 6: 2 validations that are no better than that of step 2 (delta_pearson)" in out
    assert "finished before" in training.run("early", *stopping)


def test_single_perturbation_is_not_ranked(tmp_path):
    alone = Training(tmp_path, write_screen(tmp_path / "screen.h5ad", cells_per_group=9))
    with pytest.raises(DataError, match=r"engine.select_by is pds_l1, and no context has two"):
        alone.run("ranked", "engine.select_by=pds_l1")
    alone.run("not ranked", "training.max_steps=4")
    assert alone.log("not ranked")[-1]["val_pds_l1"] == ""
    assert alone.log("not ranked")[-1]["val_loss"] != ""


def test_report_knows_the_scores_of_a_validation():
    assert ("val_loss", *VALIDATION_SCORES) == SCORES
