"""Several runs at once through Snakemake: a sweep, what it shares, and the page that compares."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from tests.snakemake_runs import snakemake
from tests.tiny_run import write_tiny_run

pytestmark = pytest.mark.long

QUICK = "evaluation.profile=pds prediction.negative_controls=[] prediction.baselines=[control]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    write_tiny_run(folder)
    return folder


def run(folder: Path, overrides: str, *options: str, expect: int = 0):
    text = f"overrides={QUICK} {overrides}"
    return snakemake(
        folder, *options, "--config", "runs=run.yaml", "cache_dir=cache", text, expect=expect
    )


def test_sweep_is_one_plan_with_shared_cells_and_one_page(folder: Path) -> None:
    done = run(folder, "training.lr=1e-3,3e-3 training.train_seed=1,2")
    assert len(re.findall(r"Finished jobid: \d+ \(Rule: train\)", done.text)) == 4
    assert len(re.findall(r"Finished jobid: \d+ \(Rule: pack_cells\)", done.text)) == 1
    assert "4 runs compared" in done.text
    table = pd.read_csv(folder / "out" / "compare.tsv", sep="\t")
    main = table[table["metric"] == "pds_cosine"].set_index("group")
    assert main["n_runs"].to_dict() == {"lr=0.001": 2, "lr=0.003": 2}
    scores = {
        name: pd.read_csv(folder / "out" / name / "metrics.tsv", sep="\t")
        .query("model == 'model' and metric == 'pds_cosine' and context == '(all)'")["raw"]
        .item()
        for name in main.loc["lr=0.001", "runs"].split(",")
    }
    assert main.loc["lr=0.001", "mean"] == pytest.approx(sum(scores.values()) / 2)
    page = (folder / "out" / "compare.html").read_text()
    for name in ("tiny_lr-0.001_train_seed-1", "tiny_lr-0.003_train_seed-2"):
        assert f'<a href="{name}/report.html">{name}</a>' in page
        assert (folder / "out" / name / "report.html").exists()
    assert "<code>training.lr</code>" in page
    # The ends of the scale are computed once: all runs are tested on the same cells.
    logs = [path.read_text() for path in (folder / "out").glob("*/logs/anchors.log")]
    assert sum("finished before" in text for text in logs) == 3
    # Each model is scored by its own run, and a baseline by the first run that needs its score.
    logs = [path.read_text() for path in (folder / "out").glob("*/logs/evaluate.log")]
    assert [sum(f"{name} in rpe1: " in text for text in logs) for name in ("model", "control")] == [
        *(4, 1)
    ]


def test_one_run_more_runs_alone_and_the_page_holds_it(folder: Path) -> None:
    done = run(folder, "training.lr=1e-3,3e-3 training.train_seed=1,2,3")
    assert len(re.findall(r"Finished jobid: \d+ \(Rule: train\)", done.text)) == 2
    assert "compare" in done.jobs
    table = pd.read_csv(folder / "out" / "compare.tsv", sep="\t")
    assert set(table["n_runs"]) == {3}
    again = run(folder, "training.lr=1e-3,3e-3 training.train_seed=1,2,3")
    assert again.jobs == []


def test_what_counts_as_a_replicate_can_be_said(folder: Path) -> None:
    options = ("--config", "runs=run.yaml", "cache_dir=cache")
    sweep = f"overrides={QUICK} training.lr=1e-3,3e-3 training.train_seed=1,2"
    done = snakemake(folder, *options, sweep, "compare={replicates: []}")
    assert done.jobs == ["compare"]
    table = pd.read_csv(folder / "out" / "compare.tsv", sep="\t")
    assert set(table["n_runs"]) == {1}
    assert table["group"].nunique() == 4


def test_each_context_left_out_is_a_fold_of_one_cross_validation(folder: Path) -> None:
    folds = "name=cv splits.leave_out=each_context splits.validation=from_train output_dir=cv"
    planned = run(folder, folds, "--dry-run")
    assert re.search(r"^train +2$", planned.text, re.MULTILINE)
    assert re.search(r"^compare +1$", planned.text, re.MULTILINE)
    assert "pack_cells" not in planned.planned
    audits = [f"cv/cv_leave_out-{context}/splits.toml" for context in ("k562", "rpe1")]
    run(folder, folds, *audits)
    for name, context in zip(audits, ("k562", "rpe1"), strict=True):
        assert f'"screen.{context}" = "test"' in (folder / name).read_text()


def test_one_bad_run_does_not_stop_the_others(folder: Path) -> None:
    # The second one is no training: its steps give values that are not finite.
    done = run(folder, "name=bad training.lr=1e-3,1e30", "--keep-going", expect=1)
    assert (folder / "out" / "bad_lr-0.001" / "report.html").exists()
    assert not (folder / "out" / "bad_lr-1e+30" / "checkpoints" / "final.ckpt").exists()
    assert "out/bad_lr-1e+30: not finished" in done.text
    assert "out/bad_lr-0.001: " in done.text


def test_a_config_error_of_one_run_stops_all_before_any_job(folder: Path) -> None:
    done = run(folder, "name=worse training.lr=1e-3,-1", expect=1)
    assert "training.lr: is -1; it takes a number above 0" in done.text
    assert done.jobs == []
    assert not (folder / "out" / "worse_lr-0.001").exists()
