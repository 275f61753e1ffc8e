"""What a person types, and what they read when it is wrong; no data is needed for any of it."""

from __future__ import annotations

import csv
import io
import subprocess
import sys

import pytest
import yaml

from tests.snakemake_runs import ROOT, snakemake


def test_first_run_freezes_without_any_data(tmp_path):
    target = "competition/first_run/config.yaml"
    snakemake(tmp_path, "--config", "runs=first_run", "--", target)
    frozen = yaml.safe_load((tmp_path / target).read_text())
    assert frozen["name"] == "first_run"
    assert frozen["model"]["kwargs"]["transformer_backbone_key"] == "llama"
    assert frozen["training"]["max_steps"] == 40_000


def test_overrides_go_on_top_in_one_string(tmp_path):
    snakemake(
        tmp_path,
        *("--config", "runs=first_run"),
        "overrides=model=pertsets training.max_steps=50 training.val_freq=50 name=short",
        *("--", "competition/short/config.yaml"),
    )
    frozen = yaml.safe_load((tmp_path / "competition/short/config.yaml").read_text())
    assert frozen["model"]["kwargs"]["transformer_backbone_key"] == "GPT2"
    assert frozen["training"]["max_steps"] == 50


def test_frozen_config_is_a_run_file_and_freezes_to_itself(tmp_path):
    first = "competition/first_run/config.yaml"
    snakemake(tmp_path, "--config", "runs=first_run", "--", first)
    text = (tmp_path / first).read_text()
    again = tmp_path / "again.yaml"
    again.write_text(text)
    (tmp_path / first).unlink()
    snakemake(tmp_path, "--config", f"runs={again}", "--", first)
    assert (tmp_path / first).read_text() == text


def test_trace_lies_beside_the_frozen_config_and_is_never_stale(tmp_path):
    def freeze(*overrides: str):
        config = [f"runs={tmp_path / 'mine.yaml'}", f"overrides={' '.join(overrides)}"]
        done = snakemake(tmp_path, "--config", *config, "--", "out/mine/config.trace.tsv")
        text = (tmp_path / "out/mine/config.trace.tsv").read_text()
        lines = csv.DictReader(io.StringIO(text), delimiter="\t")
        return done.jobs, {row["parameter"]: row for row in lines}

    (tmp_path / "mine.yaml").write_text("output_dir: out\ntraining: {max_steps: 40000}\n")
    jobs, rows = freeze()
    assert jobs == ["freeze_config"]
    default = (ROOT / "config" / "config.yaml").read_text("utf-8").splitlines()
    line = default.index("  - model: pertsets") + 1
    assert rows["model"]["source"] == f"config/config.yaml:{line}"
    steps = rows["training.max_steps"]
    assert (steps["source"], steps["overridden"]) == (f"{tmp_path}/mine.yaml:2", "confirmed")
    assert freeze()[0] == []
    # The same config from other lines: values are as they were, their sources are not.
    (tmp_path / "mine.yaml").write_text("# mine\noutput_dir: out\ntraining: {max_steps: 40000}\n")
    jobs, rows = freeze()
    assert jobs == ["freeze_config"]
    assert rows["training.max_steps"]["source"] == f"{tmp_path}/mine.yaml:3"
    jobs, rows = freeze("training.max_steps=40000")
    assert jobs == ["freeze_config"]
    assert rows["training.max_steps"]["source"] == "override 'training.max_steps=40000'"


def test_error_leaves_what_was_frozen_before(tmp_path):
    target = "competition/first_run/config.yaml"
    snakemake(tmp_path, "--config", "runs=first_run", "--", target)
    folder = (tmp_path / target).parent
    files = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert {path.name for path in files} == {"config.yaml", "config.trace.tsv", "provenance.json"}
    for overrides in ("training.lrr=1", "training.lr=-1", "model=nope", "name=${nope}"):
        snakemake(
            tmp_path, "--config", "runs=first_run", f"overrides={overrides}", "--", target, expect=1
        )
    command = [
        *(sys.executable, "-m", "workflow_scripts.config", "freeze", "first_run"),
        *("--out", str(folder / "config.yaml"), "--trace", str(folder / "config.trace.tsv")),
        *("--provenance", str(folder / "provenance.json")),
    ]
    for arguments in (["training.lrr=1"], ["--digest", "0" * 64]):
        assert subprocess.run([*command, *arguments], cwd=ROOT).returncode == 2
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == files


