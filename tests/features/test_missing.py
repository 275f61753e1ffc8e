"""Names that the file lacks are listed with what it may call them, and with every way out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.features.feature_audits import LABELS, VECTORS, audit, found, vector, without
from workflow_scripts.errors import ConfigError
from workflow_scripts.features.names import KnownNames, alias_setting, visible
from workflow_scripts.features.validation import FeatureSettings
from workflow_scripts.settings.slices import Slice


def test_all_missing_names_are_listed_with_the_nearest(tmp_path):
    result = audit(tmp_path, {"A": VECTORS["A"], "HLAA": VECTORS["HLA-A"]})
    missing = found(result)["error features-missing"]
    assert (
        "no vector for 3 of the data's 4 perturbations: B, HLA-A (it has HLAA), control"
        in missing["message"]
    )
    assert "+features.aliases.HLA-A=HLAA" in missing["message"]
    assert "features.control=zeros" in missing["message"]
    assert missing["names"] == ("B", "HLA-A", "control")
    assert len(result.features.names) == 0


@pytest.mark.parametrize(
    ("label", "in_file"),
    [
        ("SEPT2", "SEPTIN2"),
        ("MARCHF5", "MARCH5"),
        ("2-Sep", "SEPTIN2"),
        ("Mar-05", "MARCHF5"),
        ("SEPT2", "2-Sep"),
        ("AARS", "AARS1"),
        ("H2AX", "H2AFX"),
        ("hla_b", "HLA-B"),
        ("HLA-B", "HLA\u2011B"),
        ("C", "C\u00a0"),
        ("\u00e9", "e\u0301"),
    ],
)
def test_other_names_of_a_gene_are_suggested(tmp_path, label, in_file):
    content = {**VECTORS, in_file: torch.tensor([1.0, 1.0, 0.0, 2.0])}
    result = audit(tmp_path, content, [*LABELS, label])
    message = found(result)["error features-missing"]["message"]
    assert f"{visible(label)} (it has {visible(in_file)})" in message
    assert alias_setting(label, in_file) in message
    result = audit(tmp_path, content, [*LABELS, label], aliases={label: in_file})
    assert found(result) == {}
    np.testing.assert_array_equal(vector(result, label), content[in_file])
    assert result.report["made"] == {label: f"the vector of {in_file} (features.aliases)"}


@pytest.mark.parametrize("policy", ["mean", "zero"])
def test_a_stand_in_is_no_reason_to_keep_the_right_name_back(tmp_path, policy):
    content = {**without("HLA-A"), "HLAA": VECTORS["HLA-A"]}
    message = found(audit(tmp_path, content, missing=policy))["warning features-missing"]["message"]
    assert "HLA-A (it has HLAA); where another name is meant: +features.aliases." in message


def test_a_slip_of_the_pen_is_asked_about_and_offers_no_override(tmp_path):
    content = {**VECTORS, "CDKN1A": VECTORS["A"] + 1}
    problem = found(audit(tmp_path, content, [*LABELS, "CDKN1AA"]))["error features-missing"]
    assert "CDKN1AA (did you mean CDKN1A?)" in problem["message"]
    assert "features.aliases" not in problem["message"]


@pytest.mark.parametrize(("name", "other"), [("SLC25A11", "SLC25A1"), ("HNRNPA1", "HNRNPA0")])
def test_another_number_is_another_gene(name, other):
    assert KnownNames([other]).near(name) is None


@pytest.mark.parametrize(
    ("label", "name", "setting"),
    [
        ("HLA-A", "HLAA", "+features.aliases.HLA-A=HLAA"),
        # A dot would make two keys of one; a plus, a digit or a blank ends a key.
        ("NKX2.5", "NKX2-5", '{"NKX2.5": "NKX2-5"}'),
        ("A+B", "B+A", '{"A+B": "B+A"}'),
        ("2-Sep", "SEPTIN2", '{"2-Sep": "SEPTIN2"}'),
        ("A", "A ", '{"A": "A "}'),
        ("TP53", "7157", '{"TP53": "7157"}'),
        ("X", "NaN", '{"X": "NaN"}'),
    ],
)
def test_suggested_aliases_can_be_written_as_they_are(label, name, setting):
    assert setting in alias_setting(label, name)


@pytest.mark.parametrize("name", ["Control", "ctrl", "non-targeting"])
def test_the_controls_other_names_are_suggested(tmp_path, name):
    content = {**without("control"), name: VECTORS["control"]}
    problem = found(audit(tmp_path, content))["error features-missing"]
    assert f"control (it has {name})" in problem["message"]
    assert f"+features.aliases.control={name}" in problem["message"]
    result = audit(tmp_path, content, aliases={"control": name})
    np.testing.assert_array_equal(vector(result, "control"), VECTORS["control"])
    assert result.report["made"] == {"control": f"the vector of {name} (features.aliases)"}


def test_an_alias_wins_over_the_label_s_own_name(tmp_path):
    result = audit(tmp_path, aliases={"A": "B"})
    np.testing.assert_array_equal(vector(result, "A"), VECTORS["B"])
    assert result.report["made"] == {"A": "the vector of B (features.aliases)"}


def test_aliases_that_lead_nowhere_are_named(tmp_path):
    result = audit(tmp_path, without("B"), aliases={"B": "BB"})
    message = found(result)["error features-missing"]["message"]
    assert "B (features.aliases calls it BB, which is not there)" in message
    result = audit(tmp_path, aliases={"B": "BB"})
    assert "B: BB" in found(result)["note features-aliases"]["message"]
    result = audit(tmp_path, aliases={"typo": "B"})
    assert found(result)["note features-aliases"]["names"] == ("typo",)


@pytest.mark.parametrize("aliases", [{"NKX2": {"5": "NKX2-5"}}, {"TP53": 7157}, {7157: "TP53"}])
def test_aliases_that_are_no_text_are_refused(aliases):
    values = {
        "data.kwargs.perturbation_features_file": None,
        "features.aliases": aliases,
        **{f"features.embedding.{name}": None for name in ("model", "fasta", "window")},
        "features.embedding.precision": "32-true",
        **dict.fromkeys(("features.control", "features.missing", "features.combinations"), "error"),
        "features.stand_in": False,
    }
    with pytest.raises(ConfigError, match=r"features\.aliases: .* both must be text"):
        FeatureSettings.from_slice(Slice(values, {}, {}))
