from pathlib import Path

import anndata
import cell_eval2
import numpy as np
import pandas as pd
import polars as pl
import pytest
from cell_eval2.cli import main as cell_eval2_command
from cell_eval2.evaluation_results import FILENAME, check_document, load_document
from scipy.sparse import csr_matrix

from workflow_scripts.cells.results import ScoredContext
from workflow_scripts.evaluation.engine import EvaluationSettings, engine_config
from workflow_scripts.evaluation.scoring import evaluate

CONTROL = "non-targeting"
SETTINGS = EvaluationSettings()


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return []


@pytest.fixture(scope="module")
def result(screen, tmp_path_factory, lines):
    """Four kinds of predictions, scored once."""
    folder = tmp_path_factory.mktemp("known")

    def write(name: str, values: np.ndarray, **columns: object) -> Path:
        genes = pd.DataFrame(index=list(screen.genes))
        cells = anndata.AnnData(csr_matrix(values), screen.obs.assign(**columns), genes)
        cells.uns["stateline"] = {"control": CONTROL}
        cells.write_h5ad(folder / f"{name}.h5ad")
        return folder / f"{name}.h5ad"

    # All of the left context, and two perturbations of the right one.
    left = screen.obs["context"] == "left"
    few = screen.obs["perturbation"].isin(["G01", "G02"])
    fell_back = np.where(left, "no training here", np.where(few, "new", ""))
    return evaluate(
        write("observed", screen.values),
        {
            "model": write("model", screen.values),
            "control": write("control", screen.effects_removed(), prediction_note=""),
            "mean_response": write(
                "mean_response", screen.one_profile(), prediction_note=fell_back
            ),
        },
        SETTINGS,
        tell=lines.append,
    )


def test_predicting_what_was_observed_is_perfect(result):
    perfect = {
        "expr_mae": 0.0,
        "expr_mse": 0.0,
        "delta_pearson": 1.0,
        "pds_l1": 1.0,
        "pds_cosine": 1.0,
        "de_wilcoxon_overlap": 1.0,
        "de_wilcoxon_precision": 1.0,
    }
    for metric, value in perfect.items():
        assert result.scores.overall["model"][metric] == pytest.approx(value, abs=1e-9)


def test_predicting_controls_finds_almost_no_significant_gene_and_no_order(result):
    overall = result.scores.overall["control"]
    assert overall["de_wilcoxon_overlap"] < 0.05
    assert overall["de_wilcoxon_nsig_counts_pred"] < 1.0
    assert abs(overall["delta_pearson"]) < 0.35


def test_a_mean_response_gets_exactly_half_with_unequal_numbers_of_cells(result, screen):
    sizes = screen.obs.query("perturbation != @CONTROL").groupby(["context", "perturbation"]).size()
    assert sizes.nunique() > 4
    for context in ("left", "right"):
        means = result.scores.by_context["mean_response"][context]
        assert means["pds_l1"] == pytest.approx(0.5, abs=1e-12)
        assert means["pds_cosine"] == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_mean_response_gets_exactly_half_however_it_is_stored(draw_screen, write, dense, seed):
    # Means of sparse cells are rounded at the last bit, differently with the number of cells: no
    # rank may hang on that.
    screen = draw_screen(cells_each=(3, 7, 11, 13, 49, 97, 1, 6), contexts=("left",), seed=seed)
    observed = write("observed", screen, dense=not dense)
    predicted = write("mean_response", screen, screen.one_profile(), dense=dense)
    means = evaluate(observed, {"mean_response": predicted}, SETTINGS).scores.overall
    assert means["mean_response"]["pds_l1"] == pytest.approx(0.5, abs=1e-12)
    assert means["mean_response"]["pds_cosine"] == pytest.approx(0.5, abs=1e-12)