def test_key_that_nothing_reads_warns_by_name_when_it_is_set(tmp_path):
    target = ("--", "competition/first_run/config.yaml")
    change = "overrides=data.kwargs.n_basal_samples=4"
    outcome = snakemake(tmp_path, "--config", "runs=first_run", change, *target)
    assert "data.kwargs.n_basal_samples is set to 4 (default 1)" in outcome.text
    assert "nothing reads it" in outcome.text
    assert "warning:" not in snakemake(tmp_path, "--config", "runs=first_run", *target).text


def test_freezing_imports_nothing_heavy(tmp_path):
    program = (
        "import sys; from workflow_scripts.config import main; main(sys.argv[1:]); "
        "print(sorted({'numpy', 'torch', 'pandas', 'pyarrow'} & sys.modules.keys()))"
    )
    files = ["--out", str(tmp_path / "config.yaml"), "--trace", str(tmp_path / "trace.tsv")]
    files += ["--provenance", str(tmp_path / "provenance.json")]
    command = [sys.executable, "-c", program, "freeze", "first_run", *files]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"


def test_name_is_the_stem_of_the_run_file(tmp_path):
    (tmp_path / "my_screen.yaml").write_text("output_dir: out\n")
    run = f"runs={tmp_path / 'my_screen.yaml'}"
    snakemake(tmp_path, "--config", run, "--", "out/my_screen/config.yaml")
    assert yaml.safe_load((tmp_path / "out/my_screen/config.yaml").read_text())["name"] == (
        "my_screen"
    )


def test_workflow_yaml_says_what_a_bare_snakemake_makes():
    content = yaml.safe_load((ROOT / "config" / "workflow.yaml").read_text())
    assert content["runs"] == ["demo"]
    assert content["cache_dir"]


@pytest.mark.parametrize(
    ("config", "messages"),
    [
        (["runs=frist_run"], ["'frist_run' is neither a name under", "first_run"]),
        (["runs=demo", "overrides=model=state_xl"], ["state_xl", "pertsets", "state_sm"]),
        (["runs=demo", "overrides=modle=state_sm"], ["modle", "model"]),
        (["runs=demo", "overrides=training.lrr=1"], ["training.lrr", "lr"]),
        (["runs=demo", "overrides=training.lr=fast"], ["training.lr: is 'fast'", "number above 0"]),
        (["runs=demo,demo"], ["both write to results/demo"]),
        (["runs=demo", "overrides=+training.typo=1"], ["training.typo: no such key"]),
        (["run=first_run"], ["--config run=…: no such key; there are runs, overrides"]),
        (["runs=demo", "overrides=~data.kwargs.pert_col"], ["data.kwargs.pert_col: missing"]),
        (
            ["runs=demo", "overrides=training.train_seed=-1"],
            ["a whole number of at least 0"],
        ),
        (["runs=demo", "overrides=training.devices=3"], ["which 3 devices can't share"]),
        (["runs=demo", """overrides=["name=''"]"""], ["name: is '', which is empty"]),
        (["runs=demo", "overrides=cells.datasets.simulated=5"], ["cells.datasets.simulated: is 5"]),
        (
            [
                "runs=demo",
                # Snakemake takes a closing quote off a bare text: a JSON list keeps it.
                """overrides=["model.kwargs.transformer_backbone_kwargs.num_hidden_layers='2'"]""",
            ],
            ["num_hidden_layers: is '2'"],
        ),
        (
            ["runs=demo", "overrides=training.batch_size=0 training.val_freq=9999"],
            ["2 problem(s)", "training.batch_size: is 0; it takes a whole number"],
        ),
    ],
)
def test_config_error_stops_everything_with_one_clear_message(tmp_path, config, messages):
    outcome = snakemake(tmp_path, "--config", *config, expect=1)
    for message in messages:
        assert message in outcome.text
    assert "Traceback" not in outcome.text
    assert not [path for path in tmp_path.iterdir() if path.name != ".snakemake"]


def test_show_prints_yaml_and_exits_2_on_an_error():
    command = [
        *(sys.executable, "-m", "workflow_scripts.config", "show", "first_run"),
    ]
    good = subprocess.run([*command, "training.lr=3e-4"], capture_output=True, text=True, cwd=ROOT)
    assert good.returncode == 0
    assert yaml.safe_load(good.stdout)["training"]["lr"] == 3e-4
    bad = subprocess.run([*command, "training.rl=3e-4"], capture_output=True, text=True, cwd=ROOT)
    assert bad.returncode == 2
    assert bad.stdout == ""
    assert bad.stderr.startswith("error: ")
    assert "training.rl" in bad.stderr
