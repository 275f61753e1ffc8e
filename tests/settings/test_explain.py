"""The tables that explain a config: changes of a run, differences of options, one key."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from workflow_scripts.config import main
from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.changes import changed_stage
from workflow_scripts.settings.runs import resolve_run
from workflow_scripts.settings.schema import KEYS
from workflow_scripts.settings.stages import STAGES

CONFIG = Path(__file__).parents[2] / "config"


def explain(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main(arguments)
    return capsys.readouterr().out


def records(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(explain(capsys, *arguments, "--format", "json"))
    return found


def test_trace_is_the_seeds_table_of_changed_parameters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = {row["parameter"]: row for row in records(capsys, "trace", "first_run")}
    # parameter, file that defines it, original value, final value, overridden: the seed's rows
    expected = [
        ("data.kwargs.num_workers", "perturbation.yaml", "12", "4", "yes"),
        ("data.kwargs.batch_col", "perturbation.yaml", "gem_group", "batch_var", "yes"),
        ("data.kwargs.pert_col", "perturbation.yaml", "gene", "target_gene", "yes"),
        ("data.kwargs.control_pert", "perturbation.yaml", "DMSO_TF", "non-targeting", "yes"),
        ("model", "config.yaml", "pertsets", "state_sm", "yes"),
        ("model.kwargs.hidden_dim", "state_sm.yaml", "328", "672", ""),
        ("model.kwargs.transformer_backbone_key", "state_sm.yaml", "GPT2", "llama", ""),
        ("training.max_steps", "default.yaml", "40000", "40000", "confirmed"),
        ("training.ckpt_every_n_steps", "default.yaml", "2000", "2000", "confirmed"),
        ("wandb.tags", "default.yaml", "[]", "[first_run]", "yes"),
        ("name", "config.yaml", "debug", "first_run", "yes"),
        ("output_dir", "config.yaml", "./debugging", "competition", "yes"),
    ]
    for parameter, file, original, final, overridden in expected:
        row = rows[parameter]
        assert (row["original"], row["final"], row["overridden"]) == (original, final, overridden)
        assert Path(row["source"].rpartition(":")[0]).name == file
    assert "training.lr" not in rows
    assert "training" not in rows


def test_trace_of_everything_has_the_rest_too(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["parameter"]: row for row in records(capsys, "trace", "first_run", "--all")}
    assert rows["model.kwargs.predict_residual"]["final"] == "true"
    assert rows["training"]["final"] == "default"


def test_frozen_config_comes_from_no_option_that_it_was_not_made_with(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`state_sm` has the keys of `state`, with other values."""
    frozen = tmp_path / "frozen.yaml"
    frozen.write_text(explain(capsys, "show", "first_run", "model=state_sm"))
    rows = records(capsys, "trace", str(frozen), "--all")
    assert not [row for row in rows if "config/" in " ".join(row.values())]
    assert "model" not in [row["parameter"] for row in rows]


def test_overrides_and_options_stand_in_any_order(capsys: pytest.CaptureFixture[str]) -> None:
    one = explain(capsys, "trace", "first_run", "--format", "tsv", "training.lr=1")
    other = explain(capsys, "trace", "--format", "tsv", "first_run", "training.lr=1")
    assert one == other
    (row,) = [
        row
        for row in csv.DictReader(io.StringIO(one), delimiter="\t")
        if "lr" in row["parameter"][-2:]
    ]
    assert row["set_by"] == "override 'training.lr=1'"


def test_deleted_key_is_said_to_be_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    rows = records(capsys, "trace", "first_run", "~model.kwargs.softplus")
    (row,) = [row for row in rows if row["parameter"] == "model.kwargs.softplus"]
    assert (row["original"], row["final"]) == ("true", "(deleted)")


