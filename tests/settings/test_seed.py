"""The project's own tree: the seed's command line and the run file that says the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml
from hydra_oracle import hydra_yaml

from workflow_scripts.settings.compose import compose, compose_traced
from workflow_scripts.settings.dump import to_yaml

CONFIG = Path(__file__).parents[2] / "config"
RUN_FILE = CONFIG / "runs" / "first_run.yaml"
COMMAND = [
    'data.kwargs.toml_config_path="competition_support_set/starter.toml"',
    "data.kwargs.num_workers=4",
    'data.kwargs.batch_col="batch_var"',
    'data.kwargs.pert_col="target_gene"',
    'data.kwargs.cell_type_key="cell_type"',
    'data.kwargs.control_pert="non-targeting"',
    'data.kwargs.perturbation_features_file="competition_support_set/ESM2_pert_features.pt"',
    "training.max_steps=40000",
    "training.ckpt_every_n_steps=2000",
    "model=state_sm",
    "wandb.tags=[first_run]",
    'output_dir="competition"',
    'name="first_run"',
]


def test_command_line_composes_what_hydra_composes() -> None:
    assert to_yaml(compose(CONFIG, "config", [], COMMAND)) == hydra_yaml(CONFIG, COMMAND)


def test_run_file_composes_what_hydra_composes() -> None:
    ours = to_yaml(compose(CONFIG, "config", [RUN_FILE]))
    assert ours == hydra_yaml(CONFIG, ["+runs=first_run"])


def test_run_file_says_what_the_command_line_says() -> None:
    by_file = compose(CONFIG, "config", [RUN_FILE])
    ours = ["cells.values=log1p", "features.control=zeros", "splits.validation=from_train"]
    by_command = compose(CONFIG, "config", [], [*COMMAND, *ours])
    assert to_yaml(by_file) == to_yaml(by_command)


def test_seed_sections_are_the_seeds() -> None:
    expected = yaml.safe_load(Path(__file__).with_name("seed_first_run.yaml").read_text("utf-8"))
    config = compose(CONFIG, "config", [RUN_FILE])
    assert to_yaml({key: config[key] for key in expected}) == to_yaml(expected)


def test_every_value_knows_its_line() -> None:
    composition = compose_traced(CONFIG, "config", [RUN_FILE], ["training.max_steps=5"])
    lines = {
        ("model", "kwargs", "cell_set_len"): "cell_set_len: 128",
        ("wandb", "tags"): "tags: [first_run]",
        ("data", "kwargs", "barcode"): "barcode: true",
        ("use_wandb",): "use_wandb: true",
    }
    for key, text in lines.items():
        path, _, line = composition.source(key).rpartition(":")
        assert Path(path).read_text("utf-8").splitlines()[int(line) - 1].strip().startswith(text)
    assert composition.source(("training", "max_steps")) == "override 'training.max_steps=5'"
    values = [setting.value for setting in composition.history[("training", "max_steps")]]
    assert values == [40000, 40000, 5]
    model = composition.choices["model"]
    assert [setting.value for setting in model] == ["pertsets", "state_sm"]
    assert model[-1].source.startswith(str(RUN_FILE))


def test_frozen_config_composes_to_itself(tmp_path: Path) -> None:
    frozen = tmp_path / "config.yaml"
    overrides = ["model.kwargs.blur=0.1", "+training.note='mine: 1'"]
    text = to_yaml(compose(CONFIG, "config", [RUN_FILE], overrides))
    frozen.write_text(text, encoding="utf-8")
    assert to_yaml(compose(CONFIG, "config", [frozen])) == text


def test_run_file_may_lie_anywhere(tmp_path: Path) -> None:
    elsewhere = tmp_path / "mine.yaml"
    shutil.copy(RUN_FILE, elsewhere)
    assert compose(CONFIG, "config", [elsewhere]) == compose(CONFIG, "config", [RUN_FILE])
