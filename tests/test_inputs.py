"""What the jobs of a run read, and which runs a remote job resolves."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.snakemake_runs import snakemake
from tests.tiny_run import write_tiny_run
from workflow_scripts.config import main as config
from workflow_scripts.inputs import RunInputs, compared, comparison, runs_of_target_jobs
from workflow_scripts.settings.overrides import split_overrides
from workflow_scripts.settings.runs import resolve_run
from workflow_scripts.settings.stages import STAGES, stages_of

CONFIG = Path(__file__).parents[1] / "config"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_tiny_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def inputs(*overrides: str) -> RunInputs:
    return RunInputs.of(resolve_run(CONFIG, "run.yaml", overrides))


def features_of(run: RunInputs, rule: str) -> str | list[str]:
    return run.inputs_of(rule, ["features"])["features"]


def test_inputs_of_a_plain_run(folder: Path) -> None:
    run = inputs()
    assert run.named("data.kwargs.toml_config_path") == ["starter.toml"]
    assert run.weights == [f"{run.folder}/checkpoints/final.ckpt"]
    for rule in ("predict", "evaluate"):
        assert features_of(run, rule) == [f"{run.folder}/features.safetensors"]
    for key in ("genes.file", "model.kwargs.init_from", "prediction.ensemble"):
        assert run.named(key) == [], key
    for stage in ("select_genes", "write_submission", "list_targets"):
        assert run.made(stage) == [], stage
    assert run.cells == run.asked_cells


@pytest.mark.parametrize(
    ("name", "overrides", "expected"),
    [
        ("select_genes", ["genes.select=hvg"], ["{run}/genes.json"]),
        ("weights", ["prediction.checkpoint=best"], ["{run}/checkpoints/best.ckpt"]),
        ("weights", ["prediction.checkpoint=mine.ckpt"], ["mine.ckpt"]),
        ("prediction.ensemble", ["prediction.ensemble=[mine.ckpt,./other]"], ["mine.ckpt"]),
        ("model.kwargs.init_from", ["+model.kwargs.init_from=mine.ckpt"], ["mine.ckpt"]),
        ("weights", ["prediction.checkpoint=2"], ["{run}/checkpoints/final.ckpt"]),
        ("predict_negative_controls", ["prediction.negative_controls=[same_cells]"], []),
        (
            "predict_negative_controls",
            ["prediction.negative_controls=[random_features]"],
            ["{run}/negative_controls"],
        ),
        ("write_submission", ["prediction.submission=vcc2025"], ["{run}/submission.vcc"]),
        (
            "embed_proteins",
            [
                "features.missing=embed",
                *("features.embedding.model=m", "features.embedding.fasta=f"),
            ],
            ["{run}/embedded.safetensors"],
        ),
        ("evaluate", ["~evaluation"], []),
    ],
)
def test_inputs_follow_the_config(
    folder: Path, name: str, overrides: list[str], expected: list[str]
) -> None:
    Path("mine.ckpt").write_bytes(b"")
    run = inputs(*overrides)
    if name in STAGES:
        found = run.made(name)
    else:
        found = run.named(name) if "." in name else getattr(run, name)
    assert found == [text.format(run=run.folder) for text in expected]


def test_inputs_of_what_is_predicted_in_place_of_the_test_split(folder: Path) -> None:
    Path("targets.tsv").write_text("perturbation\nGENE1\n")
    run = inputs("prediction.targets=targets.tsv", "prediction.adata=screen.h5ad")
    assert run.named("prediction.targets") == ["targets.tsv"]
    assert features_of(run, "predict") == [f"{run.folder}/target_features.safetensors"]
    fitted = inputs("prediction.targets=targets.tsv", "prediction.amplitude=validation")
    assert len(features_of(fitted, "predict")) == 2
    assert run.cells != run.asked_cells
    read = ["asked_batches", "asked_cells_audit"]
    found = run.inputs_of("preflight", read)
    assert found["asked_batches"] == [f"{run.asked_cells}/batches.parquet"]
    assert found["asked_cells_audit"] == [f"{run.asked_cells}/cells_audit.json"]
    own = inputs().inputs_of("preflight", read)
    assert own["asked_batches"] == own["asked_cells_audit"] == []


def test_baselines_read_features_if_one_of_them_needs_them(folder: Path) -> None:
    run = inputs("prediction.baselines=[ridge]")
    assert features_of(run, "predict_baselines") == [f"{run.folder}/features.safetensors"]
    assert features_of(inputs("prediction.baselines=[control]"), "predict_baselines") == []


def test_runs_are_compared_if_there_are_several(folder: Path) -> None:
    one, other = inputs("name=a"), inputs("name=b")
    assert compared({one.folder: one}) == comparison({one.folder: one}) == []
    both = {one.folder: one, other.folder: other}
    assert compared(both) == [*both]
    assert [Path(path).name for path in comparison(both)] == ["compare.html", "compare.tsv"]


def test_datasets_of_the_split_file_that_are_ignored_are_reported(folder: Path) -> None:
    Path("other.h5ad").write_bytes(b"")
    (warning,) = inputs("cells.datasets={screen: other.h5ad}").all_warnings
    assert warning == (
        "run.yaml: cells.datasets names the files, and the [datasets] of starter.toml are ignored; "
        "set cells.datasets=null to use those"
    )
    assert inputs("cells.datasets={screen: ./screen.h5ad}").all_warnings == ()
    assert inputs().all_warnings == ()


def frozen(*overrides: str) -> RunInputs:
    """Freeze a run, as the rule does before its other jobs start."""
    run = inputs(*overrides)
    Path(run.folder).mkdir(parents=True)
    files: list[str] = []
    for option, name in (
        ("--out", "config.yaml"),
        ("--trace", "config.trace.tsv"),
        ("--provenance", "provenance.json"),
    ):
        files += [option, f"{run.folder}/{name}"]
    config(["freeze", *files, *shlex.split(run.freeze_arguments())])
    return run


def target(*jobs: str) -> list[str]:
    return ["snakemake", "--target-jobs", *jobs, "--allowed-rules", "train"]


def test_a_remote_job_resolves_its_own_run_alone(folder: Path) -> None:
    first, second = frozen("name=a", "training.lr=1"), frozen("name=b")
    jobs = [f"train:run={run.folder}" for run in (first, second)]
    found = runs_of_target_jobs(target(jobs[0]), CONFIG)
    assert found is not None
    assert [*found] == [first.folder]
    assert found[first.folder].stage_json("train") == first.stage_json("train")
    both = runs_of_target_jobs(target(*jobs), CONFIG) or {}
    assert [*both] == [first.folder, second.folder]


@pytest.mark.parametrize(
    "change",
    [
        lambda run: target("pack_cells:cells=0123456789abcdef"),
        lambda run: target("compare:"),
        lambda run: ["snakemake", "--cores", "1"],
        lambda run: target("train:run=out/unknown"),
        lambda run: Path("run.yaml").write_text("name: changed\n") and target(job(run)),
        lambda run: Path(run.folder, "provenance.json").write_text("{") and target(job(run)),
    ],
)
def test_all_runs_are_resolved_where_one_does_not_do(folder: Path, change: Any) -> None:
    run = frozen("name=a")
    assert runs_of_target_jobs(change(run), CONFIG) is None


def job(run: RunInputs) -> str:
    return f"train:run={run.folder}"


LINKS = {"freeze_cells", "freeze_config", "freeze_stage"}


@pytest.mark.parametrize(
    "overrides",
    [
        "prediction.checkpoint=2 features.missing=embed features.embedding.fasta=p.fasta "
        "features.embedding.model=esm",
        "genes.select=hvg genes.n_top=5 prediction.submission=vcc2025",
        "prediction.negative_controls=[]",
        "splits.test=none",
        "prediction.targets=targets.csv",
        "prediction.adata=screen.h5ad prediction.checkpoint=other.ckpt",
        "~evaluation",
    ],
)
def test_stages_of_a_run_are_what_snakemake_plans(folder: Path, overrides: str) -> None:
    Path("targets.csv").write_text("perturbation,context\ng1,rpe1\n")
    planned = snakemake(
        folder, "--dry-run", "--config", "runs=run.yaml", f"overrides={overrides}"
    ).planned
    run = resolve_run(CONFIG, "run.yaml", split_overrides(overrides))
    assert planned - LINKS == set(stages_of(run.config))