def test_diff_is_the_seeds_table_of_differences(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {r["parameter"]: r for r in records(capsys, "diff", "model", "pertsets", "state_sm")}
    seeds = {"cell_set_len": ("512", "128"), "hidden_dim": ("328", "672")}
    for name, values in {**seeds, "transformer_backbone_key": ("GPT2", "llama")}.items():
        row = rows[f"model.kwargs.{name}"]
        assert (row["pertsets"], row["state_sm"]) == values
        assert row["meaning"]
    nested = "model.kwargs.transformer_backbone_kwargs."
    assert rows[nested + "n_layer"]["state_sm"] == "(absent)"
    assert rows[nested + "num_hidden_layers"]["pertsets"] == "(absent)"
    assert "model.kwargs.predict_residual" not in rows
    everything = records(capsys, "diff", "model", "pertsets", "state_sm", "--all")
    assert "model.kwargs.predict_residual" in {row["parameter"] for row in everything}


def test_runs_can_be_compared(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["parameter"]: row for row in records(capsys, "diff", "runs", "demo", "first_run")}
    assert (rows["training.lr"]["demo"], rows["training.lr"]["first_run"]) == ("0.001", "0.0001")
    assert rows["cells.datasets.simulated"]["first_run"] == "(absent)"


def test_key_says_all_there_is_to_know(capsys: pytest.CaptureFixture[str]) -> None:
    rows = records(capsys, "key", "training.lr", "--run", "demo", "training.lr=3e-4")
    facts = {row["what"]: row["is"] for row in rows}
    assert facts["Value"] == "0.0003"
    chain = facts["Sources"].splitlines()
    assert [line.split("  ")[0] for line in chain] == ["0.0001", "0.001", "0.0003"]
    assert chain[2].endswith("(override 'training.lr=3e-4')")
    assert facts["Type"] == "float"
    assert (
        facts["A change re-runs"]
        == "train, predict, predict_negative_controls, anchors, evaluate, report (afresh)"
    )


@pytest.mark.parametrize(
    ("key", "word", "expected"),
    [
        ("training.max_steps", "A change re-runs", "continues from its last step"),
        ("wandb.tags", "A change re-runs", "nothing"),
        ("wandb.tags", "Type", "list of str"),
        ("model.kwargs.softplus", "Status", "inert"),
        ("model.kwargs.loss", "Range", "energy, mse, sinkhorn, se"),
        ("model", "Options", "pertsets, state, state_lg, state_sm, state_tahoe"),
        ("training", "Keys", "training.max_steps"),
        ("cells.datasets.simulated", "Value", "[simulated/demo/sim_alpha.h5ad,"),
        ("model.kwargs.transformer_backbone_kwargs.hidden_size", "Sources", "= ${model.kwargs"),
    ],
)
def test_facts_of_a_key(
    key: str, word: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = records(capsys, "key", key, "--run", "demo", "model=state_sm")
    assert expected in {row["what"]: row["is"] for row in rows}[word]


def test_every_key_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    for key in KEYS.values():
        facts = {row["what"]: row["is"] for row in records(capsys, "key", key.path)}
        assert facts["Meaning"].startswith(key.meaning), key.path
        if key.kind in ("identity", "extent"):
            rules = facts["A change re-runs"].partition(" (")[0].split(", ")
            assert {*key.stages} & {STAGES[rule].slice for rule in rules}, key.path


def test_the_list_of_targets_is_made_anew_where_the_run_has_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for overrides, there in ((), False), (("prediction.targets=targets.tsv",), True):
        rows = records(capsys, "key", "data.kwargs.pert_col", *overrides)
        stages = {row["what"]: row["is"] for row in rows}["A change re-runs"].split(", ")
        assert ("list_targets" in stages) == there


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("key", "training.lrr"), "did you mean training.lr?"),
        (("key", "lr"), "`lr`; did you mean training.lr?"),
        (("key", "nonsense"), "config/README.md lists the keys there are"),
        (("key", "model.kwargs"), "it is a section, of model.kwargs.cell_set_len,"),
        (("diff", "modle", "a", "b"), "did you mean `model`?"),
        (("diff", "model", "state_sm", "pertset"), "did you mean `pertsets`?"),
        (("diff", "runs", "demo", "nope"), "first_run"),
        (("trace", "nope"), "neither a name under"),
        (("trace", "demo", "training.lrr=1"), "did you mean `lr`?"),
    ],
)
def test_what_is_not_there_is_said(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        main(arguments)
    assert message in str(caught.value)


def test_chinese_has_the_seeds_headings(capsys: pytest.CaptureFixture[str]) -> None:
    text = explain(capsys, "trace", "first_run", "--lang", "zh", "--format", "markdown")
    assert [cell.strip() for cell in text.splitlines()[0].strip("|").split("|")][:5] == [
        *("参数路径", "来源文件", "原始值", "最终值", "命令行覆盖")
    ]
    assert "✅(确认)" in text
    text = explain(capsys, "diff", "model", "pertsets", "state_sm", "--lang", "zh")
    assert text.split()[:4] == ["参数", "pertsets.yaml", "state_sm.yaml", "影响"]


def test_chinese_has_every_word_and_key(capsys: pytest.CaptureFixture[str]) -> None:
    chinese = yaml.safe_load((CONFIG.parent / "workflow_scripts/settings/zh.yaml").read_text())
    assert chinese["keys"].keys() == KEYS.keys()
    shown = explain(capsys, "key", "training.lr", "--run", "demo", "--lang", "zh")
    assert chinese["keys"]["training.lr"] in shown
    assert not set(re.findall("[A-Z][a-z ]+", shown)) & chinese["words"].keys()


def test_markdown_keeps_bars_and_lines_inside_their_cells(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = explain(capsys, "key", "name", "--run", "demo", "name='a|b'", "--format", "markdown")
    lines = text.splitlines()
    assert {line.replace("\\|", "").count("|") for line in lines} == {3}


def test_command_without_a_question_prints_its_usage() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "workflow_scripts.config"],
        capture_output=True,
        text=True,
        cwd=CONFIG.parent,
    )
    assert done.returncode == 2
    assert "{show,trace,diff,key,freeze}" in done.stderr


def test_key_that_the_run_lacks_is_explained_nevertheless(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = "model.kwargs.transformer_backbone_kwargs.n_layer"
    text = explain(capsys, "key", path, "--run", "demo")
    assert "(absent)" in text
    assert "Layers of a GPT2 backbone" in text


def test_key_that_takes_a_mapping_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    text = explain(capsys, "key", "cells.datasets", "--run", "demo")
    assert "cells.datasets.simulated: [simulated/demo/sim_alpha.h5ad" in text
    assert "config/runs/demo.yaml:" in text


def test_changes_of_a_stage_are_its_values_and_what_stands_beside_them(tmp_path: Path) -> None:
    run = resolve_run(CONFIG, "demo", [])
    path = tmp_path / "evaluate.json"
    path.write_text(run.stage_json("evaluate"))
    assert list(changed_stage(run, "evaluate", path)) == []
    written = json.loads(path.read_text())
    written["numerics"] -= 1
    written["identity"]["evaluation.resamples"] = 7
    path.write_text(json.dumps(written))
    found = {change.key: change.text for change in changed_stage(run, "evaluate", path)}
    assert found.keys() == {"numerics", "evaluation.resamples"}
    assert "7 → " in found["evaluation.resamples"]
    path.write_text("{")
    (change,) = changed_stage(run, "evaluate", path)
    assert "not written down" in change.text
