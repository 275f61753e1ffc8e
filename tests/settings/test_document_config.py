"""What is generated from the schema is as the schema has it, and says what the checks do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from docs import document_config
from docs.editor_schema import editor_schema
from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.check import config_problems
from workflow_scripts.settings.compose import compose
from workflow_scripts.settings.dump import to_yaml
from workflow_scripts.settings.keys import Key
from workflow_scripts.settings.runs import resolve_run
from workflow_scripts.settings.schema import KEYS
from workflow_scripts.settings.yaml_files import read_yaml

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
RUN = editor_schema()
SCHEMAS = {name: {"$ref": f"#/$defs/{name}", "$defs": RUN["$defs"]} for name in RUN["$defs"]} | {
    "run": RUN
}
FILES = sorted(CONFIG.rglob("*.yaml"))


def test_every_generated_file_is_as_generated() -> None:
    document_config.main(["--check"])


def test_a_stale_file_is_named_and_fixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = document_config.generated(ROOT)
    for path, text in texts.items():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(text, encoding="utf-8")
    for file in FILES:
        copy = tmp_path / file.relative_to(ROOT)
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(file.read_text("utf-8"), encoding="utf-8")
    monkeypatch.setattr(document_config, "ROOT", tmp_path)
    lr = tmp_path / "config" / "training" / "default.yaml"
    lr.write_text(lr.read_text("utf-8").replace("1e-4", "3e-4"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^config/README.md: not as the schema has it; run"):
        document_config.main(["--check"])
    document_config.main([])
    assert capsys.readouterr().out == "config/README.md\n"
    assert "| `training.lr` | `0.0003` |" in (tmp_path / "config/README.md").read_text("utf-8")
    document_config.main(["--check"])


def test_the_reference_has_every_key_once_in_a_table() -> None:
    text = (CONFIG / "README.md").read_text("utf-8")
    for key in KEYS.values():
        assert text.count(f"\n| `{key.path}` |") == 1, key.path
        assert key.meaning.replace("|", "\\|") in text
    for file in FILES:
        name = file.relative_to(CONFIG).as_posix()
        assert name in ("config.yaml", "workflow.yaml") or f"[{name}]({name})" in text
    assert "# Needs (docs/recipes.md)" in (CONFIG / "runs" / "tahoe.yaml").read_text("utf-8")
    assert "Needs (docs/recipes.md)" not in text  # of a long comment, the first paragraph


@pytest.mark.parametrize("option", ["pertsets", "state", "state_sm"])
def test_sizes_of_models_are_those_of_models_with_memory(option: str) -> None:
    """Counted on a small screen: the widths of the data enter as they do in the reference."""
    size = document_config.size_of(CONFIG, option)
    smaller = document_config.model_of(CONFIG, option, n_genes=80, feature_dim=32)
    counted = sum(parameter.numel() for parameter in smaller.parameters())
    hidden = smaller.settings.hidden_dim
    genes, features = document_config.N_GENES, document_config.FEATURE_DIM
    wider = (features - 32) * hidden + (genes - 80) * hidden  # the two encoders
    wider += (genes - 80) * (hidden + 1)  # the last layer of the decoder
    wider += squeezed(genes) - squeezed(80)
    assert size.total == counted + wider
    assert size.backbone == sum(
        parameter.numel() for parameter in smaller.transformer_backbone.parameters()
    )


def squeezed(genes: int) -> int:
    """Return the parameters of the squeeze behind the residual: two layers with their biases."""
    return 2 * genes * (genes // 8) + genes + genes // 8


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_valid_ones(name: str) -> None:
    Draft7Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(CONFIG).as_posix())
def test_a_file_names_its_schema_and_is_valid_under_it(file: Path) -> None:
    lines = file.read_text("utf-8").splitlines()
    mark = "# yaml-language-server: $schema="
    (named,) = (line.removeprefix(mark) for line in lines[:2] if line.startswith(mark))
    path, _, part = named.partition("#/$defs/")
    schema = json.loads((file.parent / path).read_text("utf-8"))
    if part:
        schema = {"$ref": f"#/$defs/{part}", "$defs": schema["$defs"]}
    assert list(Draft7Validator(schema).iter_errors(read_yaml(file).values)) == []


@pytest.mark.parametrize("run", ["demo", "first_run"])
def test_a_frozen_config_is_valid_under_the_schema_of_a_whole_one(run: str) -> None:
    text = to_yaml(resolve_run(CONFIG, run, []).config)
    assert list(Draft7Validator(SCHEMAS["config"]).iter_errors(yaml.safe_load(text))) == []


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ("run", "training: {lrr: 1}"),
        ("run", "training: {lr: fast}"),
        ("run", "training: {batch_size: 0}"),
        ("run", "prediction: {baselines: [mean]}"),
        ("training", "lr: -1"),
        ("training", "training: {lr: 1}"),
        ("model", "kwargs: {loss: mae}"),
        ("config", "name: x"),
        ("config", "training: {lr: '${x}'}"),
        ("workflow", "run: demo"),
    ],
)
def test_an_editor_underlines_what_is_wrong(schema: str, text: str) -> None:
    assert not Draft7Validator(SCHEMAS[schema]).is_valid(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ("run", "defaults: [{override /model: state_sm}, _self_]\ntraining: {lr: '${x.y}'}"),
        ("run", "model: {kwargs: {loss: '???', cell_set_len: '${oc.env:CELLS,128}'}}"),
        ("run", "prediction: {baselines: ['${baseline}']}\nwandb: {tags: '${tags}'}"),
        ("training", "defaults: [base]\nlr: 1"),
        ("workflow", "runs: demo"),
        ("workflow", "runs: [demo, first_run]\noverrides: ['training.lr=1']"),
    ],
)
def test_an_editor_takes_what_is_resolved_later(schema: str, text: str) -> None:
    assert list(Draft7Validator(SCHEMAS[schema]).iter_errors(yaml.safe_load(text))) == []


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2**33),
    st.floats(-10, 10).filter(lambda value: not value.is_integer()),
    st.sampled_from(["", " ", "x", "llama", "auto", "None", "log1p", "control"]),
    st.lists(st.sampled_from([1, "x", "control", "mean_response"]), max_size=2, unique=True),
    st.just({}),
)
# Checks that a JSON Schema doesn't make: of names of folders and contexts, of paths of models, of
# mappings as a whole, and of the text None, which is a mistake only where null is a value.
ELSEWHERE = {
    *("cells.datasets", "prediction.checkpoint", "prediction.ensemble", "splits.leave_out"),
}


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    key=st.sampled_from([key for key in KEYS.values() if key.path not in ELSEWHERE]), value=VALUES
)
def test_editors_and_checks_agree(key: Key, value: Any) -> None:
    if value == "None" and "null" in key.types:
        return
    nested: Any = value
    part_of = RUN["$defs"]["config"]
    for part in key.path.split("."):
        part_of = part_of.get("anyOf", [part_of])[0]["properties"][part]
    for part in reversed(key.path.split(".")):
        nested = {part: nested}
    found = [
        problem
        for problem in config_problems(nested)
        if problem.path.startswith(key.path) and not problem.beside
    ]
    if any("no metric of cell-eval2" in problem.text for problem in found):
        return
    assert Draft7Validator(part_of).is_valid(value) == (not found)


def test_only_what_a_config_can_not_do_without_is_required() -> None:
    config = compose(CONFIG, "config", [], ["name=x"])
    needed = {key.path for key in KEYS.values() if not key.optional}
    for key in KEYS.values():
        if key.optional or (key.path not in needed and key.kind != "inert"):
            continue
        copy = json.loads(json.dumps(config))
        inside = copy
        *sections, name = key.path.split(".")
        for section in sections:
            inside = inside[section]
        inside.pop(name, None)
        valid = Draft7Validator(SCHEMAS["config"]).is_valid(copy)
        assert valid == (key.path not in needed) == (not list(config_problems(copy))), key.path