@pytest.fixture(scope="module")
def one_context(screen, tmp_path_factory) -> dict[str, Path]:
    """The files that a person would give the scorer by hand for the context "right"."""
    folder = tmp_path_factory.mktemp("plain")
    here = (screen.obs["context"] == "right").to_numpy()
    for name, values in {
        "observed": screen.values,
        "control": screen.effects_removed(),
        "mean_response": screen.one_profile(),
    }.items():
        genes = pd.DataFrame(index=list(screen.genes))
        cells = anndata.AnnData(csr_matrix(values[here]), screen.obs[here], genes)
        cells.write_h5ad(folder / f"{name}.h5ad")
    return {path.stem: path for path in folder.iterdir()}


def check_equal(result, model: str, plain: pl.DataFrame, but: tuple[str, ...] = ()) -> None:
    ours = result.metrics.query("context == 'right' and model == @model and metric not in @but")
    ours = ours.set_index(["perturbation", "metric"])["value"].sort_index()
    theirs = pd.DataFrame(plain.to_dict(as_series=False))
    theirs = theirs.set_index(["perturbation", "metric"])["value"].sort_index()
    assert list(ours.index) == list(theirs.index)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-8)


@pytest.mark.parametrize("model", ["control", "mean_response"])
def test_values_equal_a_plain_call_of_the_scorer(result, one_context, model):
    plain = cell_eval2.compute_metrics(
        str(one_context[model]),
        str(one_context["observed"]),
        config=engine_config(SETTINGS, CONTROL),
    )
    check_equal(result, model, plain)


def test_values_equal_a_run_of_the_scorers_own_command(result, one_context, tmp_path):
    # In this process, where the scorer's compiled loops are warm already: they take 7 s to make.
    command = ["run", "--outdir", str(tmp_path)]
    command += ["-ap", str(one_context["control"]), "-ar", str(one_context["observed"])]
    command += ["--preset", "v2", "--profile", "minimal", "--input-type", "lognorm"]
    command += ["--pert-col", "perturbation", "--control", CONTROL, "--set", "de.backend=pdex"]
    cell_eval2_command(command)
    plain = pl.read_csv(tmp_path / "results.csv")
    check_equal(result, "control", plain, but=("pds_cosine",))


def test_document_is_the_one_that_the_scorers_own_command_writes(result, one_context, tmp_path):
    command = ["run", "--outdir", str(tmp_path)]
    command += ["-ap", str(one_context["observed"]), "-ar", str(one_context["observed"])]
    command += ["--preset", "v2", "--profile", "minimal", "--input-type", "lognorm"]
    command += ["--pert-col", "perturbation", "--control", CONTROL, "--set", "de.backend=pdex"]
    cell_eval2_command(command)
    plain, ours = load_document(tmp_path / FILENAME), result.documents["right"]
    check_document(ours)
    assert ours.keys() == plain.keys()
    assert ours["suite"] == plain["suite"]
    assert set(ours["metrics"]) == {*plain["metrics"], "pds_cosine"}
    for metric, entry in plain["metrics"].items():
        assert ours["metrics"][metric].keys() == entry.keys()
        assert ours["metrics"][metric]["values"] == pytest.approx(entry["values"], abs=1e-8)
    assert result.documents.keys() == {"left", "right"}


def test_overall_is_the_mean_over_contexts_of_means_over_perturbations(result):
    table = result.metrics.query("model == 'control' and metric == 'expr_mae'")
    by_hand = table.groupby("context")["value"].mean()
    assert result.scores.overall["control"]["expr_mae"] == pytest.approx(by_hand.mean())
    for context, value in by_hand.items():
        by_context = result.scores.by_context["control"][context]
        assert by_context["expr_mae"] == pytest.approx(value)


