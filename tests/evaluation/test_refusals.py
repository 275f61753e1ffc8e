from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from workflow_scripts.errors import ConfigError, DataError
from workflow_scripts.evaluation.engine import EvaluationSettings, engine_config
from workflow_scripts.evaluation.scoring import evaluate
from workflow_scripts.settings.slices import Slice

SETTINGS = EvaluationSettings()


@pytest.fixture(scope="module")
def small(draw_screen):
    return draw_screen(
        perturbations=("G00", "G01", "G02"), contexts=("left",), cells_each=(9, 12, 10)
    )


def silent(line: str) -> None:
    del line


def test_targets_outside_the_panel_are_listed_and_scored(draw_screen, write):
    screen = draw_screen(perturbations=("G01", "ABSENT", "G02+G03", "G05"), contexts=("left",))
    result = evaluate(
        write("observed", screen), {"model": write("model", screen)}, SETTINGS, tell=silent
    )
    assert result.scores.targets_outside_panel == ["ABSENT", "G02+G03"]
    assert set(result.metrics["perturbation"]) == {"G01", "ABSENT", "G02+G03", "G05"}
    assert result.scores.refused == []


def test_a_screen_without_one_measured_target_is_scored(draw_screen, write):
    screen = draw_screen(perturbations=("drug_a", "drug_b", "drug_c"), contexts=("left",))
    result = evaluate(
        write("observed", screen), {"model": write("model", screen)}, SETTINGS, tell=silent
    )
    assert result.scores.overall["model"]["pds_cosine"] == 1.0
    assert result.scores.targets_outside_panel == ["drug_a", "drug_b", "drug_c"]


def test_a_refused_metric_is_recorded_and_the_rest_is_reported(small, write):
    # A metric of the negative-binomial family can't come from rank tests.
    settings = replace(SETTINGS, extra_metrics=("pds_cosine", "de_deseq2_overlap"))
    result = evaluate(
        write("observed", small), {"model": write("model", small)}, settings, tell=silent
    )
    (refusal,) = result.scores.refused
    assert refusal.model == "model"
    assert refusal.context == "left"
    assert refusal.metric == "de_deseq2_overlap"
    assert "deseq2" in refusal.reason
    assert result.scores.overall["model"]["pds_cosine"] == 1.0
    assert result.scores.overall["model"]["de_wilcoxon_overlap"] == 1.0


def test_a_refused_call_is_recorded_and_other_predictions_are_reported(small, write):
    counts = np.where(small.is_control()[:, None], small.values, np.float32(3))
    below_zero = np.where(small.is_control()[:, None], small.values, small.values - 1)
    result = evaluate(
        write("observed", small),
        {
            "model": write("model", small, below_zero),
            "control": write("control", small, small.effects_removed()),
            "flat": write("flat", small, counts),
        },
        SETTINGS,
        tell=silent,
    )
    (refusal,) = result.scores.refused
    assert (refusal.model, refusal.metric) == ("model", None)
    assert "negative" in refusal.reason
    assert set(result.metrics["model"]) == {"control", "flat"}
    assert result.scores.overall["model"] == {}


def test_counts_in_place_of_log_values_are_refused_by_name(small, write):
    counts = replace(small, values=np.expm1(small.values).round().astype(np.float32))
    with pytest.raises(DataError, match=r"refused every metric.*all-integer"):
        evaluate(write("observed", counts), {"model": write("m", counts)}, SETTINGS, tell=silent)


def test_ranks_of_a_lone_perturbation_are_refused(draw_screen, write):
    screen = draw_screen(perturbations=("G01",), contexts=("left",))
    result = evaluate(
        write("observed", screen), {"model": write("model", screen)}, SETTINGS, tell=silent
    )
    assert {entry.metric for entry in result.scores.refused} == {"pds_l1", "pds_cosine"}
    assert "pds_l1" not in set(result.metrics["metric"])
    assert result.scores.overall["model"]["expr_mae"] == 0.0


def test_a_perturbation_of_one_cell_is_scored(draw_screen, write):
    screen = draw_screen(
        perturbations=("G00", "G01", "G02"), contexts=("left",), cells_each=(1, 12, 10)
    )
    result = evaluate(
        write("observed", screen), {"model": write("model", screen)}, SETTINGS, tell=silent
    )
    assert "G00" in set(result.metrics["perturbation"])


