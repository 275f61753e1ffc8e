import json
import subprocess
import sys

import pandas as pd
import pytest

from tests import warm

SETTINGS = {
    "prediction.baselines": ["control"],
    "prediction.negative_controls": ["same_cells"],
    "evaluation.preset": "v2",
    "evaluation.profile": "minimal",
    "evaluation.extra_metrics": ["pds_cosine"],
    "evaluation.input_type": "lognorm",
    "evaluation.controls": "observed",
    "prediction.output": "log1p",
    "evaluation.de_backend": "pdex",
    "evaluation.resamples": 200,
    "evaluation.rival_known": "denoised",
    "evaluation.rival_unseen": "ridge",
    "splits.contexts_are": None,
}


@pytest.fixture
def run(tmp_path):
    (tmp_path / "evaluate.json").write_text(json.dumps({"identity": SETTINGS, "extent": {}}))
    out = tmp_path / "out"

    def run(*arguments: str, python: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [python or warm.python(), "-m", "workflow_scripts.evaluate"]
        command += ["--settings", str(tmp_path / "evaluate.json")]
        command += ["--metrics", str(out / "metrics.tsv"), "--scores", str(out / "scores.json")]
        command += ["--effects", str(out / "effects.parquet")]
        command += ["--per-perturbation", str(out / "metrics_per_perturbation.parquet")]
        command += ["--genes", str(out / "genes.parquet")]
        command += ["--results", str(out / "evaluation_results.json")]
        command += ["--work-dir", str(tmp_path / "finished"), *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    return run


@pytest.mark.long
def test_what_the_engine_compiles_is_kept(run, screen, write, tmp_path, monkeypatch):
    # numba reads the environment when it is imported: in a plain process, not when it forks.
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "compiled"))
    files = ["--observed", str(write("observed", screen))]
    files += ["--predictions", str(write("model", screen, screen.one_profile()))]
    assert run(*files, python=sys.executable).returncode == 0
    kept = {path.name for path in (tmp_path / "compiled").rglob("*.nbi")}
    assert any("mannwhitneyu" in name or "mwu" in name for name in kept), kept
    first = (tmp_path / "out" / "metrics.tsv").read_bytes()
    assert run(*files, python=sys.executable).returncode == 0
    assert {path.name for path in (tmp_path / "compiled").rglob("*.nbi")} == kept
    assert (tmp_path / "out" / "metrics.tsv").read_bytes() == first


def test_command_writes_its_files_once_and_one_line_a_pair(run, screen, write, tmp_path):
    arguments = [
        "--observed",
        str(write("observed", screen)),
        "--predictions",
        str(write("model", screen, screen.one_profile())),
        "--baselines",
        str(write("baselines/control", screen, screen.effects_removed()).parent),
    ]
    done = run(*arguments, python=sys.executable)  # tqdm reads the environment at its import
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 6
    assert "it/s" not in done.stderr

    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        ".digests",
        "effects.parquet",
        "evaluation_results.json",
        "genes.parquet",
        "metrics.tsv",
        "metrics_per_perturbation.parquet",
        "scores.json",
    ]
    metrics = pd.read_csv(out / "metrics.tsv", sep="\t", float_precision="round_trip")
    metrics = metrics[metrics["perturbation"] != "(all)"]
    assert metrics["scaled"].isna().all()  # no ends were given
    scores = json.loads((out / "scores.json").read_text())
    first = metrics.query("model == 'model' and context == 'left' and metric == 'expr_mse'")
    assert first["raw"].mean() == pytest.approx(
        scores["by_context"]["model"]["left"]["expr_mse"], rel=1e-12
    )
    effects = pd.read_parquet(out / "effects.parquet")
    assert set(effects["perturbation"]) == set(screen.obs["perturbation"]) - {"non-targeting"}

    # Asked again for the same, it hands out what it has, byte for byte.
    text = (out / "metrics.tsv").read_bytes()
    (out / "metrics.tsv").unlink()
    again = run(*arguments)
    assert again.stdout.startswith("finished before")
    assert (out / "metrics.tsv").read_bytes() == text


def test_claims_and_rivals_are_those_of_the_pairs_that_were_scored(run, screen, write, tmp_path):
    perturbations = sorted(set(screen.obs["perturbation"]) - {"non-targeting"})
    files = ["--observed", str(write("observed", screen)), "--splits", str(tmp_path / "splits")]
    files += ["--predictions", str(write("model", screen, screen.one_profile()))]

    def scored(trained: list[str], *contexts: str) -> dict:
        rows = [(context, name, "train") for context in contexts for name in trained]
        # What the split holds out is not what is scored.
        rows += [("left", "non-targeting", "control"), ("elsewhere", "G99", "test")]
        splits = pd.DataFrame(rows, columns=["context", "perturbation", "split"])
        splits.to_parquet(tmp_path / "splits")
        done = run(*files)
        assert done.returncode == 0, done.stderr
        return json.loads((tmp_path / "out" / "scores.json").read_text())

    known = scored(perturbations, "elsewhere")
    assert known["claims"]["kind"] == "unseen contexts"
    assert known["claims"]["sentence"] == (
        "Of 16 test pairs of a perturbation and a context: 8 whose context trains with its "
        "controls alone; 8 whose context was never trained on."
    )
    assert known["rivals"] == ["denoised"]
    unseen = scored(["G98"], "left", "right")
    assert unseen["claims"]["kind"] == "unseen perturbations"
    assert unseen["rivals"] == ["ridge"]
    assert scored(perturbations[:4], "elsewhere")["rivals"] == ["denoised", "ridge"]


def test_command_says_in_one_line_what_is_wrong_and_writes_nothing(run, screen, write, tmp_path):
    done = run(
        "--observed",
        str(write("observed", screen)),
        "--predictions",
        str(tmp_path / "nowhere.h5ad"),
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "nowhere.h5ad" in done.stderr
    assert not (tmp_path / "out" / "metrics.tsv").exists()
