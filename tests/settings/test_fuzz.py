"""Whatever text a person gives: a config or a ConfigError, and Hydra's answer where it has one."""

from __future__ import annotations

import contextlib
import copy
import os
from pathlib import Path
from typing import Any

import pytest
from hydra_oracle import hydra_lists_a_file_twice, hydra_refuses, hydra_yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from random_trees import random_tree

from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.check import check_config
from workflow_scripts.settings.compose import compose
from workflow_scripts.settings.dump import to_yaml
from workflow_scripts.settings.schema import KEYS

# How many examples: few in every test run, and many where somebody asks (`make fuzz`).
MANY = int(os.environ.get("STATELINE_FUZZ", "0"))
TREE = "a: {b: 1, l: [1, 2], n: null, s: x}\nk: top\nr: ${a.b}\n"
ALPHABET = "ab01._-+~=@/,:()[]{}'\"\\$ \t#é\n*?"
PIECES = ["a.b", "a.l", "k", "=", "+", "++", "~", "${k}", "${", "}", "[", "]", "{", "}", ",", ":"]
PIECES += ["'", '"', "\\", "1e3", "null", "true", "x", " ", "int(", ")", ".0", "a=1", "oc.env:"]
OVERRIDE = st.one_of(
    st.text(ALPHABET, max_size=12),
    st.lists(st.sampled_from(PIECES), max_size=7).map("".join),
    st.tuples(
        st.sampled_from(["", "+", "++"]),
        st.sampled_from(["a.b", "a.l", "a.n", "k", "q", "a.l.0", "a.q.r"]),
        st.text(ALPHABET, max_size=8),
    ).map(lambda parts: f"{parts[0]}{parts[1]}={parts[2]}"),
)
SCALAR = st.sampled_from(
    ["1", "2.5", "x", "null", "true", "'q r'", "${b.c}", "[1, 2]", "yes", "???"]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuzz")
    (path / "config.yaml").write_text(TREE, encoding="utf-8")
    return path


@settings(max_examples=MANY or 200, deadline=None, derandomize=not MANY)
@given(override=OVERRIDE)
def test_any_override_gives_a_config_or_a_config_error(folder: Path, override: str) -> None:
    try:
        ours = to_yaml(compose(folder, "config", [], [override]))
    except ConfigError:
        return
    assert ours == hydra_yaml(folder, [override])


@settings(max_examples=MANY or 200, deadline=None, derandomize=not MANY)
@given(text=st.text(ALPHABET + "&!|>%-", max_size=30))
def test_any_file_gives_a_config_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = tmp_path_factory.mktemp("file") / "config.yaml"
    file.write_text(text, encoding="utf-8")
    try:
        ours = to_yaml(compose(file.parent, "config"))
    except ConfigError:
        return
    assert ours == OmegaConf.to_yaml(OmegaConf.load(file), resolve=True)


SECTION = st.dictionaries(st.sampled_from(["c", "d", "e"]), SCALAR, max_size=3)


@settings(max_examples=MANY // 20 or 50, deadline=None, derandomize=not MANY)
@given(
    files=st.lists(
        st.dictionaries(st.sampled_from("ab"), SECTION, max_size=2), min_size=1, max_size=3
    ),
    overrides=st.lists(
        st.tuples(
            st.sampled_from(["", "+", "++", "~"]),
            st.sampled_from(["a.c", "a.d", "b.c", "b.e"]),
            SCALAR,
        ),
        max_size=3,
    ),
)
def test_random_trees_compose_as_in_hydra(
    tmp_path_factory: pytest.TempPathFactory,
    files: list[dict[str, dict[str, str]]],
    overrides: list[tuple[str, str, str]],
) -> None:
    path = tmp_path_factory.mktemp("tree")
    names = [f"part{number}" for number in range(len(files))]
    (path / "config.yaml").write_text(f"defaults: [{', '.join(names)}]\n", encoding="utf-8")
    for name, sections in zip(names, files, strict=True):
        lines: list[str] = []
        for section, values in sections.items():
            lines.append(f"{section}:" if values else f"{section}: {{}}")
            lines += [f"  {key}: {value}" for key, value in values.items()]
        (path / f"{name}.yaml").write_text("\n".join(lines), encoding="utf-8")
    given_overrides = [
        f"{action}{key}" if action == "~" else f"{action}{key}={value}"
        for action, key, value in overrides
    ]
    try:
        ours = to_yaml(compose(path, "config", [], given_overrides))
    except ConfigError:
        assert hydra_refuses(path, given_overrides)
    else:
        if hydra_refuses(path, given_overrides):
            # Hydra can't take out what leads nowhere (see docs/config.md): give it a value first.
            given_overrides = [
                part
                for text in given_overrides
                for part in ([f"++{text[1:]}=0", text] if text.startswith("~") else [text])
            ]
        assert ours == hydra_yaml(path, given_overrides)


@settings(max_examples=MANY // 20 or 40, deadline=None, derandomize=not MANY)
@given(seed=st.integers(0, 2**32))
def test_random_defaults_lists_expand_as_in_hydra(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("lists")
    tree = random_tree(seed)
    tree.write(folder)
    asked = [*(f"+runs={run}" for run in tree.runs), *tree.overrides]
    run_files = [folder / "runs" / f"{run}.yaml" for run in tree.runs]
    try:
        ours = to_yaml(compose(folder, "config", run_files, tree.overrides))
    except ConfigError:
        assert hydra_refuses(folder, asked)
    else:
        same = ours == hydra_yaml(folder, asked)
        assert same or hydra_lists_a_file_twice(folder, asked)  # see docs/config.md


def test_random_trees_are_not_all_errors(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A generator that made errors alone would compare nothing."""
    composed = 0
    for seed in range(100):
        folder = tmp_path_factory.mktemp("tree")
        tree = random_tree(seed)
        tree.write(folder)
        try:
            compose(folder, "config", [], tree.overrides)
        except ConfigError:
            continue
        composed += 1
    assert composed > 25


ODD = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.sampled_from(["???", "None", "{", "${oc.env:A_TOKEN}", "llama", "GPT2", 10**400, "1e4"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.text(max_size=4), st.integers(), st.none()), inner, max_size=3
        ),
    ),
    max_leaves=5,
)
OURS = compose(Path(__file__).parents[2] / "config", "config", [], ["name=x"])
PLACES = sorted({path.rpartition(".")[0] for path in KEYS} | set(KEYS) | {"a.b", "model.q"})


@settings(max_examples=MANY or 200, deadline=None, derandomize=not MANY)
@given(changes=st.lists(st.tuples(st.sampled_from(PLACES), ODD), min_size=1, max_size=4))
def test_whatever_a_config_holds_it_is_fine_or_a_config_error(
    changes: list[tuple[str, Any]],
) -> None:
    config: dict[Any, Any] = copy.deepcopy(OURS)
    for path, value in changes:
        inside = config
        *sections, name = path.split(".")
        for section in sections:
            if not isinstance(inside.get(section), dict):
                inside[section] = {}
            inside = inside[section]
        inside[name] = value
    with contextlib.suppress(ConfigError):
        check_config(config, "run")
