"""Splits that are drawn: seeded, alike for large and small perturbations, and written down."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.cells.test_splits import FROM_TOML, FROM_TRAIN, GOOD, errors, groups, of, split
from workflow_scripts.cells.drawing import MakeSettings, draw_alike, split_file_text
from workflow_scripts.cells.filters import FilterSettings
from workflow_scripts.cells.split_file import SplitFile, read_split_file
from workflow_scripts.cells.splits import Splits, SplitSettings, split_groups, splits_report

NO_FILE = SplitFile("no split file", {}, ("d",), {}, {})


def many(n_perturbations: int = 40) -> pd.DataFrame:
    rows = [
        ("d", "d.h5ad", context, f"p{number:02d}", False, 10 + number)
        for context in ("k562", "rpe1")
        for number in range(n_perturbations)
    ]
    rows += [("d", "d.h5ad", context, "control", True, 500) for context in ("k562", "rpe1")]
    columns = ["dataset", "file", "context", "perturbation", "is_control", "n_cells"]
    return pd.DataFrame(rows, columns=columns)


def make(*contexts: str, table: pd.DataFrame | None = None, seed: int = 42) -> Splits:
    settings = replace(FROM_TOML, make=MakeSettings(contexts, 0.3, 0.1), seed=seed)
    return split_groups(many() if table is None else table, NO_FILE, settings)


def sizes(splits: Splits, context: str) -> dict[str, int]:
    table = splits.table
    return dict(table[table["context"] == context]["split"].value_counts())


def test_made_split_holds_out_its_share_of_the_context_and_nothing_else():
    splits = make("d.k562")
    assert errors(splits) == ""
    assert sizes(splits, "k562") == {"train": 24, "test": 12, "val": 4, "control": 1}
    assert sizes(splits, "rpe1") == {"train": 40, "control": 1}


def test_made_split_is_seeded_and_each_context_by_itself():
    first, again = make("d.k562"), make("d.k562")
    pd.testing.assert_frame_equal(first.table, again.table)
    both = make("d.rpe1", "d.k562").table
    k562 = both["context"] == "k562"
    pd.testing.assert_frame_equal(both[k562], first.table[k562])
    assert not make("d.k562", seed=1).table.equals(first.table)


def test_draw_takes_as_many_from_small_as_from_large_perturbations():
    labels = [f"p{number}" for number in range(100)]  # smallest first
    drawn = draw_alike(labels, 0.2, np.random.default_rng(0))
    fifths = [int(name[1:]) // 20 for name in drawn]
    assert sorted(fifths) == [fifth for fifth in range(5) for _ in range(4)]


@pytest.mark.parametrize(("n_labels", "expected"), [(0, 0), (1, 0), (2, 1), (3, 1), (10, 3)])
def test_draw_takes_one_at_least_and_never_all(n_labels, expected):
    labels = [f"p{number}" for number in range(n_labels)]
    assert len(draw_alike(labels, 0.3, np.random.default_rng(0))) == expected
    assert len(draw_alike(labels, 0.999, np.random.default_rng(0))) == max(0, n_labels - 1)


def test_every_label_can_be_drawn():
    generator = np.random.default_rng(0)
    labels = list("abcdefg")
    seen = {name for _ in range(200) for name in draw_alike(labels, 0.3, generator)}
    assert seen == set(labels)


def test_unknown_context_is_named_with_the_nearest():
    assert "splits.make.contexts: the data has no context 'd.K562': did you mean `d.k562`" in (
        errors(make("d.K562"))
    )


def test_context_that_the_file_holds_out_as_well_is_an_error(tmp_path):
    settings = replace(FROM_TOML, make=MakeSettings(("d.k562",)))
    assert "holds out some of it as well" in errors(split(tmp_path, GOOD, settings))


def written(splits: Splits, plan: SplitFile, path: Path) -> SplitFile:
    path.write_text(split_file_text(splits.table, plan, {"d": ["/data/d.h5ad"]}))
    return read_split_file(path)


def test_made_split_is_written_as_a_file_that_gives_it_again(tmp_path):
    splits = make("d.k562")
    plan = written(splits, NO_FILE, tmp_path / "splits.toml")
    assert plan.datasets == {"d": ("/data/d.h5ad",)}
    again = split_groups(many(), plan, FROM_TOML)
    assert errors(again) == ""
    pd.testing.assert_frame_equal(again.table, splits.table)


@pytest.mark.parametrize(
    "toml",
    [
        GOOD,
        GOOD.replace('val = ["A"]\n', ""),
        GOOD.replace('"d.rpe1" = "test"', '"d.rpe1" = "test"\n"d.hepg2.v2" = "train"').replace(
            '[training]\nd = "train"\n', ""
        ),
    ],
)
def test_applied_split_gives_itself_again(tmp_path, toml):
    splits = split(tmp_path, toml, FROM_TRAIN)
    assert errors(splits) == ""
    plan = read_split_file(tmp_path / "starter.toml")
    again = split_groups(groups(), written(splits, plan, tmp_path / "made.toml"), FROM_TOML)
    assert errors(again) == ""
    pd.testing.assert_frame_equal(again.table, splits.table)


def test_dropped_datasets_are_not_in_the_written_file(tmp_path):
    toml = GOOD.replace('d = "train"', 'e = "train"')
    path = tmp_path / "starter.toml"
    path.write_text('[datasets]\nd = "x"\ne = "y"\n' + toml)
    splits = split_groups(groups(("d", "e")), read_split_file(path), FROM_TOML)
    text = split_file_text(splits.table, read_split_file(path), {})
    assert tomllib.loads(text)["training"] == {"e": "train"}
    assert "hepg2" not in text


def test_nothing_is_tested_when_asked(tmp_path):
    settings = replace(FROM_TOML, test="none")
    splits = split(tmp_path, GOOD, settings)
    assert errors(splits) == ""
    assert set(splits.table["split"]) == {"train", "val", "control"}
    report = splits_report(splits, settings)
    assert report["claims"]["sentence"] == (
        "Nothing is held out for test: no score can be claimed."
    )
    assert any(f.code == "no-test" for f in splits.findings)


def test_empty_test_split_names_the_ways_out(tmp_path):
    toml = '[training]\nd = "train"\n[fewshot."d.k562"]\nval = ["A"]\n'
    text = errors(split(tmp_path, toml))
    assert "the test split is empty" in text
    assert "splits.test=none" in text


@pytest.mark.parametrize(
    ("policy", "expected"), [("share", "control"), ("keep_out", "held_out_control")]
)
def test_controls_of_a_held_out_context_follow_the_policy(tmp_path, policy, expected):
    splits = split(tmp_path, GOOD, replace(FROM_TOML, held_out_controls=policy))
    assert of(splits, "rpe1", "control") == expected
    assert of(splits, "k562", "control") == "control"
    (note,) = [f for f in splits.findings if f.code == "held-out-controls"]
    assert f"(splits.held_out_controls={policy}): d.rpe1" in note.message
    assert splits_report(splits, FROM_TOML)["controls"]["n_cells_kept_out"] == (
        10 if policy == "keep_out" else 0
    )


def test_controls_of_a_dropped_context_are_dropped(tmp_path):
    splits = split(tmp_path, GOOD.replace('[training]\nd = "train"\n', ""))
    assert of(splits, "hepg2.v2", "control") == "dropped"
    assert of(splits, "rpe1", "control") == "control"


def test_perturbations_with_few_cells_are_left_out_and_counted(tmp_path):
    table = groups()
    table.loc[(table["perturbation"] == "C") & (table["context"] == "k562"), "n_cells"] = 4
    table.loc[table["perturbation"] == "control", "n_cells"] = 3
    path = tmp_path / "starter.toml"
    path.write_text(GOOD)
    settings = replace(FROM_TOML, filters=FilterSettings(least_cells=5))
    splits = split_groups(table, read_split_file(path), settings)
    assert errors(splits) == ""
    assert of(splits, "k562", "C") == "dropped"
    assert of(splits, "rpe1", "C") == "test"
    assert of(splits, "k562", "control") == "control"
    (note,) = [f for f in splits.findings if f.code == "too-few-cells"]
    assert "1 groups of 4 cells are left out" in note.message
    assert not any(f.code == "dropped" for f in splits.findings)


def knocked(context: str, perturbation: str, target: str, change: float) -> dict[str, object]:
    return {
        "dataset": "d",
        "file": "d.h5ad",
        "context": context,
        "perturbation": perturbation,
        "target": target,
        "log2_fold_change": change,
    }


def test_perturbations_whose_target_stayed_are_left_out(tmp_path):
    path = tmp_path / "starter.toml"
    path.write_text(GOOD)
    settings: SplitSettings = replace(FROM_TOML, filters=FilterSettings(least_knockdown=0.5))
    table = [
        knocked("k562", "D", "D", -0.9),  # lost 46 %
        knocked("k562", "E", "E", -1.1),  # lost 53 %
        knocked("rpe1", "B", "x", -3.0),  # a combination: both targets count
        knocked("rpe1", "B", "y", 0.2),
    ]
    splits = split_groups(groups(), read_split_file(path), settings, table)
    assert [of(splits, "k562", name) for name in "DE"] == ["dropped", "train"]
    assert [of(splits, "rpe1", name) for name in "ABC"] == ["test", "dropped", "test"]
    (note,) = [f for f in splits.findings if f.code == "weak-knockdown"]
    assert note.names == ("k562/D", "rpe1/B")


def test_dropped_out_groups_are_not_drawn_from():
    table = many()
    table.loc[table["perturbation"] == "p00", "n_cells"] = 1
    settings = replace(
        FROM_TOML, make=MakeSettings(("d.k562",), 0.9, 0.09), filters=FilterSettings(5)
    )
    splits = split_groups(table, NO_FILE, settings)
    assert of(splits, "k562", "p00") == "dropped"
    (made,) = [f for f in splits.findings if f.code == "split-made"]
    assert "p00" not in made.names
