"""Where every value came from: a row a parameter, in the frozen order."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest
import yaml

from workflow_scripts.settings.compose import compose_traced
from workflow_scripts.settings.schema import KEYS
from workflow_scripts.settings.trace import Row, inert_warnings, leaves, to_tsv, trace_rows
from workflow_scripts.settings.yaml_files import dotted

CONFIG = Path(__file__).parents[2] / "config"
RUN_FILE = CONFIG / "runs" / "first_run.yaml"


def rows_of(
    overrides: Sequence[str] = (), run_files: Sequence[Path] = (), folder: Path = CONFIG
) -> dict[str, Row]:
    composition = compose_traced(folder, "config", run_files, overrides)
    return {row.parameter: row for row in trace_rows(composition)}


def line_of(file: str, start: str) -> str:
    """Return ``file:line`` of the only line of a config file that begins with a text."""
    lines = (CONFIG.parent / file).read_text("utf-8").splitlines()
    (number,) = [n for n, line in enumerate(lines, 1) if line.strip().startswith(start)]
    return f"{file}:{number}"


def test_choices_come_first_then_every_leaf_in_the_frozen_order() -> None:
    composition = compose_traced(CONFIG, "config", [RUN_FILE])
    rows = trace_rows(composition)
    groups = [row.parameter for row in rows if row.status == "choice of a group"]
    listed = yaml.safe_load((CONFIG / "config.yaml").read_text("utf-8"))["defaults"]
    assert groups == [next(iter(entry)) for entry in listed if entry != "_self_"]
    paths = [dotted(key) for key, _ in leaves(composition.values)]
    assert [row.parameter for row in rows[len(groups) :]] == paths


def test_value_from_a_run_file_names_it_and_the_default_it_replaced() -> None:
    row = rows_of(run_files=[RUN_FILE])["data.kwargs.num_workers"]
    assert row == Row(
        "data.kwargs.num_workers",
        "4",
        line_of("config/runs/first_run.yaml", "num_workers:"),
        "",
        "12",
        line_of("config/data/perturbation.yaml", "num_workers:"),
        "yes",
        "operational: preflight train",
    )


def test_value_given_again_is_confirmed() -> None:
    row = rows_of(run_files=[RUN_FILE])["training.max_steps"]
    assert (row.value, row.default, row.overridden) == ("40000", "40000", "confirmed")
    assert row.source == line_of("config/runs/first_run.yaml", "max_steps:")


def test_override_beats_run_file_and_keeps_the_default_of_the_tree() -> None:
    row = rows_of(["training.max_steps=7"], [RUN_FILE])["training.max_steps"]
    assert (row.value, row.source) == ("7", "override 'training.max_steps=7'")
    assert (row.default, row.overridden) == ("40000", "yes")
    assert row.default_source == line_of("config/training/default.yaml", "max_steps:")


def test_a_value_of_another_kind_is_no_confirmation() -> None:
    rows = rows_of(["training.gradient_clip_val=10.0", "training.weight_decay=0.0005"])
    assert rows["training.gradient_clip_val"].overridden == "yes"
    assert rows["training.weight_decay"].overridden == "confirmed"


def test_untouched_value_names_its_line_alone() -> None:
    row = rows_of(run_files=[RUN_FILE])["model.kwargs.cell_set_len"]
    assert row.source == line_of("config/model/state_sm.yaml", "cell_set_len:")
    assert (row.overridden, row.default, row.default_source) == ("no", "", "")


def test_choice_of_a_group_is_traced() -> None:
    row = rows_of(run_files=[RUN_FILE])["model"]
    assert (row.value, row.default, row.overridden) == ("state_sm", "pertsets", "yes")
    assert row.source == line_of("config/runs/first_run.yaml", "- override /model")
    assert row.default_source == line_of("config/config.yaml", "- model: pertsets")
    again = rows_of(["model=pertsets"])["model"]
    assert (again.overridden, again.source) == ("confirmed", "override 'model=pertsets'")
    assert rows_of()["model"].overridden == "no"


def test_interpolation_shows_its_value_and_what_is_written() -> None:
    path = "model.kwargs.transformer_backbone_kwargs.hidden_size"
    row = rows_of(run_files=[RUN_FILE])[path]
    assert (row.value, row.written) == ("672", "${model.kwargs.hidden_dim}")
    assert row.overridden == "no"
    same = rows_of([f"{path}=672"], [RUN_FILE])[path]
    assert (same.overridden, same.default, same.written) == ("confirmed", "672", "")


def test_list_is_one_row_even_where_one_item_was_overridden(make_tree: Callable[..., Path]) -> None:
    folder = make_tree("a: {l: [1, 2], m: [{x: 1}, 5]}\n")
    rows = rows_of(["a.l.1=5", "a.m.0.x=9"], folder=folder)
    assert rows["a.l"].value == "[1, 5]"
    assert (rows["a.l"].source, rows["a.l"].default) == ("override 'a.l.1=5'", "[1, 2]")
    assert (rows["a.m"].value, rows["a.m"].default) == ("[{x: 9}, 5]", "[{x: 1}, 5]")
    assert "a.l.1" not in rows


def test_added_key_replaces_nothing(make_tree: Callable[..., Path]) -> None:
    row = rows_of(["+a.c=1"], folder=make_tree("a: {b: 1}\n"))["a.c"]
    assert (row.overridden, row.default, row.default_source) == ("yes", "", "")


def test_deleted_key_is_a_row_of_its_own(make_tree: Callable[..., Path]) -> None:
    folder = make_tree("a: {b: 1, c: {d: 2}}\n")
    rows = rows_of(["~a.c"], folder=folder)
    assert list(rows) == ["a.b", "a.c.d"]
    assert (rows["a.c.d"].value, rows["a.c.d"].default) == ("", "2")
    assert (rows["a.c.d"].overridden, rows["a.c.d"].source) == ("yes", "override '~a.c'")
    assert rows_of(["~a.c", "+a.c.d=3"], folder=folder)["a.c.d"].value == "3"


def test_null_default_is_told_from_none_at_all(make_tree: Callable[..., Path]) -> None:
    row = rows_of(["a=1"], folder=make_tree("a: null\n"))["a"]
    assert (row.default, row.overridden) == ("null", "yes")
    assert rows_of(["a=null"], folder=make_tree("a: null\n"))["a"].overridden == "confirmed"


def test_keys_copied_through_an_interpolation_have_the_source_around_them(
    make_tree: Callable[..., Path],
) -> None:
    folder = make_tree(
        "defaults: [part, other, _self_]\nk: 1\n",
        {"part": "src: {x: 1, y: 2}\nb: ${src}\n", "other": "b: {y: 3}\n"},
    )
    rows = rows_of(folder=folder)
    assert rows["b.x"].value == "1"
    assert rows["b.x"].source == "config/other.yaml:1"
    assert rows["b.y"].value == "3"


@pytest.mark.parametrize("value", ["null", "1e3", "x: y", "a\\tb", "", "[1", "yes"])
def test_texts_come_back_out_of_the_tsv(value: str, make_tree: Callable[..., Path]) -> None:
    folder = make_tree("a: 1\n")
    text = to_tsv(
        trace_rows(compose_traced(folder, "config", [], [f"a='{value}'"])),
    )
    table = pd.read_csv(io.StringIO(text), sep="\t", dtype=str, keep_default_na=False)
    assert yaml.safe_load(table.set_index("parameter").loc["a", "value"]) == value


def test_inert_key_set_to_another_value_warns_by_name() -> None:
    path = "model.kwargs.softplus"
    (warning,) = inert_warnings(list(rows_of([f"{path}=false"], [RUN_FILE]).values()))
    assert warning.startswith(f"override '{path}=false': {path} is set to false (default true)")
    assert "nothing reads it" in warning
    assert inert_warnings(list(rows_of([f"{path}=true"], [RUN_FILE]).values())) == []
    assert inert_warnings(list(rows_of(["training.lr=1"], [RUN_FILE]).values())) == []


def test_inert_key_of_an_option_of_ones_own_warns_too(tmp_path: Path) -> None:
    tree = tmp_path / "config"
    shutil.copytree(CONFIG, tree)
    text = (tree / "model" / "state_sm.yaml").read_text("utf-8")
    (tree / "model" / "mine.yaml").write_text(
        text.replace("softplus: True", "softplus: False"), encoding="utf-8"
    )
    rows = trace_rows(compose_traced(tree, "config", [], ["model=mine"]))
    (warning,) = inert_warnings(rows)
    assert warning.startswith("config/model/mine.yaml:")
    assert "model.kwargs.softplus is set to false (default true)" in warning


@pytest.mark.parametrize("model", ["pertsets", "state_sm"])
def test_options_have_the_defaults_of_inert_keys(model: str) -> None:
    rows = trace_rows(compose_traced(CONFIG, "config", [], [f"model={model}"]))
    assert inert_warnings(rows) == []
    without = {key.path for key in KEYS.values() if key.kind == "inert" and key.usual is ...}
    assert {path.rpartition(".")[2] for path in without} == {
        *("name", "max_position_embeddings", "n_positions", "vocab_size")
    }


def test_every_row_of_the_projects_config_has_a_status() -> None:
    for row in rows_of(run_files=[RUN_FILE]).values():
        kind, _, rest = row.status.partition(": ")
        assert row.status == "choice of a group" or (
            kind in ("identity", "extent", "operational", "inert") and rest
        )
