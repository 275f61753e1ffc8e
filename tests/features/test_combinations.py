"""Combinations get their own vector, or one made of their parts'; what lacks one is said."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.features.feature_audits import LABELS, VECTORS, audit, found, vector

PAIRS = [*LABELS, "A+B", "A+control", "B + HLA-A"]


@pytest.mark.parametrize(
    ("policy", "expected"), [("sum", [1, 2, 0, 1]), ("mean", [0.5, 1, 0, 0.5])]
)
def test_combinations_are_made_of_their_parts(tmp_path, policy, expected):
    result = audit(tmp_path, labels=PAIRS, combinations=policy)
    assert found(result) == {}
    np.testing.assert_array_equal(vector(result, "A+B"), expected)
    np.testing.assert_array_equal(vector(result, "A+control"), VECTORS["A"])
    assert result.report["made"]["B + HLA-A"] == f"the {policy} of B and HLA-A"
    assert result.report["missing"] == []


def test_combinations_without_a_policy_are_an_error_and_own_vectors_win(tmp_path):
    result = audit(tmp_path, labels=PAIRS)
    problem = found(result)["error features-combinations"]
    assert problem["names"] == ("A+B", "B + HLA-A")
    assert "features.combinations=sum or mean" in problem["message"]
    own = {**VECTORS, "A+B": torch.tensor([0.0, 3.0, 0.0, 1.0])}
    result = audit(tmp_path, own, [*LABELS, "A+B"], combinations="sum")
    np.testing.assert_array_equal(vector(result, "A+B"), own["A+B"])


def test_a_combination_lacks_a_vector_where_a_part_does(tmp_path):
    result = audit(tmp_path, labels=[*LABELS, "A+gone"], combinations="sum")
    assert found(result)["error features-missing"]["names"] == ("A+gone",)


@pytest.mark.parametrize("label", ["A+gone", "gone + A", "A+B+gone"])
def test_the_part_that_has_no_vector_is_named(tmp_path, label):
    result = audit(tmp_path, labels=[*LABELS, label], combinations="sum")
    assert f"{label} (no gone)" in found(result)["error features-missing"]["message"]


def test_other_names_of_parts_are_suggested(tmp_path):
    labels = [*LABELS, "A+HLAA", "A+ctrl"]
    message = found(audit(tmp_path, labels=labels, combinations="sum"))["error features-missing"][
        "message"
    ]
    assert "A+HLAA (no HLAA: it has HLA-A)" in message
    assert "A+ctrl (no ctrl: perhaps the control, control)" in message
    aliases = {"HLAA": "HLA-A", "ctrl": "control"}
    result = audit(tmp_path, labels=labels, combinations="sum", aliases=aliases)
    assert found(result) == {}
    np.testing.assert_array_equal(vector(result, "A+HLAA"), VECTORS["A"] + VECTORS["HLA-A"])
    np.testing.assert_array_equal(vector(result, "A+ctrl"), VECTORS["A"])
    made = "the sum of A and HLAA (HLAA: the vector of HLA-A (features.aliases))"
    assert result.report["made"]["A+HLAA"] == made


def test_a_vector_under_another_order_of_the_parts_is_taken(tmp_path):
    content = {**VECTORS, "B + A": torch.tensor([0.0, 3.0, 0.0, 1.0])}
    labels = [*LABELS, "A+B"]
    for policies in ({}, {"combinations": "sum"}, {"aliases": {"B+A": "B + A"}}):
        result = audit(tmp_path, content, labels, **policies)
        assert found(result) == {}
        np.testing.assert_array_equal(vector(result, "A+B"), content["B + A"])
    content["A+B"] = torch.tensor([0.0, 4.0, 0.0, 1.0])
    result = audit(tmp_path, content, labels)
    np.testing.assert_array_equal(vector(result, "A+B"), content["A+B"])


@pytest.mark.parametrize("label", ["CD4+", "+A", "+", "A++B"])
def test_a_plus_in_a_name_makes_no_combination(tmp_path, label):
    problem = found(audit(tmp_path, labels=[*LABELS, label], combinations="sum"))
    assert problem["error features-missing"]["names"] == (label,)
    result = audit(tmp_path, {**VECTORS, label: VECTORS["A"] + 1}, [*LABELS, label])
    np.testing.assert_array_equal(vector(result, label), VECTORS["A"] + 1)
