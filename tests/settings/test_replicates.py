"""Which runs are replicates of one another, and in what the others differ."""

from __future__ import annotations

from pathlib import Path

from workflow_scripts.reporting.replicates import differing, replicates_among
from workflow_scripts.settings.runs import resolve_run

CONFIG = Path(__file__).parents[2] / "config"


def config(*overrides: str, run: str = "demo"):
    return resolve_run(CONFIG, run, overrides).config


def test_runs_that_differ_in_the_named_keys_alone_are_replicates():
    configs = {
        "a": config("training.train_seed=1"),
        "b": config("training.train_seed=2", "name=b", "wandb.tags=[x]", "report.title=B"),
        "c": config("training.train_seed=2", "training.lr=1e-4"),
        "d": config("training.train_seed=3", "prediction.baselines=[]"),
    }
    assert replicates_among(configs, ["training.train_seed"]) == [("a", "b", "d"), ("c",)]
    assert replicates_among(configs, []) == [("a",), ("b",), ("c",), ("d",)]
    both = ["training.train_seed", "training.lr"]
    assert replicates_among(configs, both) == [("a", "b", "c", "d")]


def test_differences_are_of_keys_that_count():
    one = config("training.lr=1e-3", "wandb.tags=[x]", "name=one")
    two = config("training.lr=1e-4", "training.train_seed=9", "name=two")
    assert differing([one, two]) == {"training.lr": [1e-3, 1e-4], "training.train_seed": [42, 9]}
    assert differing([one, two], ["training.train_seed"]) == {"training.lr": [1e-3, 1e-4]}
    assert differing([one, one]) == {}


def test_key_that_one_model_lacks_is_a_difference():
    found = differing(
        [config(f"model={name}", run="first_run") for name in ("state_sm", "pertsets")]
    )
    lacking = [key for key, (first, second) in found.items() if None in (first, second)]
    assert lacking
    assert "model.name" in found or "model.kwargs.hidden_dim" in found
