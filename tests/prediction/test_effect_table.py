"""The table of denoised effects, from packed cells to the coverage that evaluation reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.prediction.test_baselines_of_cells import screen  # noqa: F401
from tests.targets import targets_of_test
from workflow_scripts.cells.store import CellStore
from workflow_scripts.evaluation.intervals import check_intervals
from workflow_scripts.features.vectors import Features
from workflow_scripts.models.denoised import MEASURED, OF_RIDGE
from workflow_scripts.prediction.baselines import Baselines
from workflow_scripts.prediction.effect_table import SCHEMA, write_effects
from workflow_scripts.prediction.prediction import Prediction


@pytest.fixture(scope="module")
def table(
    screen: tuple[CellStore, pd.DataFrame, Features],  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Prediction]:
    """Write the effects of perturbations that are tested everywhere, and in one context."""
    store, splits, features = screen
    tested = splits["split"] == "test"
    known = splits["perturbation"].isin(sorted({*splits["perturbation"][~tested]})[1:9])
    known &= (splits["context"] == splits["context"].iloc[0]) & (splits["split"] == "train")
    splits = splits.assign(split=splits["split"].mask(known, "test"))
    targets = targets_of_test(store, splits, set_size=32)
    prediction = Prediction(
        settings=None,  # type: ignore[arg-type]
        trained_on=store,
        store=store,
        splits=splits,
        draws=(targets,),
        novelty=None,
        described={},
        written=store.in_order(list(store.genes[::-1])),
        counts=None,
    )
    baselines = Baselines.fit(store, splits, targets).with_features(features, 0)
    path = tmp_path_factory.mktemp("effects") / "effects.parquet"
    write_effects(path, prediction, baselines.build("denoised"))
    return path, prediction


def observed_effects(prediction: Prediction) -> pd.DataFrame:
    store, rows = prediction.written, []
    for group in prediction.targets.groups:
        effect = store.mean(group.rows) - store.mean(group.controls)
        rows.append(pd.DataFrame({"observed_effect": effect}).assign(
            context=group.context, perturbation=group.perturbation
        ))  # fmt: skip
    return pd.concat(rows)


def test_there_is_a_row_group_a_pair_with_the_genes_that_are_written(table) -> None:
    path, prediction = table
    pairs = {(group.perturbation, group.context) for group in prediction.targets.groups}
    file = pq.ParquetFile(path)
    assert file.schema_arrow == SCHEMA
    assert file.num_row_groups == len(pairs)
    rows = pd.read_parquet(path)
    assert set(zip(rows["perturbation"], rows["context"], strict=True)) == pairs
    assert list(rows["gene"][: prediction.written.n_genes]) == list(prediction.written.genes)


def test_rows_say_what_an_effect_rests_on(table) -> None:
    rows = pd.read_parquet(table[0]).drop_duplicates(["perturbation", "context"])
    assert set(rows["source"]) == {MEASURED, OF_RIDGE}
    known = rows["source"] == MEASURED
    assert set(rows["contexts"][known]) == {2}
    assert (rows["cells"][known] > 0).all()
    assert (rows[["contexts", "cells"]][~known] == 0).all(axis=None)


def test_effects_are_those_of_the_baseline_and_no_mean_is_below_zero(table) -> None:
    path, prediction = table
    rows = pd.read_parquet(path)
    group = prediction.targets.groups[0]
    own = rows[(rows["perturbation"] == group.perturbation) & (rows["context"] == group.context)]
    controls = prediction.written.mean(group.controls)
    for name in ("effect", "low", "high"):
        assert (own[name] >= -controls - 1e-6).all()
    assert (own["low"] <= own["high"]).all()
    means = np.maximum(controls + own["effect"].to_numpy(float), 0.0)
    expressed = controls > 0.1
    assert own["log2_fold_change"].notna().all()
    changed = np.log2((np.expm1(means) + 0.01) / (np.expm1(controls) + 0.01))
    np.testing.assert_allclose(
        own["log2_fold_change"][expressed], changed[expressed], rtol=1e-3, atol=1e-3
    )


def test_intervals_hold_nine_means_of_ten(table) -> None:
    path, prediction = table
    facts, coverage = check_intervals(path, observed_effects(prediction))
    assert len(facts) == len(prediction.targets.groups)
    assert {found.source for found in coverage} == {MEASURED, OF_RIDGE}
    for found in coverage:
        assert 0.85 <= found.share <= 0.95
    assert facts["trust"].between(0, 1).all()


def test_what_is_trusted_more_is_closer_to_what_was_observed(table) -> None:
    path, prediction = table
    facts, _ = check_intervals(path, observed_effects(prediction))
    rows = pd.read_parquet(path)
    observed = observed_effects(prediction)
    agreement = []
    for _, fact in facts.iterrows():
        ours, theirs = (
            each[
                (each["perturbation"] == fact["perturbation"])
                & (each["context"] == fact["context"])
            ]
            for each in (rows, observed)
        )
        agreement.append(np.corrcoef(ours["effect"], theirs["observed_effect"])[0, 1])
    assert np.corrcoef(facts["trust"], agreement)[0, 1] > 0.3
