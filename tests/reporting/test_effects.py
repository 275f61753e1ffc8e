"""Summaries of effects equal what the whole table says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.errors import DataError
from workflow_scripts.reporting.effects import read_panels, summarise_effects
from workflow_scripts.reporting.files import InputPaths


def test_sums_over_batches_equal_the_statistics_of_the_whole(
    write_files: Callable[..., InputPaths], tmp_path: Path
) -> None:
    whole = pd.read_parquet(write_files(contexts=("a", "b")).effects).sample(frac=1, random_state=1)
    # Small row groups: a perturbation's genes lie in many batches.
    whole.to_parquet(tmp_path / "shuffled.parquet", row_group_size=37)
    summary = summarise_effects(tmp_path / "shuffled.parquet")
    groups = dict(list(whole.groupby(["model", "context", "perturbation"])))
    assert len(summary) == len(groups)
    assert summary["strength"].is_monotonic_decreasing
    for row in summary.itertuples():
        group = groups[row.model, row.context, row.perturbation]
        observed, predicted = group["observed_effect"], group["predicted_effect"]
        assert row.n_genes == len(group)
        assert row.strength == pytest.approx(np.linalg.norm(observed))
        assert row.slope == pytest.approx(np.polyfit(observed, predicted, 1)[0], abs=1e-9)
        if row.model == "control":
            assert np.isnan(row.correlation)
        else:
            assert row.correlation == pytest.approx(np.corrcoef(observed, predicted)[0, 1])


def test_panels_hold_the_genes_of_the_strongest_of_one_model(
    write_files: Callable[..., InputPaths],
) -> None:
    path = write_files(contexts=("a", "b")).effects
    whole = pd.read_parquet(path)
    summary = summarise_effects(path)
    panels = read_panels(path, summary, "model", 3)
    assert panels[0].perturbation == "GENE0"
    for panel in panels:
        chosen = (whole["model"] == "model") & (whole["context"] == panel.context)
        expected = whole[chosen & (whole["perturbation"] == panel.perturbation)]
        assert panel.genes["gene"].tolist() == expected["gene"].tolist()
        assert panel.genes["predicted_effect"].tolist() == expected["predicted_effect"].tolist()


def test_categories_and_gaps_are_read(
    write_files: Callable[..., InputPaths], tmp_path: Path
) -> None:
    whole = pd.read_parquet(write_files().effects)
    whole.loc[::7, "predicted_effect"] = np.nan
    names = dict.fromkeys(["model", "context", "perturbation", "gene"], "category")
    whole.astype(names).to_parquet(tmp_path / "categories.parquet")
    summary = summarise_effects(tmp_path / "categories.parquet")
    assert summary["n_genes"].sum() == whole["predicted_effect"].notna().sum()
    panels = read_panels(tmp_path / "categories.parquet", summary, "model", 12)
    assert len(panels) == 8
    assert not any(panel.genes.isna().any(axis=None) for panel in panels)


@pytest.mark.parametrize(
    ("content", "words"), [(None, "no such file"), (b"text", "not a Parquet file")]
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "effects.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=f"effects.parquet: {words}"):
        summarise_effects(path)