def test_effects_are_differences_to_the_observed_controls(result, screen):
    effects = result.effects
    assert list(effects.columns) == [
        "model",
        "context",
        "perturbation",
        "gene",
        "observed_effect",
        "predicted_effect",
    ]
    assert len(effects) == 2 * 8 * 60
    assert effects["observed_effect"].dtype == np.float32
    one = effects.query("context == 'right' and perturbation == 'G03' and gene == 'G41'")
    here = (screen.obs["context"] == "right").to_numpy()
    cells = here & (screen.obs["perturbation"] == "G03").to_numpy()
    by_hand = screen.values[cells, 41].mean() - screen.values[here & screen.is_control(), 41].mean()
    assert one["observed_effect"].item() == pytest.approx(by_hand, abs=1e-5)
    assert one["predicted_effect"].item() == one["observed_effect"].item()
    assert set(effects["model"]) == {"model"}


def test_scores_say_what_was_scored_with_what(result):
    scores = result.scores
    assert scores.engine["name"] == "cell-eval2"
    assert scores.engine["version"] == cell_eval2.__version__
    assert scores.settings["input_type"] == "lognorm"
    assert scores.settings["de"]["backend"] == "pdex"
    assert scores.contexts["left"] == ScoredContext(8, 230, 70)
    assert scores.better["expr_mae"] == "lower"
    assert scores.better["pds_cosine"] == "higher"
    assert scores.better["de_wilcoxon_nsig_counts_pred"] == "neither"
    assert scores.refused == []
    assert scores.notes == {"mean_response": {"new": 2, "no training here": 8}}
    assert scores.targets_outside_panel == []


def test_table_is_sorted_and_one_line_is_told_for_each_pair(result, lines):
    keys = ["model", "context", "perturbation", "metric"]
    assert result.metrics[keys].apply(tuple, axis=1).is_monotonic_increasing
    assert not result.metrics[keys].duplicated().any()
    assert len(lines) == 6
    assert lines[0].startswith("model in left: 9 metrics of 8 perturbations")


def test_diagnosis_knows_the_observed_the_control_and_one_profile(screen, write):
    halved = screen.values.copy()
    for context in ("left", "right"):
        here = (screen.obs["context"] == context).to_numpy()
        controls = halved[here & screen.is_control()].mean(axis=0)
        asked = here & ~screen.is_control()
        halved[asked] = controls + 0.5 * (halved[asked] - controls)
    observed = write("observed", screen)
    for values, slope, index in (
        (screen.values, 1.0, 1.0),
        (halved, 0.5, 0.25),
        (screen.one_profile(), None, 0.0),
    ):
        predictions = {"model": write("model", screen, values)}
        scores = evaluate(observed, predictions, SETTINGS, tell=lambda line: None).scores
        for context in ("left", "right"):
            found = vars(scores.diagnosis[context])
            assert found["collapse_index"] == pytest.approx(index, abs=1e-5)
            assert slope is None or found["amplitude_slope"] == pytest.approx(slope, abs=1e-5)


def test_permuted_labels_discriminate_by_chance(draw_screen, write):
    screen = draw_screen(
        perturbations=tuple(f"G{number:02d}" for number in range(24)), contexts=("left",)
    )
    rng = np.random.default_rng(5)
    names = sorted(set(screen.obs["perturbation"]) - {CONTROL})
    circle = rng.permutation(names)
    moved = dict(zip(circle, np.roll(circle, 1), strict=True))
    values = screen.values.copy()
    labels = screen.obs["perturbation"].to_numpy()
    for name in names:  # the cells of another one, as many as are asked for
        others = np.flatnonzero(labels == moved[name])
        asked = np.flatnonzero(labels == name)
        values[asked] = screen.values[np.resize(others, len(asked))]
    result = evaluate(
        write("observed", screen), {"model": write("model", screen, values)}, SETTINGS, tell=print
    )
    for metric in ("pds_cosine", "pds_l1"):
        ranks = result.metrics.loc[result.metrics["metric"] == metric, "value"]
        # Ranks by chance: uniform, so that their mean has a standard error of 1 / sqrt(12 n).
        assert abs(ranks.mean() - 0.5) < 3 / np.sqrt(12 * len(ranks))