def test_permuted_genes_are_named(small, write):
    genes = ("G01", "G00", *small.genes[2:])
    with pytest.raises(DataError, match=r"another order: number 0 is 'G00' observed and 'G01'"):
        evaluate(
            write("observed", small),
            {"model": write("model", replace(small, genes=genes))},
            SETTINGS,
            tell=silent,
        )


def test_other_genes_are_named(small, write):
    genes = (*small.genes[:-1], "OTHER")
    with pytest.raises(DataError, match=r"model.h5ad .*'G59'.*'OTHER'"):
        evaluate(
            write("observed", small),
            {"model": write("model", replace(small, genes=genes))},
            SETTINGS,
            tell=silent,
        )


def test_missing_and_added_perturbations_are_named(small, write):
    renamed = small.obs.assign(perturbation=small.obs["perturbation"].replace("G02", "G09"))
    with pytest.raises(DataError, match=r"observed only \['G02'\], predicted only \['G09'\]"):
        evaluate(
            write("observed", small),
            {"model": write("model", replace(small, obs=renamed))},
            SETTINGS,
            tell=silent,
        )


def test_missing_controls_are_named(small, write):
    keep = ~small.is_control()
    without = replace(small, values=small.values[keep], obs=small.obs[keep])
    with pytest.raises(DataError, match=r"model.h5ad: the context 'left' .* no control cell"):
        evaluate(
            write("observed", small), {"model": write("model", without)}, SETTINGS, tell=silent
        )


def test_a_missing_context_is_named(screen, write):
    keep = (screen.obs["context"] == "left").to_numpy()
    half = replace(screen, values=screen.values[keep], obs=screen.obs[keep])
    with pytest.raises(DataError, match=r"different contexts: observed only \['right'\]"):
        evaluate(write("observed", screen), {"model": write("model", half)}, SETTINGS, tell=silent)


def test_a_missing_column_or_label_or_file_is_named(small, write, tmp_path):
    observed = write("observed", small)
    for name, path, words in [
        ("column", write("a", replace(small, obs=small.obs.drop(columns="context"))), "context"),
        ("label", write("b", small, uns={}), "control"),
        ("file", tmp_path / "nowhere.h5ad", "nowhere.h5ad"),
        ("text", tmp_path / "text.h5ad", "text.h5ad"),
    ]:
        if name == "text":
            path.write_text("no cells")
        with pytest.raises(DataError, match=words):
            evaluate(observed, {"model": path}, SETTINGS, tell=silent)


def test_controls_alone_are_nothing_to_score(small, write):
    keep = small.is_control()
    alone = replace(small, values=small.values[keep], obs=small.obs[keep])
    with pytest.raises(DataError, match="nothing to score"):
        evaluate(write("observed", alone), {"model": write("m", alone)}, SETTINGS, tell=silent)


@pytest.mark.parametrize("dense", [True, False])
def test_values_that_are_not_finite_are_named(small, write, dense):
    values = small.values.copy()
    values[-1, 3] = np.nan
    with pytest.raises(DataError, match=r"model.h5ad: .* not finite"):
        evaluate(
            write("observed", small),
            {"model": write("model", small, values, dense=dense)},
            SETTINGS,
            tell=silent,
        )
    assert np.isnan(csr_matrix(values).data).any()


def test_settings_are_read_from_the_stage_slice():
    keys = {
        "evaluation.preset": "v2",
        "evaluation.profile": "minimal",
        "evaluation.extra_metrics": ["pds_cosine"],
        "evaluation.input_type": "lognorm",
        "evaluation.controls": "observed",
        "prediction.output": "log1p",
        "evaluation.de_backend": "pdex",
        "evaluation.resamples": 1000,
    }
    assert EvaluationSettings.from_slice(Slice(keys, {})) == SETTINGS


@pytest.mark.parametrize(
    "change",
    [
        {"preset": "v3"},
        {"profile": "tiny"},
        {"extra_metrics": ("pds_cosin",)},
        {"input_type": "log"},
        {"de_backend": "limma"},
    ],
)
def test_names_that_the_scorer_does_not_know_are_config_errors(change):
    (value,) = change.values()
    word = value if isinstance(value, str) else value[0]
    with pytest.raises(ConfigError, match=f"can't score by that: .*{word}"):
        engine_config(replace(SETTINGS, **change), "non-targeting")
