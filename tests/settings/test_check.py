"""What a config is refused for, before anything runs: all of it at once, with where it was set."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cell_eval2.catalog import CATALOG

from workflow_scripts.errors import ConfigError
from workflow_scripts.evaluation.engine import EvaluationSettings, engine_config
from workflow_scripts.settings.check import config_problems
from workflow_scripts.settings.compose import compose
from workflow_scripts.settings.keys import Key
from workflow_scripts.settings.runs import resolve_run
from workflow_scripts.settings.schema import KEYS

CONFIG = Path(__file__).parents[2] / "config"
LISTED = json.loads((CONFIG.parent / "workflow_scripts/settings/metrics.json").read_text())
BACKBONE = "model.kwargs.transformer_backbone_kwargs"


def choices_in(path: str) -> list[Any]:
    """Return all values of a key that has choices."""
    return KEYS[path].choices


def problems(overrides: Sequence[str] = (), model: str = "state_sm") -> list[str]:
    """Return the problems of a composed config, as ``key: text``."""
    config = compose(CONFIG, "config", [], [f"model={model}", "name=x", *overrides])
    return [f"{problem.path}: {problem.text}" for problem in config_problems(config)]


@pytest.mark.parametrize("model", ["state_sm", "pertsets"])
def test_the_presets_have_no_problems(model: str) -> None:
    assert problems(model=model) == []


WRONG: list[tuple[list[str], list[str]]] = [
    # unknown keys: the nearest one, here or elsewhere
    (["+training.lrr=1"], ["training.lrr: no such key; did you mean training.lr?"]),
    (["+data.kwargs.batch_size=8"], ["did you mean training.batch_size?"]),
    (["+lr=1"], ["lr: no such key; did you mean training.lr?"]),
    (
        ["+prediction.unmasking=[]"],
        ["prediction.unmasking: no such key; it is called prediction.negative_controls"],
    ),
    (["+modle.kwargs.hidden_dim=1"], ["modle.kwargs.hidden_dim: no such key: there is no section"]),
    (["+training.kwargs={}"], ["training.kwargs: no such key"]),
    (["+wandb.nothing_like_it=1"], ["wandb has entity, project, local_wandb_dir, tags"]),
    (["+qqqq=1"], ["qqqq: no such key; config/README.md lists the keys there are"]),
    # missing ones
    (["~training.lr"], ["training.lr: missing; add it"]),
    (["~wandb"], ["wandb: missing; config/wandb/ has its keys"]),
    (["~model.kwargs"], ["model.kwargs: missing"]),
    # sections and values
    (["++data.kwargs=null"], ["data.kwargs: is null; it is a section, of toml_config_path"]),
    (["++training.lr={a: 1}"], ["training.lr: is a section (a); it takes a number above 0"]),
    # types, with what was probably meant
    (["training.lr=fast"], ["training.lr: is 'fast'; it takes a number above 0"]),
    (["training.lr='1e-4'"], ["training.lr: is '1e-4', which is text: remove the quotes"]),
    (["training.lr=null"], ["training.lr: is null; it takes a number above 0"]),
    (["training.lr=???"], ["training.lr: is '???'; it takes a number"]),
    (["training.lr=true"], ["training.lr: is true; it takes a number"]),
    (["training.lr=[1]"], ["training.lr: is [1]; it takes a number"]),
    (["training.max_steps=40_000.0"], ["is 40000.0: write 40000"]),
    (["training.max_steps=1.5"], ["is 1.5; it takes a whole number"]),
    (["training.max_steps='40,000'"], ["write the digits without commas and spaces"]),
    (["use_wandb='no'"], ["use_wandb: is 'no', which is text: write false, without quotes"]),
    (["use_wandb=1"], ["use_wandb: is 1; it takes true or false"]),
    (["data.kwargs.pert_col=7"], ["data.kwargs.pert_col: is 7: put it in quotes"]),
    (["data.kwargs.pert_col=false"], ["is false: put it in quotes"]),
    (["data.kwargs.toml_config_path=None"], ["for no value, write null"]),
    (["wandb.tags=one"], ["wandb.tags: is 'one', which is text: write [one]"]),
    (["wandb.tags=[1]"], ["wandb.tags: its item 1 is 1; it takes a list of texts"]),
    (["wandb.tags=[a, a]"], ["has 'a' twice"]),
    (["wandb.tags=[a, '']"], ["its item 2 is ''"]),
    # ranges
    (["training.lr=0"], ["training.lr: is 0; it takes a number above 0"]),
    (["training.lr=nan"], ["training.lr: is .nan, which is not finite"]),
    (["training.lr=inf"], ["training.lr: is .inf, which is not finite"]),
    (
        ["training.batch_size=0"],
        ["batch_size: is 0; it takes a whole number of at least 1 (cell sets)"],
    ),
    (["training.train_seed=4294967296"], ["of at most 4294967295"]),
    (
        ["splits.validation_fraction=1"],
        ["splits.validation_fraction: is 1; it takes a number above 0 and below 1"],
    ),
    # choices
    (["evaluation.profile=minimum"], ["it takes minimal, full", "did you mean `minimal`?"]),
    (["training.devices=0"], ["training.devices: is 0", "at least 1"]),
    (["training.devices=3"], ["training.batch_size: is 16 cell sets a step, which 3 devices"]),
    (
        ["training.devices=2", "engine.batch=3"],
        ["engine.batch: is 3", "one of 1, 2, 4, 8, or auto"],
    ),
    (["engine.batch=all"], ["engine.batch: is 'all'", ", auto or null"]),
    (
        ["data.kwargs.embed_key=X_pca"],
        [
            "model.kwargs.gene_decoder_bool: is false, but data.kwargs.embed_key is X_pca",
            "set model.kwargs.gene_decoder_bool=true",
        ],
    ),
    (["data.kwargs.embed_key=''"], ["data.kwargs.embed_key: is '', which is empty"]),
    (["data.kwargs.embed_key=X_hvg", "cells.layer=counts"], ["expression is read from one matrix"]),
    (["+model.kwargs.decoder_hidden_dims=[64,wide]"], ["decoder_hidden_dims", "whole number"]),
    (
        ["prediction.baselines=[mean]"],
        ["its item 1 is 'mean'; it takes a list of control, mean_response"],
    ),
    (
        ["model.kwargs.nb_decoder=true"],
        ["nb_decoder: is true; it takes false: Stateline does not support it"],
    ),
    # texts
    (["name=''"], ["name: is '', which is empty"]),
    (["name=a/b"], ["name: is 'a/b'; it must be the name of a folder; output_dir sets"]),
    (["name=.."], ["name: is '..'; it must be the name of a folder"]),
    (["name='{run}'"], ["name: is '{run}'; remove the braces"]),
    (["output_dir='out/{x}'"], ["output_dir: is 'out/{x}'; remove the braces"]),
    (["name=' a'"], ["name: is ' a'; remove the spaces at its ends"]),
    ([f"name={'n' * 256}"], ["at most 255 bytes"]),
    (["data.kwargs.pert_col=' '"], ["data.kwargs.pert_col: is ' ', which is empty"]),
    (["data.kwargs.pert_col='a\tb'"], ["remove the line breaks, tabs and control characters"]),
    # what doesn't fit together
    ([f"{BACKBONE}.hidden_size=64"], ["is 64, but model.kwargs.hidden_dim is 672"]),
    (
        [f"~{BACKBONE}.head_dim", "model.kwargs.hidden_dim=676"],
        ["does not divide model.kwargs.hidden_dim, 676"],
    ),
    ([f"{BACKBONE}.num_key_value_heads=3"], ["is 3, which does not divide num_attention_heads, 8"]),
    ([f"{BACKBONE}.max_position_embeddings=64"], ["is 64, fewer than the 128 cells of a set"]),
    (
        [f"+{BACKBONE}.n_layer=2"],
        ["is not read by the backbone llama; remove it; num_hidden_layers is set"],
    ),
    ([f"~{BACKBONE}.num_hidden_layers"], ["num_hidden_layers: missing; the backbone llama needs"]),
    (
        [f"+{BACKBONE}.bidirectional_attention=false", f"{BACKBONE}.head_dim=7"],
        ["a head is 7 wide; make head_dim even"],
    ),
    (["+model.kwargs.use_batch_token=true"], ["a set has several technical batches"]),
    (
        [
            *("+model.kwargs.use_batch_token=true", "model.kwargs.batch_encoder=true"),
            "data.kwargs.basal_mapping_strategy=batch",
        ],
        ["batch_encoder gives the token the batch that it learns; choose one"],
    ),
    (
        ["model.kwargs.confidence_head=true", "model.kwargs.mask_attn=true"],
        ["with mask_attn the token only sees itself"],
    ),
    (["training.val_freq=50000"], ["more than training.max_steps (40000)"]),
    (
        ["features.missing=embed", "features.embedding.fasta=f"],
        ["features.embedding.model", "is null, but features.missing=embed needs it"],
    ),
    (
        [
            *("features.missing=embed", "features.embedding.model=m", "features.embedding.fasta=f"),
            "data.kwargs.perturbation_features_file=[a.pt,b.csv]",
        ],
        ["features.missing", "completes one feature file, but there are 2"],
    ),
    (["data.kwargs.output_space=embedding"], ["data.kwargs.embed_key is null", "all or gene"]),
    (
        ["data.kwargs.output_space=embedding", "data.kwargs.embed_key=X_hvg"],
        ["data.kwargs.embed_key is X_hvg, which is expression"],
    ),
    (["data.kwargs.pert_col=cell_type"], ["choose another column"]),
    (["data.kwargs.batch_col=gene"], ["data.kwargs.batch_col: is 'gene', which is also"]),
    (
        ["evaluation.input_type=counts"],
        ["evaluation.input_type: is counts, but prediction.output is log1p; make it null"],
    ),
    (["prediction.checkpoint=1500"], ["is 1500, but checkpoints are written every 2000 steps"]),
    (["prediction.checkpoint=42000"], ["is 42000", "up to 40000; choose one of these steps"]),
    (["prediction.checkpoint=36000"], ["the newest 2 stay; set engine.keep_checkpoints=3 before"]),
    (["prediction.amplitude=fit"], ["prediction.amplitude: is 'fit'", "or validation"]),
    (["prediction.amplitude=-1"], ["prediction.amplitude: is -1; it takes a number of at least 0"]),
    (
        ["prediction.submission=vcc2026", "prediction.targets=want.csv"],
        ["prediction.output: is log1p, but prediction.submission is vcc2026, which takes counts"],
    ),
    (
        ["prediction.submission=vcc2026", "prediction.output=counts"],
        ["prediction.targets: is null, but prediction.submission is vcc2026, which takes 400"],
    ),
    (
        ["prediction.submission=vcc2025", "prediction.output=counts"],
        ["prediction.output: is counts", "set prediction.output=log1p"],
    ),
    (["evaluation.extra_metrics=[pds_cosin]"], ["did you mean `pds_cosine`?"]),
    (
        ["evaluation.preset=v1", "evaluation.extra_metrics=[cell_cov_corr]"],
        ["not computed by evaluation.preset=v1"],
    ),
    (
        ["cells.datasets={a: 1}"],
        ["cells.datasets.a: is 1; it takes text or a list of texts"],
    ),
    (["cells.datasets={a: []}"], ["cells.datasets.a: is []; it takes text"]),
    (["cells.datasets={1: a.h5ad}"], ["cells.datasets.1: is"]),
]


@pytest.mark.parametrize(("overrides", "said"), WRONG, ids=lambda part: str(part)[:50])
def test_a_problem_is_said_once_and_with_a_way_out(overrides: list[str], said: list[str]) -> None:
    (problem,) = problems(overrides)
    for part in said:
        assert part in problem


@pytest.mark.parametrize(
    "overrides",
    [
        ["prediction.checkpoint=40000"],
        ["prediction.checkpoint=38000"],
        ["prediction.checkpoint=36000", "engine.keep_checkpoints=3"],
        ["prediction.checkpoint=41000", "training.max_steps=41000"],
        ["prediction.checkpoint=40000", "training.max_steps=41000"],
    ],
)
def test_steps_whose_checkpoints_stay_may_predict(overrides: list[str]) -> None:
    assert problems(overrides) == []


EMBEDDED = ["data.kwargs.embed_key=X_pca", "model.kwargs.gene_decoder_bool=true"]


@pytest.mark.parametrize("space", ["all", "gene", "embedding"])
def test_an_embedding_that_is_decoded_goes_with_every_output_space_and_a_layer(space: str) -> None:
    assert problems([*EMBEDDED, f"data.kwargs.output_space={space}", "cells.layer=counts"]) == []
    # A preset that is silent of the decoder has one.
    assert problems(["data.kwargs.embed_key=X_pca"], model="pertsets") == []


def test_gpt2_is_checked_by_its_own_names() -> None:
    found = "\n".join(
        problems(
            [
                f"{BACKBONE}.n_head=7",
                f"{BACKBONE}.n_positions=8",
                f"+{BACKBONE}.num_hidden_layers=2",
                f"{BACKBONE}.n_embd=16",
            ],
            model="pertsets",
        )
    )
    assert "n_head: is 7, which does not divide model.kwargs.hidden_dim, 328" in found
    assert "n_positions: is 8, fewer than the 512 cells" in found
    assert "num_hidden_layers: is not read by the backbone GPT2; remove it; n_layer is set" in found
    assert "n_embd: is 16, but model.kwargs.hidden_dim is 328" in found


def test_combinations_are_looked_at_although_other_keys_are_broken() -> None:
    found = problems(["training.lr=fast", "training.val_freq=50000", "+typo=1"])
    assert [text.partition(":")[0] for text in found] == [
        "training.lr",
        "training.val_freq",
        "typo",
    ]


def test_a_refused_run_says_where_everything_was_set(tmp_path: Path) -> None:
    run = tmp_path / "broken.yaml"
    run.write_text(
        "name: broken\ntraining:\n  lr: fast\n  droput: 1\nmodel: {kwargs: {loss: mae}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        resolve_run(CONFIG, str(run), ["model.kwargs.hidden_dim=100", "model=pertsets"])
    preset = (CONFIG / "model" / "pertsets.yaml").read_text("utf-8").splitlines()
    line, kind = (
        next(place for place, text in enumerate(preset, 1) if key in text)
        for key in ("n_head:", "transformer_backbone_key:")
    )
    assert str(caught.value).splitlines() == [
        f"{run}: 4 problem(s) in the config:",
        "  - model.kwargs.loss: is 'mae'; it takes energy, mse, sinkhorn or se; did you mean "
        "`mse`?",
        f"      set by {run}:5; {KEYS['model.kwargs.loss'].meaning}",
        f"  - {BACKBONE}.n_head: is 8, which does not divide model.kwargs.hidden_dim, 100; "
        "change one of them",
        f"      set by config/model/pertsets.yaml:{line} and override "
        "'model.kwargs.hidden_dim=100' (model.kwargs.hidden_dim) and config/model/pertsets.yaml:"
        f"{kind} (model.kwargs.transformer_backbone_key); Attention heads of a GPT2 layer; must "
        "divide hidden_dim",
        "  - training.lr: is 'fast'; it takes a number above 0",
        f"      set by {run}:3; Learning rate of AdamW",
        "  - training.droput: no such key; did you mean model.kwargs.dropout or "
        "model.kwargs.lora.dropout?",
        f"      set by {run}:4",
    ]


NUMBERS = [key for key in KEYS.values() if {"integer", "number"} & key.types]
NUMBERS = [key for key in NUMBERS if not (key.kind == "inert" and "object" in key.types)]


@pytest.mark.parametrize(
    "key", [key for key in NUMBERS if len(key.types) < 5], ids=lambda key: key.path
)
def test_every_number_is_held_to_its_limits(key: Key) -> None:
    """Just outside a limit is refused, on or just inside it is taken."""
    whole = "integer" in key.types
    (part,) = (part for part in key.alternatives if part["type"] in ("integer", "number"))
    step = 1 if whole else 1e-9
    limits = [
        (part.get("minimum"), 0, -step),
        (part.get("exclusiveMinimum"), step, 0),
        (part.get("maximum"), 0, step),
        (part.get("exclusiveMaximum"), -step, 0),
    ]
    for limit, inside, outside in limits:
        if limit is not None and "const" not in part:
            kind = int if whole else float
            assert single(key, kind(limit + inside)) == []
            assert single(key, kind(limit + outside)) != []
    for value in ([], math.nan, math.inf, *([] if "string" in key.types else ["1"])):
        assert single(key, value) != []
    assert single(key, True) != [] or "boolean" in key.types


@pytest.mark.parametrize("key", KEYS.values(), ids=lambda key: key.path)
def test_every_key_takes_its_choices_and_its_types_alone(key: Key) -> None:
    choices = key.choices
    listed = "array" in key.types
    for choice in choices:
        assert single(key, [choice] if listed else choice) == []
    if choices:
        assert single(key, ["nonsense"] if listed else "nonsense") != []
    assert single(key, {1, 2}) != []
    assert (single(key, None) == []) == ("null" in key.types)


def single(key: Key, value: Any) -> list[str]:
    """Return what is said of a key itself where it has a value, in a config that lacks it."""
    config: dict[str, Any] = {}
    inside = config
    *sections, name = key.path.split(".")
    for section in sections:
        inside = inside.setdefault(section, {})
    inside[name] = value
    return [
        problem.text
        for problem in config_problems(config)
        if problem.path == key.path and not problem.beside
    ]


@pytest.mark.parametrize("preset", ["v1", "v2"])
def test_extra_metrics_are_those_that_the_scorer_takes(preset: str) -> None:
    """Every name that cell-eval2 knows, or ours: refused here exactly where it refuses."""
    spellings = {
        spelling
        for spec in CATALOG.values()
        for spelling in (spec.name, spec.v1_name, *spec.aliases)
        if spelling
    }
    base = EvaluationSettings(preset=preset)
    for name in sorted(
        {*spellings, *LISTED["v1"], *LISTED["v1"].values(), *LISTED["v2"], "pds_cosin"}
    ):
        found = problems([f"evaluation.preset={preset}", f"evaluation.extra_metrics=[{name}]"])
        try:
            engine_config(replace(base, extra_metrics=(name,)), "control")
        except ConfigError:
            assert found, name
        else:
            assert not found, name


def test_profiles_and_presets_are_those_of_the_scorer() -> None:
    pairs = itertools.product(choices_in("evaluation.preset"), choices_in("evaluation.profile"))
    for preset, profile in pairs:
        engine_config(EvaluationSettings(preset, profile, extra_metrics=()), "control")


@pytest.mark.parametrize("override", ["", "~evaluation"])
def test_evaluation_may_be_left_out(tmp_path: Path, override: str) -> None:
    run_file = tmp_path / "run.yaml"
    run_file.write_text("" if override else "evaluation: null\n")
    run = resolve_run(CONFIG, str(run_file), [override] if override else [])
    assert run.config.get("evaluation") is None
    run_file.write_text("prediction: null\n")
    with pytest.raises(ConfigError, match="prediction: is null; it is a section"):
        resolve_run(CONFIG, str(run_file), [])


@pytest.mark.parametrize(
    ("overrides", "refused"),
    [
        ("model.kwargs.nb_decoder=true", "model.kwargs.nb_decoder"),
        ("+training.finetuning_schedule.enable=true", "training.finetuning_schedule.enable"),
        ("+training.ckpt_steps=[200,400]", "training.ckpt_every_n_steps"),
        ("training=replogle", "there are default"),
        ("+model.kwargs.num_timepoints=3", "model.kwargs.num_timepoints"),
        ("training.learning_rate=0.0001", "it is called training.lr"),
        ("prediction.unmasking=[]", "it is called prediction.negative_controls"),
        ("+training.val_check_interval=500", "training.val_check_interval"),
        ("+model.kwargs.input_dim=2048", "model.kwargs.input_dim"),
        ("training.max_steps=400", "training.val_freq"),
        ("training.devices=auto", "training.devices"),
        ("+training.warmup_steps=500", "engine.warmup_steps"),
        ("+data.kwargs.perturbations=[A,B]", "data.kwargs.perturbations"),
        ("model.kwargs.hidden_dim=700", None),
        ("data.kwargs.embed_key=X_hvg data.kwargs.output_space=gene", None),
        ("data.kwargs.pert_rep=onehot data.kwargs.basal_rep=sample", None),
        ("training.lr=1e-5 use_wandb=false wandb.tags=[a,b] wandb.project=vcc", None),
    ],
)
def test_overrides_that_people_publish_are_taken_or_named(
    overrides: str, refused: str | None
) -> None:
    if refused is None:
        resolve_run(CONFIG, "first_run", overrides.split())
        return
    with pytest.raises(ConfigError, match=re.escape(refused)):
        resolve_run(CONFIG, "first_run", overrides.split())
