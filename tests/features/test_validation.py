"""No perturbation goes without a vector: its own, or what a policy says, by name in the report."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from tests.features.feature_audits import (
    LABELS,
    VECTORS,
    audit,
    found,
    groups,
    vector,
    without,
)
from workflow_scripts.features.validation import FeatureSettings, validate_features
from workflow_scripts.features.vectors import load_features, write_features


def test_canonical_features_hold_the_vectors_of_the_data_by_name(tmp_path):
    result = audit(tmp_path, {"unused": torch.tensor([0.0, 0.0, 1.0, 1.0]), **VECTORS})
    assert found(result) == {}
    (file,) = result.report["files"]
    assert (file["n_vectors"], file["n_unused"], file["dimension"]) == (5, 1, 4)
    content = (tmp_path / "features.pt").read_bytes()
    assert file["sha256"] == hashlib.sha256(content).hexdigest()
    write_features(result.features, tmp_path / "features.safetensors")
    features = load_features(tmp_path / "features.safetensors")
    assert features.names == tuple(sorted(LABELS))
    for name in LABELS:
        row = features.matrix[features.names.index(name)]
        np.testing.assert_array_equal(row, VECTORS[name])


def test_null_is_one_hot_over_the_sorted_names():
    result = validate_features(groups(LABELS), "control", FeatureSettings())
    assert result.features.names == tuple(sorted(LABELS))
    np.testing.assert_array_equal(result.features.matrix, np.eye(4))


@pytest.mark.parametrize(("policy", "expected"), [("mean", [0.5, 1.0, 0, 0.5]), ("zero", [0] * 4)])
def test_missing_vectors_follow_the_policy_and_are_named(tmp_path, policy, expected):
    content = without("HLA-A")
    result = audit(tmp_path, content, missing=policy)
    assert list(found(result)) == ["warning features-missing"]
    assert found(result)["warning features-missing"]["names"] == ("HLA-A",)
    np.testing.assert_array_equal(vector(result, "HLA-A"), expected)
    assert list(result.report["made"]) == result.report["missing"] == ["HLA-A"]
    coverage = {"n_perturbations": 3, "n_with_vector": 2, "n_cells": 30, "n_cells_without": 10}
    assert result.report["coverage"] == {"k562": coverage}


def test_the_missing_policy_makes_up_no_vector_for_the_control(tmp_path):
    content = without("control")
    missing = found(audit(tmp_path, content, missing="mean"))["error features-missing"]
    assert missing["names"] == ("control",)
    assert "remove these perturbations" not in missing["message"]


def test_the_missing_policy_needs_a_vector_to_begin_with(tmp_path):
    result = audit(tmp_path, {"control": VECTORS["control"]}, missing="mean")
    assert found(result)["error features-missing"]["names"] == ("A", "B", "HLA-A")


@pytest.mark.parametrize(
    ("policy", "expected"), [("zeros", [0.0] * 4), ("mean", [1 / 3, 1.0, 2 / 3, 1 / 3])]
)
def test_control_policy_gives_the_control_its_vector(tmp_path, policy, expected):
    content = without("control")
    result = audit(tmp_path, content, control=policy)
    assert found(result) == {}
    np.testing.assert_allclose(vector(result, "control"), expected, rtol=1e-6)


def test_a_control_of_zeros_is_usual(tmp_path):
    assert found(audit(tmp_path, {**VECTORS, "control": torch.zeros(4)})) == {}


def test_several_files_are_concatenated_by_name(tmp_path):
    second = {name: torch.tensor([at / 3, 0.5]) for at, name in enumerate(LABELS)}
    torch.save(VECTORS, tmp_path / "one.pt")
    torch.save(second, tmp_path / "two.pt")
    files = (tmp_path / "one.pt", tmp_path / "two.pt")
    result = validate_features(groups(LABELS), "control", FeatureSettings(files))
    assert found(result) == {}
    for name in LABELS:
        np.testing.assert_array_equal(
            vector(result, name), np.concatenate([VECTORS[name], second[name]])
        )
    assert [file["dimension"] for file in result.report["files"]] == [4, 2]


def test_a_name_must_be_in_each_of_several_files(tmp_path):
    torch.save(VECTORS, tmp_path / "one.pt")
    torch.save({n: 100 * VECTORS[n] for n in ("A", "HLA-A", "control")}, tmp_path / "two.pt")
    files = (tmp_path / "one.pt", tmp_path / "two.pt")
    keyed = found(validate_features(groups(LABELS), "control", FeatureSettings(files)))
    assert "two.pt: no vector for 1 of" in keyed["error features-missing"]["message"]
    assert "the feature files differ in scale" in keyed["warning features-scale"]["message"]


def test_one_file_twice_is_pointed_out(tmp_path):
    torch.save(VECTORS, tmp_path / "one.pt")
    (tmp_path / "two.pt").write_bytes((tmp_path / "one.pt").read_bytes())
    one, two = (tmp_path / name for name in ("one.pt", "two.pt"))
    result = validate_features(groups(LABELS), "control", FeatureSettings((one, one)))
    assert "one.pt; each is taken once" in found(result)["warning features-files"]["message"]
    assert result.report["dimension"] == 4
    result = validate_features(groups(LABELS), "control", FeatureSettings((one, two)))
    assert "two.pt hold the same" in found(result)["warning features-files"]["message"]


@pytest.mark.parametrize("policy", ["zeros", "mean"])
def test_data_without_perturbations_are_an_error_and_no_crash(tmp_path, policy):
    result = audit(tmp_path, labels=["control"], control=policy)
    assert list(found(result)) == ["error features-control"]


def test_neighbours_and_spectrum_are_those_of_the_vectors(tmp_path):
    report = audit(tmp_path).report
    assert [name for name, _ in report["neighbours"]["B"]] == ["HLA-A", "A"]
    assert report["neighbours"]["B"][0][1] == pytest.approx(1 / np.sqrt(5), abs=1e-6)
    rows = np.stack([VECTORS[name].numpy() for name in ("A", "B", "HLA-A")])
    variances = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2
    np.testing.assert_allclose(report["spectrum"]["shares"], variances / variances.sum(), atol=1e-5)
    assert report["spectrum"]["n_components_95"] == 2
    norms = np.linalg.norm(rows, axis=1)
    assert report["norms"]["most"] == pytest.approx(norms.max())
