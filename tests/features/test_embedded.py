"""Embedded vectors serve what the file lacks, and are checked like the file's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.features.feature_audits import (
    LABELS,
    VECTORS,
    audit,
    found,
    groups,
    vector,
    without,
)
from workflow_scripts.features.assignment import Policies, names_to_embed
from workflow_scripts.features.validation import (
    Embedded,
    FeatureAudit,
    FeatureSettings,
    validate_features,
)

EMBEDDED = Embedded(
    {"B": np.array([0, 0, 3, 1], np.float32)}, {"model": "tiny", "fasta": "p.fa", "absent": []}
)


def embed_audit(folder: Path, content: object, embedded: Embedded, **policies: Any) -> FeatureAudit:
    labels = [*LABELS, "A+B"] if "combinations" in policies else LABELS
    return audit(folder, content, labels, embedded, missing="embed", **policies)


def test_embedded_vectors_serve_what_the_file_lacks_and_are_named(tmp_path):
    result = embed_audit(tmp_path, without("B"), EMBEDDED)
    assert found(result) == {}
    np.testing.assert_array_equal(vector(result, "B"), EMBEDDED.vectors["B"])
    assert result.report["made"] == {"B": "embedded by tiny"}
    result = embed_audit(tmp_path, without("B"), EMBEDDED, combinations="sum")
    np.testing.assert_array_equal(vector(result, "A+B"), [1, 0, 3, 2])


def test_the_files_own_vectors_win_over_embedded_ones(tmp_path):
    result = embed_audit(tmp_path, VECTORS, EMBEDDED)
    np.testing.assert_array_equal(vector(result, "B"), VECTORS["B"])
    assert result.report["made"] == {}


def test_what_could_not_be_embedded_is_missing(tmp_path):
    result = embed_audit(tmp_path, without("B"), replace(EMBEDDED, vectors={}))
    problem = found(result)["error features-missing"]
    assert problem["names"] == ("B",)
    assert "add their proteins to features.embedding.fasta" in problem["message"]


def test_a_model_of_another_width_than_the_file_is_refused(tmp_path):
    wide = replace(EMBEDDED, vectors={"B": np.ones(7, np.float32)})
    problem = found(embed_audit(tmp_path, without("B"), wide))["error features-lengths"]
    assert "its vectors have 4 values, those that tiny gives have 7" in problem["message"]


def test_without_a_feature_file_everything_is_embedded():
    vectors = {name: VECTORS[name].numpy() for name in ("A", "B", "HLA-A")}
    settings = FeatureSettings((), Policies(missing="embed", control="zeros"))
    result = validate_features(
        groups(LABELS), "control", settings, replace(EMBEDDED, vectors=vectors)
    )
    assert found(result) == {}
    np.testing.assert_array_equal(vector(result, "HLA-A"), VECTORS["HLA-A"])
    np.testing.assert_array_equal(vector(result, "control"), np.zeros(4))


def test_names_to_embed_are_parts_and_aliases_of_what_has_no_vector():
    policies = Policies(aliases={"SEPT2": "SEPTIN2", "HLAA": "HLA-A"})
    labels = ["A", "B", "A+C", "C+control", "SEPT2", "HLAA", "control"]
    wanted = names_to_embed(labels, "control", policies, {"A", "HLA-A"})
    assert wanted == {"B", "C", "SEPT2", "SEPTIN2"}


def test_an_embedding_of_nothing_leaves_everything_missing():
    settings = FeatureSettings((), Policies(missing="embed", control="zeros"))
    result = validate_features(groups(LABELS), "control", settings, replace(EMBEDDED, vectors={}))
    assert found(result)["error features-missing"]["names"] == ("A", "B", "HLA-A")


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([np.nan, 0, 0, 1], "error features-not-finite"),
        ([0, 0, 0, 0], "error features-zero"),
        ([1, 0, 0, 1], "warning features-identical"),
        ([300, 0, 0, 1], "warning features-scale"),
    ],
)
def test_embedded_vectors_are_checked_like_the_files_own(tmp_path, values, code):
    odd = replace(EMBEDDED, vectors={"B": np.array(values, np.float32)})
    result = embed_audit(tmp_path, without("B"), odd)
    assert list(found(result)) == [code]
    assert "B" in found(result)[code]["names"]


def test_another_spelling_in_the_file_is_pointed_out_where_one_was_embedded(tmp_path):
    result = embed_audit(tmp_path, {**without("B"), "b": VECTORS["B"]}, EMBEDDED)
    assert "b = B" in found(result)["warning features-alike"]["message"]
    assert result.report["made"] == {"B": "embedded by tiny"}


def test_the_fasta_s_name_of_a_gene_is_suggested(tmp_path):
    facts = {**EMBEDDED.facts, "absent": ["B"], "likely": {"B": "BB1"}}
    result = embed_audit(tmp_path, without("B"), Embedded({}, facts))
    message = found(result)["error features-missing"]["message"]
    assert "B (the FASTA has BB1)" in message
    assert "+features.aliases.B=BB1" in message


def test_letters_that_were_replaced_are_noted(tmp_path):
    facts = {**EMBEDDED.facts, "replaced": ["B", "gone"]}
    note = found(embed_audit(tmp_path, without("B"), replace(EMBEDDED, facts=facts)))
    assert note["note features-embedding"]["names"] == ("B",)


def test_embedded_parts_and_aliases_are_named(tmp_path):
    labels = [*LABELS, "A+C", "D"]
    other = {"C": np.array([1, 0, 3, 1], np.float32), "DD": np.array([1, 2, 3, 1], np.float32)}
    embedded = replace(EMBEDDED, vectors=other)
    policies = {"missing": "embed", "combinations": "mean", "aliases": {"D": "DD"}}
    made = audit(tmp_path, VECTORS, labels, embedded, **policies).report["made"]
    assert made == {
        "A+C": "the mean of A and C (C: embedded by tiny)",
        "D": "the vector of DD (features.aliases), embedded by tiny",
    }
