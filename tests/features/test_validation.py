"""A feature file is read without running its code, and a perturbation without a vector stops."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from workflow_scripts.features.validation import (
    FeatureAudit,
    FeatureSettings,
    load_features,
    validate_features,
    write_features,
)

LABELS = ("A", "B", "HLA-A", "control")


def vectors(*names: str, dimension: int = 4) -> dict[str, torch.Tensor]:
    return {name: torch.full((dimension,), float(at + 1)) for at, name in enumerate(names)}


def audit(path: Path | None, control: str = "given") -> FeatureAudit:
    return validate_features(LABELS, "control", FeatureSettings(path, control, False))


def messages(result: FeatureAudit) -> str:
    return "\n".join(f["message"] for f in result.report["findings"] if f["severity"] == "error")


def save(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "features.pt"
    torch.save(content, path)
    return path


def test_canonical_features_hold_the_vectors_of_the_data_by_name(tmp_path):
    path = save(tmp_path, vectors("unused", *LABELS))
    result = audit(path)
    assert messages(result) == ""
    assert result.report["unused"] == 1
    write_features(result.features, tmp_path / "features.safetensors")
    features = load_features(tmp_path / "features.safetensors")
    assert features.names == tuple(sorted(LABELS))
    np.testing.assert_array_equal(features.matrix[features.names.index("B")], np.full(4, 3.0))


def test_null_is_one_hot_over_the_sorted_names():
    result = audit(None)
    assert result.features.names == tuple(sorted(LABELS))
    np.testing.assert_array_equal(result.features.matrix, np.eye(4))


def test_all_missing_names_are_listed_with_the_nearest(tmp_path):
    text = messages(audit(save(tmp_path, vectors("A", "HLAA"))))
    assert "no vector for 3 of the data's 4 perturbations: B, HLA-A (it has HLAA), control" in text
    assert "features.control=zeros" in text


@pytest.mark.parametrize(("policy", "expected"), [("zeros", 0.0), ("mean", 2.0)])
def test_control_policy_gives_the_control_its_vector(tmp_path, policy, expected):
    result = audit(save(tmp_path, vectors("A", "B", "HLA-A")), policy)
    assert messages(result) == ""
    vector = result.features.matrix[result.features.names.index("control")]
    np.testing.assert_array_equal(vector, np.full(4, expected))


def test_features_of_unequal_length_are_refused(tmp_path):
    content = {**vectors(*LABELS), "B": torch.ones(7)}
    assert "these do not: B [7]" in messages(audit(save(tmp_path, content)))


def test_matrix_in_place_of_a_vector_is_refused(tmp_path):
    content = {**vectors(*LABELS), "B": torch.ones(2, 2)}
    assert "not vectors of one dimension: B [2, 2]" in messages(audit(save(tmp_path, content)))


def test_nan_is_refused_by_name(tmp_path):
    content = {**vectors(*LABELS), "B": torch.tensor([1.0, float("nan"), 0.0, 0.0])}
    assert "NaN or infinite values: B" in messages(audit(save(tmp_path, content)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.ones(3), "holds a Tensor; it must be a mapping"),
        ({1: torch.ones(3)}, "1 of its keys are not text, the first 1"),
        ({"A": [1.0, 2.0]}, "the entry 'A' is a list"),
        ({"A": torch.ones(3, dtype=torch.int64)}, "it must be floating"),
        ({}, "holds no vectors"),
    ],
)
def test_other_contents_are_refused_with_what_was_found(tmp_path, content, message):
    assert message in messages(audit(save(tmp_path, content)))


class Trap:
    """Unpickling it would leave a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def test_pickled_code_is_refused_and_never_run(tmp_path):
    trace = tmp_path / "ran"
    path = save(tmp_path, {"A": Trap(trace)})
    assert "could run code that it holds" in messages(audit(path))
    path.write_bytes(pickle.dumps({"A": Trap(trace)}))
    assert messages(audit(path)) != ""
    assert not trace.exists()


def test_missing_and_damaged_files_are_named(tmp_path):
    assert "gone.pt: no such file" in messages(audit(tmp_path / "gone.pt"))
    path = tmp_path / "text.pt"
    path.write_text("gene,vector\n")
    assert "text.pt: not a torch file" in messages(audit(path))
