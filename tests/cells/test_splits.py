"""Every group of cells lands in the split that the split file says, or the run is stopped."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from workflow_scripts.cells.split_file import dataset_files, read_split_file
from workflow_scripts.cells.splits import Splits, SplitSettings, claims, split_groups
from workflow_scripts.errors import ConfigError

FROM_TOML = SplitSettings("from_toml", 0.1, "error", 42)
FROM_TRAIN = SplitSettings("from_train", 0.4, "error", 42)


def groups(datasets: tuple[str, ...] = ("d",)) -> pd.DataFrame:
    rows = [
        (dataset, f"{dataset}.h5ad", context, perturbation, perturbation == "control", 10)
        for dataset in datasets
        for context in ("k562", "rpe1", "hepg2.v2")
        for perturbation in ("control", "A", "B", "C", "D", "E")
    ]
    columns = ["dataset", "file", "context", "perturbation", "is_control", "n_cells"]
    return pd.DataFrame(rows, columns=columns)


def split(tmp_path: Path, toml: str, settings: SplitSettings = FROM_TOML) -> Splits:
    path = tmp_path / "starter.toml"
    path.write_text('[datasets]\nd = "d.h5ad"\n' + toml)
    return split_groups(groups(), read_split_file(path), settings)


def of(splits: Splits, context: str, perturbation: str) -> str:
    table = splits.table
    here = (table["context"] == context) & (table["perturbation"] == perturbation)
    (only,) = table.loc[here, "split"]
    return str(only)


def errors(splits: Splits) -> str:
    return "\n".join(f.message for f in splits.findings if f.severity == "error")


GOOD = """
[training]
d = "train"
[fewshot."d.k562"]
val = ["A"]
test = ["B", "C"]
[zeroshot]
"d.rpe1" = "test"
"""


def test_fewshot_holds_out_its_lists_and_zeroshot_the_whole_context(tmp_path):
    splits = split(tmp_path, GOOD)
    assert errors(splits) == ""
    assert [of(splits, "k562", p) for p in "ABCDE"] == ["val", "test", "test", "train", "train"]
    assert [of(splits, "rpe1", p) for p in "ABCDE"] == ["test"] * 5
    assert [of(splits, "hepg2.v2", p) for p in "ABCDE"] == ["train"] * 5
    assert of(splits, "rpe1", "control") == "control"


def test_zeroshot_beats_fewshot(tmp_path):
    splits = split(tmp_path, GOOD + '[fewshot."d.rpe1"]\nval = ["A"]\n')
    assert of(splits, "rpe1", "A") == "test"
    assert any(f.code == "zeroshot-beats-fewshot" for f in splits.findings)


def test_dataset_without_training_is_dropped_but_for_its_named_contexts(tmp_path):
    splits = split(tmp_path, GOOD.replace('[training]\nd = "train"\n', ""))
    assert of(splits, "hepg2.v2", "A") == "dropped"
    assert of(splits, "k562", "D") == "train"
    assert any("not used: d.hepg2.v2" in f.message for f in splits.findings)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (GOOD.replace("d.k562", "d.K562"), "no context 'd.K562'; did you mean 'd.k562'?"),
        (GOOD.replace("d.rpe1", "d.rpe"), "no context 'd.rpe'; did you mean 'd.rpe1'?"),
        (GOOD.replace('"C"]', '"Q"]'), "no perturbation 'Q'; there are A, B, C, D, E"),
        (GOOD.replace('\nd = "train"', '\nreplogle = "train"'), "no dataset 'replogle'"),
        (GOOD.replace('val = ["A"]', 'val = ["B"]'), "names B both in val and in test"),
        (GOOD.replace('val = ["A"]', 'val = ["control"]'), "names the control 'control'"),
        (GOOD.replace('val = ["A"]\n', ""), "the val split is empty"),
    ],
)
def test_selector_that_says_something_else_than_meant_is_an_error(tmp_path, toml, message):
    assert message in errors(split(tmp_path, toml))


def test_overlap_is_tested_when_asked(tmp_path):
    toml = GOOD.replace('val = ["A"]', 'val = ["A", "B"]')
    splits = split(tmp_path, toml, SplitSettings("from_toml", 0.1, "test_wins", 42))
    assert errors(splits) == ""
    assert of(splits, "k562", "B") == "test"


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (["D", "E"], ""),
        (["control", "D", "E"], ""),
        (["D"], "train leaves out E, which would train too"),
        (["D", "E", "Dd"], "train: the data has no perturbation 'Dd'"),
    ],
)
def test_list_of_what_trains_is_held_to_what_remains(tmp_path, train, message):
    found = errors(split(tmp_path, GOOD.replace('val = ["A"]', f'val = ["A"]\ntrain = {train}')))
    assert message in found
    assert bool(found) == bool(message)


def test_validation_is_drawn_from_training_and_never_from_test(tmp_path):
    toml = GOOD.replace('val = ["A"]\n', "")
    first, second = (split(tmp_path, toml, FROM_TRAIN) for _ in range(2))
    assert errors(first) == ""
    drawn = first.table[first.table["split"] == "val"]
    assert set(drawn["perturbation"]) < {"A", "D", "E"}
    assert set(drawn["context"]) == {"k562"}
    pd.testing.assert_frame_equal(first.table, second.table)
    assert [of(first, "k562", p) for p in "BC"] == ["test", "test"]
    assert any(f.code == "validation-drawn" for f in first.findings)


def test_claims_tell_new_combinations_from_unseen_ones(tmp_path):
    fewshot = split(tmp_path, GOOD.replace('[zeroshot]\n"d.rpe1" = "test"\n', ""))
    claimed = claims(fewshot.table)
    assert (claimed["unseen_perturbation"], claimed["unseen_context"]) == (False, False)
    zeroshot = split(
        tmp_path,
        '[training]\nd = "train"\n[zeroshot]\n"d.rpe1" = "test"\n"d.k562" = "val"\n',
    )
    claimed = claims(zeroshot.table)
    assert (claimed["unseen_perturbation"], claimed["unseen_context"]) == (False, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[datasets\n", "not a readable TOML file"),
        ("[dataset]\n", r"unknown section \[dataset\]"),
        ('[training]\nd = "test"\n', r"\[training\] d is 'test'"),
        ('[zeroshot]\n"d.k562" = "tset"\n', "can be train, val, test"),
        ('[zeroshot]\nd.k562 = "test"\n', "write the name in quotes"),
        ('[fewshot.d.k562]\ntest = ["A"]\n', "write the name in quotes"),
        ('[fewshot."d.k562"]\ntests = ["A"]\n', "no such split"),
        ('[fewshot."d.k562"]\ntest = "A"\n', "list names in quotes"),
        ('[fewshot."d.k562"]\ntest = [1]\n', "list names in quotes"),
        ('[fewshot."d.k562"]\ntrain = ["A"]\ntest = ["A"]\n', "train names A, which val or test"),
    ],
)
def test_malformed_split_file_says_what_it_takes(tmp_path, text, message):
    path = tmp_path / "starter.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_split_file(path)


def test_dataset_patterns_know_folders_globs_and_braces(tmp_path):
    for name in ("a.h5ad", "b.h5ad", "c.h5", "notes.txt"):
        (tmp_path / name).touch()

    def names(pattern: str) -> list[str]:
        return [Path(path).name for path in dataset_files({"d": f"{tmp_path}{pattern}"})["d"]]

    assert names("") == ["a.h5ad", "b.h5ad", "c.h5"]
    assert names("/*.h5ad") == ["a.h5ad", "b.h5ad"]
    assert names("/{b,c}.h5*") == ["b.h5ad", "c.h5"]
    assert names("/{a,gone}.h5ad") == ["a.h5ad", "gone.h5ad"]
    assert names("/x*.h5ad") == []


def test_file_spelled_in_two_ways_is_one_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.h5ad").touch()
    given = ["./data", "data/*.h5ad", str(tmp_path / "data" / "a.h5ad")]
    assert len(dataset_files({"d": given})["d"]) == 1


def test_pair_that_trains_in_another_dataset_is_no_claim(tmp_path):
    path = tmp_path / "starter.toml"
    path.write_text(
        '[datasets]\nd = "x"\ne = "y"\n[training]\nd = "train"\ne = "train"\n'
        '[fewshot."d.k562"]\nval = ["A"]\ntest = ["B"]\n'
    )
    splits = split_groups(groups(("d", "e")), read_split_file(path), FROM_TOML)
    assert claims(splits.table)["trained_pairs"] == ["k562/B"]
    assert "and show nothing" in claims(splits.table)["sentence"]
    (error,) = [f for f in splits.findings if f.code == "tested-and-trained"]
    assert error.severity == "error"
    assert "k562/B" in error.message


def test_claims_count_the_perturbations_that_were_never_trained_on(tmp_path):
    table = split(tmp_path, GOOD.replace('[zeroshot]\n"d.rpe1" = "test"\n', "")).table
    only_here = table["perturbation"] == "C"
    table = table[~only_here | (table["context"] == "k562")]
    claimed = claims(table)
    assert claimed["unseen_perturbation"] is False
    assert "1 whose perturbation was never trained on" in claimed["sentence"]
    assert "1 whose perturbation was trained on in other contexts" in claimed["sentence"]


def test_validation_that_can_not_be_drawn_says_why(tmp_path):
    toml = '[training]\nd = "train"\n[fewshot."d.k562"]\ntest = ["A", "B", "C", "D"]\n'
    toml += '[zeroshot]\n"d.rpe1" = "test"\n"d.hepg2.v2" = "test"\n'
    assert "too few training perturbations to draw one from" in errors(
        split(tmp_path, toml, FROM_TRAIN)
    )


def test_context_of_two_datasets_is_pooled_and_said_so(tmp_path):
    path = tmp_path / "starter.toml"
    path.write_text('[training]\nd = "train"\ne = "train"\n')
    splits = split_groups(groups(("d", "e")), read_split_file(path), FROM_TRAIN)
    assert any(f.code == "context-in-two-datasets" for f in splits.findings)
