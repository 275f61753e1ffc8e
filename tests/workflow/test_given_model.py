"""A run that predicts with a model that is there already, through Snakemake: nothing trains."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pytest

from tests.finished_run import OPTIONS
from tests.snakemake_runs import snakemake
from tests.tiny_run import write_tiny_run


@pytest.mark.long
def test_existing_model_predicts_without_a_training(finished_run: Path) -> None:
    weights = "out/tiny/checkpoints/final.ckpt"
    asked = f"name=again prediction.checkpoint={weights}"
    again = snakemake(finished_run, *OPTIONS, f"overrides={asked}")
    assert {"preflight", "predict", "evaluate", "report"} <= set(again.jobs)
    assert "train" not in again.jobs
    assert "may have seen" not in again.text  # it says that it was trained with these splits
    first, second = (
        anndata.read_h5ad(finished_run / "out" / name / "predictions.h5ad")
        for name in ("tiny", "again")
    )
    assert not (first.X != second.X).nnz
    assert second.uns["stateline"]["checkpoint"] == weights
    report = (finished_run / "out/again/report.html").read_text()
    assert "Nothing was trained: the model was there already" in report
    assert not (finished_run / "out/again/checkpoints").exists()

    assert snakemake(finished_run, *OPTIONS, f"overrides={asked}").jobs == []

    # Together with itself it says the same; with a model that isn't there, nothing.
    both = f"{asked} prediction.ensemble=[{weights}]"
    together = snakemake(finished_run, "out/again/predictions.h5ad", *OPTIONS, f"overrides={both}")
    assert {"preflight", "predict"} <= set(together.jobs)
    cells = anndata.read_h5ad(finished_run / "out/again/predictions.h5ad")
    np.testing.assert_allclose(cells.X.toarray(), second.X.toarray(), rtol=1e-6)
    assert cells.uns["stateline"]["ensemble"] == weights
    lacking = f"overrides={asked} prediction.ensemble=[{weights},gone.ckpt]"
    refused = snakemake(finished_run, "check", *OPTIONS, lacking, expect=1)
    assert "prediction.ensemble: gone.ckpt: gone.ckpt: no such checkpoint" in refused.text

    # Other splits: it may have seen what is tested now.
    toml = (finished_run / "starter.toml").read_text()
    (finished_run / "other.toml").write_text(toml.replace('"g4"]', '"g5"]'))
    other = f"{asked} name=other data.kwargs.toml_config_path=other.toml"
    checked = snakemake(finished_run, "check", *OPTIONS, f"overrides={other}")
    assert "may have seen the cells that are tested here" in checked.text


def test_state_after_some_steps_predicts(finished_run: Path) -> None:
    target = "out/tiny/predictions.h5ad"
    last = anndata.read_h5ad(finished_run / target).X
    asked = "prediction.checkpoint=2"
    done = snakemake(finished_run, target, *OPTIONS, f"overrides={asked}")
    assert "predict" in done.jobs
    assert "train" not in done.jobs
    earlier = anndata.read_h5ad(finished_run / target)
    assert earlier.uns["stateline"]["checkpoint"] == "2"
    assert (last != earlier.X).nnz
    # As its path does.
    (kept,) = (finished_run / "out/tiny/checkpoints").glob("*/step=000000002.ckpt")
    taken = kept.relative_to(finished_run)
    asked = f"prediction.checkpoint='{taken}' name=again"  # for Snakemake takes the last quote off
    snakemake(finished_run, "out/again/predictions.h5ad", *OPTIONS, f"overrides={asked}")
    again = anndata.read_h5ad(finished_run / "out/again/predictions.h5ad")
    assert not (again.X != earlier.X).nnz

    kept.unlink()
    lost = "overrides=prediction.checkpoint=2 prediction.draws=2"
    gone = snakemake(finished_run, target, *OPTIONS, lost, expect=1)
    assert "has no checkpoint of step 2; there are those of 4." in gone.text


def test_model_that_is_not_there_or_misspelt_is_said_before_anything_runs(tmp_path: Path) -> None:
    write_tiny_run(tmp_path)
    missing = snakemake(
        tmp_path, *OPTIONS, "overrides=prediction.checkpoint=models/st.ckpt", expect=1
    )
    assert "prediction.checkpoint: models/st.ckpt: models/st.ckpt: no such checkpoint" in (
        missing.text
    )
    assert "before prediction starts" in missing.text
    assert not {"train", "predict"} & set(missing.jobs)
    typo = snakemake(tmp_path, *OPTIONS, "overrides=prediction.checkpoint=bset", expect=1)
    assert (
        "is 'bset'; it must be final or best, a number of steps, or the path of a model"
        in typo.text
    )
    assert typo.jobs == []
