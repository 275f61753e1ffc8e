"""Sweeps of a run file and of overrides: which runs they give, and what those are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.grid import runs_of
from workflow_scripts.settings.run import Run
from workflow_scripts.settings.runs import resolve_runs

CONFIG = Path(__file__).parents[2] / "config"


def no_contexts(run: Run) -> list[str]:
    raise AssertionError(f"{run.folder} leaves nothing out")


@pytest.fixture
def resolve(tmp_path: Path):
    def resolve(text: str = "", overrides: str = "") -> dict[str, dict]:
        run_file = tmp_path / "mine.yaml"
        run_file.write_text(text)
        return {
            Path(folder).name: run.config
            for folder, run in resolve_runs(CONFIG, str(run_file), overrides, no_contexts).items()
        }

    return resolve


def test_overrides_with_several_values_give_a_run_for_each_combination(resolve):
    runs = resolve("", "training.lr=1e-4,3e-4 training.train_seed=1,2,3")
    assert list(runs) == [
        f"mine_lr-{lr}_train_seed-{seed}" for lr in (0.0001, 0.0003) for seed in (1, 2, 3)
    ]
    last = runs["mine_lr-0.0003_train_seed-3"]
    assert (last["training"]["lr"], last["training"]["train_seed"]) == (3e-4, 3)
    assert last["name"] == "mine_lr-0.0003_train_seed-3"


def test_sweep_of_a_run_file_takes_groups_and_leaves_no_trace(resolve):
    text = "name: big\nsweep: {model: [state_sm, pertsets], training.train_seed: [1, 2]}\n"
    runs = resolve(text)
    assert list(runs) == [
        "big_state_sm_train_seed-1",
        "big_state_sm_train_seed-2",
        "big_pertsets_train_seed-1",
        "big_pertsets_train_seed-2",
    ]
    assert runs["big_state_sm_train_seed-1"]["model"]["kwargs"]["cell_set_len"] == 128
    assert all("sweep" not in config for config in runs.values())


def test_names_follow_a_template(resolve):
    text = "sweep:\n  name: '{name}-{model}-s{training.train_seed}'\n"
    text += "  model: [state_sm]\n  training.train_seed: [1, 2]\n"
    with pytest.raises(ConfigError, match=r"mine.yaml:1: sweep.name has \{model\}, and there are"):
        resolve(text)  # one model tells no run from another
    text = text.replace("[state_sm]", "[state_sm, state]")
    assert list(resolve(text))[:2] == ["mine-state_sm-s1", "mine-state_sm-s2"]


def test_an_override_takes_the_place_of_a_sweep(resolve):
    text = "sweep: {training.train_seed: [1, 2], training.lr: [1e-4, 3e-4]}\n"
    runs = resolve(text, "training.train_seed=7")
    assert list(runs) == ["mine_lr-0.0001", "mine_lr-0.0003"]
    assert {config["training"]["train_seed"] for config in runs.values()} == {7}
    assert list(resolve(text, "training.train_seed=7 training.lr=1")) == ["mine"]


def test_names_are_short_and_tell_keys_apart(resolve):
    runs = resolve(
        "", "training.weight_decay=0,0.1 data.kwargs.toml_config_path=a/one.toml,b/two.toml"
    )
    assert "mine_weight_decay-0.1_toml_config_path-two" in runs
    runs = resolve("", "features.embedding.model=esm_a,esm_b wandb.tags=[b,c]")
    assert len(runs) == 2  # a list is one value
    long = "x" * 60
    runs = resolve("", f"report.title={long}1,{long}2 name=base")
    assert all(name.startswith("base_title-xxx") and len(name) < 60 for name in runs)
    assert len(runs) == 2


@pytest.mark.parametrize(
    "override",
    [
        "data.kwargs.toml_config_path=fold1/starter.toml,fold2/starter.toml",
        "model.kwargs.init_from=run1/checkpoints/final.ckpt,run2/checkpoints/final.ckpt",
        "splits.leave_out='screen.HepG2/C3A','screen.K562/C3A'",
        "splits.leave_out='screen.αβ T','screen.γδ T'",
    ],
)
@pytest.mark.parametrize("template", [False, True])
def test_values_that_look_alike_in_names_give_runs_of_their_own(resolve, override, template):
    key = override.partition("=")[0]
    text = f"sweep: {{name: '{{{key}}}'}}\n" if template else ""
    names = list(resolve(text, override))
    assert len(set(names)) == 2
    assert all(name.isascii() for name in names)
    assert list(resolve(text, override)) == names


def test_swept_names_are_the_names(resolve):
    assert list(resolve("", "name=a,b")) == ["a", "b"]
    assert list(resolve("", "name=a,b training.lr=1,2")) == ["a_lr-1", "a_lr-2", "b_lr-1", "b_lr-2"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sweep: 3", r"mine.yaml:1: sweep is 3; it takes a mapping"),
        ("sweep: {training.lr: 1}", r"sweep.training.lr is 1; it takes a list of values"),
        ("sweep: {training.lr: []}", r"it takes a list of values"),
        (
            "sweep: {name: [a], training.lr: [1, 2]}",
            r"sweep.name is \['a'\]; it takes the template",
        ),
        ("sweep: {name: x, training.lr: [1, 2]}", r"two runs would be called 'x'.*\{training.lr\}"),
        ("sweep: {training.train_seed: [1, 1]}", r"two runs would be called"),
        ("sweep: {training.lrr: [1, 2]}", r"`training.lrr`|training.lrr"),
        ("sweep: {model: [state_sm, stat]}", r"no option `stat`"),
    ],
)
def test_what_can_not_be_a_sweep_is_said(resolve, text, said):
    with pytest.raises(ConfigError, match=said):
        resolve(text)


def test_too_many_runs_are_a_slip(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("")
    with pytest.raises(ConfigError, match="10,000 runs: more than 1,000"):
        runs_of(
            CONFIG,
            tmp_path / "mine.yaml",
            ["training.lr=range(100)", "cells.target_sum=range(100)"],
        )


def test_overrides_of_a_single_run_keep_their_order(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("")
    given = ["wandb.tags=[a]", "~wandb.tags", "+wandb.tags=[b]", "report.title=x", "report.title=y"]
    assert runs_of(CONFIG, tmp_path / "mine.yaml", given) == [tuple(given)]
