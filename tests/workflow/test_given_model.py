"""A run that predicts with a model that is there already, through Snakemake: nothing trains."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pytest

from tests.snakemake_runs import snakemake
from tests.tiny_run import write_tiny_run

OPTIONS = ("--config", "runs=run.yaml", "cache_dir=cache")
QUICK = "evaluation.profile=pds prediction.unmasking=[] prediction.baselines=[control]"


@pytest.mark.long
def test_existing_model_predicts_without_a_training(tmp_path: Path) -> None:
    write_tiny_run(tmp_path)
    trained = snakemake(tmp_path, "out/tiny/predictions.h5ad", *OPTIONS)
    assert "train" in trained.jobs

    weights = "out/tiny/checkpoints/final.ckpt"
    asked = f"name=again prediction.checkpoint={weights} {QUICK}"
    again = snakemake(tmp_path, *OPTIONS, f"overrides={asked}")
    assert {"preflight", "predict", "evaluate", "report"} <= set(again.jobs)
    assert "train" not in again.jobs
    assert "may have seen" not in again.text  # it says that it was trained with these splits
    first, second = (
        anndata.read_h5ad(tmp_path / "out" / name / "predictions.h5ad")
        for name in ("tiny", "again")
    )
    np.testing.assert_array_equal(first.X, second.X)
    assert second.uns["stateline"]["checkpoint"] == weights
    report = (tmp_path / "out/again/report.html").read_text()
    assert "Nothing was trained: the model was there already" in report
    assert not (tmp_path / "out/again/checkpoints").exists()

    assert snakemake(tmp_path, *OPTIONS, f"overrides={asked}").jobs == []

    # Together with itself it says the same; with a model that isn't there, nothing.
    both = f"{asked} prediction.ensemble=[{weights}]"
    together = snakemake(tmp_path, "out/again/predictions.h5ad", *OPTIONS, f"overrides={both}")
    assert {"preflight", "predict"} <= set(together.jobs)
    cells = anndata.read_h5ad(tmp_path / "out/again/predictions.h5ad")
    np.testing.assert_allclose(cells.X, second.X, rtol=1e-6)
    assert cells.uns["stateline"]["ensemble"] == weights
    lacking = f"overrides={asked} prediction.ensemble=[{weights},gone.ckpt]"
    refused = snakemake(tmp_path, "check", *OPTIONS, lacking, expect=1)
    assert "prediction.ensemble: gone.ckpt: gone.ckpt: no such checkpoint" in refused.text

    # Other splits: it may have seen what is tested now.
    toml = (tmp_path / "starter.toml").read_text()
    (tmp_path / "other.toml").write_text(toml.replace('"g4"]', '"g5"]'))
    other = f"{asked} name=other data.kwargs.toml_config_path=other.toml"
    checked = snakemake(tmp_path, "check", *OPTIONS, f"overrides={other}")
    assert "may have seen the cells that are tested here" in checked.text


@pytest.mark.long
def test_state_after_some_steps_predicts(tmp_path: Path) -> None:
    write_tiny_run(tmp_path)
    target = "out/tiny/predictions.h5ad"
    snakemake(tmp_path, target, *OPTIONS, f"overrides={QUICK}")
    last = anndata.read_h5ad(tmp_path / target).X
    asked = f"{QUICK} prediction.checkpoint=2"
    done = snakemake(tmp_path, target, *OPTIONS, f"overrides={asked}")
    assert {"take_checkpoint", "predict"} <= set(done.jobs)
    assert "train" not in done.jobs
    earlier = anndata.read_h5ad(tmp_path / target)
    assert earlier.uns["stateline"]["checkpoint"] == "2"
    assert not np.array_equal(earlier.X, last)
    # As its path does.
    taken = "out/tiny/checkpoints/step-2.ckpt"
    asked = f"{QUICK} name=again prediction.checkpoint={taken}"
    snakemake(tmp_path, "out/again/predictions.h5ad", *OPTIONS, f"overrides={asked}")
    again = anndata.read_h5ad(tmp_path / "out/again/predictions.h5ad")
    np.testing.assert_array_equal(again.X, earlier.X)

    (kept,) = (tmp_path / "out/tiny/checkpoints").glob("*/step=000000002.ckpt")
    kept.unlink()
    (tmp_path / taken).unlink()
    lost = f"overrides={QUICK} prediction.checkpoint=2 prediction.draws=2"
    gone = snakemake(tmp_path, target, *OPTIONS, lost, expect=1)
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
