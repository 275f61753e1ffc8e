"""Whatever is wrong with features is found by name, and no perturbation goes without a vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from workflow_scripts.features.assignment import Policies, names_to_embed
from workflow_scripts.features.validation import (
    Embedded,
    FeatureAudit,
    FeatureSettings,
    load_features,
    validate_features,
    write_features,
)

LABELS = ("A", "B", "HLA-A", "control")
VECTORS = {
    "A": torch.tensor([1.0, 0.0, 0.0, 1.0]),
    "B": torch.tensor([0.0, 2.0, 0.0, 0.0]),
    "HLA-A": torch.tensor([0.0, 1.0, 2.0, 0.0]),
    "control": torch.tensor([0.5, 0.5, 0.5, 0.0]),
}


def audit(
    folder: Path,
    content: object = VECTORS,
    labels: Sequence[str] = LABELS,
    **policies: Any,
) -> FeatureAudit:
    torch.save(content, folder / "features.pt")
    settings = FeatureSettings((folder / "features.pt",), replace(Policies(), **policies))
    return validate_features(groups(labels), "control", settings)


def groups(labels: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({"perturbation": labels, "context": "k562", "n_cells": 10})


def found(result: FeatureAudit) -> dict[str, dict[str, Any]]:
    """Give the findings by severity and code; two of one code in one severity are a mistake."""
    findings = result.report["findings"]
    keyed = {f"{f['severity']} {f['code']}": f for f in findings}
    assert len(keyed) == len(findings)
    return keyed


def vector(result: FeatureAudit, name: str) -> np.ndarray:
    return result.features.matrix[result.features.names.index(name)]


def test_canonical_features_hold_the_vectors_of_the_data_by_name(tmp_path):
    result = audit(tmp_path, {"unused": torch.tensor([0.0, 0.0, 1.0, 1.0]), **VECTORS})
    assert found(result) == {}
    assert result.report["files"][0]["n_unused"] == 1
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
        ("AARS", "AARS1"),
        ("H2AX", "H2AFX"),
        ("hla_b", "HLA-B"),
        ("CDKN1AA", "CDKN1A"),
    ],
)
def test_other_names_of_a_gene_are_suggested(tmp_path, label, in_file):
    content = {**VECTORS, in_file: torch.tensor([1.0, 1.0, 0.0, 2.0])}
    result = audit(tmp_path, content, [*LABELS, label])
    assert f"{label} (it has {in_file})" in found(result)["error features-missing"]["message"]
    result = audit(tmp_path, content, [*LABELS, label], aliases={label: in_file})
    assert found(result) == {}
    np.testing.assert_array_equal(vector(result, label), content[in_file])
    assert result.report["made"] == {label: f"the vector of {in_file} (features.aliases)"}


@pytest.mark.parametrize(("policy", "expected"), [("mean", [0.5, 1.0, 0, 0.5]), ("zero", [0] * 4)])
def test_missing_vectors_follow_the_policy_and_are_named(tmp_path, policy, expected):
    content = {name: VECTORS[name] for name in ("A", "B", "control")}
    result = audit(tmp_path, content, missing=policy)
    assert list(found(result)) == ["warning features-missing"]
    assert found(result)["warning features-missing"]["names"] == ("HLA-A",)
    np.testing.assert_array_equal(vector(result, "HLA-A"), expected)
    assert list(result.report["made"]) == result.report["missing"] == ["HLA-A"]
    coverage = {"n_perturbations": 3, "n_with_vector": 2, "n_cells": 30, "n_cells_without": 10}
    assert result.report["coverage"] == {"k562": coverage}


def test_the_missing_policy_makes_up_no_vector_for_the_control(tmp_path):
    content = {name: VECTORS[name] for name in ("A", "B", "HLA-A")}
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
    content = {name: VECTORS[name] for name in ("A", "B", "HLA-A")}
    result = audit(tmp_path, content, control=policy)
    assert found(result) == {}
    np.testing.assert_allclose(vector(result, "control"), expected, rtol=1e-6)


def test_a_control_of_zeros_is_usual(tmp_path):
    assert found(audit(tmp_path, {**VECTORS, "control": torch.zeros(4)})) == {}


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


def test_several_files_are_concatenated_by_name(tmp_path):
    second = {name: torch.tensor([float(at), 0.5]) for at, name in enumerate(LABELS)}
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


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"B": torch.ones(7)}, "error features-lengths", "most have 4 values"),
        ({"B": torch.ones(2, 2)}, "error features-type", "B [2, 2]"),
        ({"B": torch.ones(0)}, "error features-type", "B [0]"),
        ({"B": torch.tensor(1.0)}, "error features-type", "B []"),
        ({"B": [1.0, 2.0]}, "error features-type", "B (list)"),
        ({"B": torch.ones(4, dtype=torch.int64)}, "error features-type", "B (torch.int64)"),
        ({"B": torch.ones(4).to_sparse()}, "error features-type", "B (torch.float32)"),
        ({"B": torch.tensor([1.0, torch.nan, 0, 0])}, "error features-not-finite", "B; embed"),
        ({"B": torch.tensor([1.0, torch.inf, 0, 0])}, "error features-not-finite", "B; embed"),
        (
            {"B": torch.tensor([1e300, 0, 0, 0], dtype=torch.float64)},
            "error features-not-finite",
            "B; embed",
        ),
        ({"B": torch.zeros(4)}, "error features-zero", "B; embed these genes"),
        ({"B": torch.full((4,), 0.7)}, "warning features-constant", "B; these look filled in"),
        ({"B": VECTORS["A"]}, "warning features-identical", "A = B"),
        ({"B": 100 * VECTORS["B"]}, "warning features-scale", "B (200)"),
        ({"b": VECTORS["A"] + 1}, "warning features-alike", "B = b"),
        ({7: VECTORS["A"]}, "error features-names", "1 of its 5 keys are not text: 7;"),
        ({None: VECTORS["A"]}, "error features-names", "None"),
        ({" ": VECTORS["A"] + 1}, "warning features-names", "1 names are empty"),
    ],
)
def test_each_fault_is_one_finding_that_names_what_it_concerns(tmp_path, change, code, says):
    result = audit(tmp_path, {**VECTORS, **change})
    assert list(found(result)) == [code]
    assert says in found(result)[code]["message"]
    assert "features.pt: " in found(result)[code]["message"]


@pytest.mark.parametrize(
    "change",
    [
        {"other": torch.ones(7)},
        {"other": [1.0]},
        {"other": torch.tensor([1.0, torch.nan, 0, 0])},
        {"other": torch.zeros(4)},
        {"other": torch.full((4,), 0.7)},
        {"other": VECTORS["A"]},
        {"other": 100 * VECTORS["B"]},
        {"x": VECTORS["A"] + 1, "X": VECTORS["A"] + 2},
    ],
)
def test_faults_of_vectors_that_the_run_does_not_use_are_notes(tmp_path, change):
    result = audit(tmp_path, {**VECTORS, **change})
    assert [f["severity"] for f in result.report["findings"]] == ["note"]
    assert len(result.features.names) == 4


def test_two_symbols_of_one_gene_in_a_file_are_pointed_out(tmp_path):
    content = {**VECTORS, "SEPT2": VECTORS["A"] + 1, "SEPTIN2": VECTORS["B"] + 1}
    result = audit(tmp_path, content, [*LABELS, "SEPT2"])
    assert "SEPT2 = SEPTIN2" in found(result)["warning features-alike"]["message"]


def test_a_name_twice_in_a_table_is_an_error(tmp_path):
    path = tmp_path / "f.csv"
    path.write_text("gene,d0,d1\nA,1,2\nB,3,4\nA,5,6\ncontrol,0,1\n")
    settings = FeatureSettings((path,))
    result = validate_features(groups(["A", "B", "control"]), "control", settings)
    assert found(result)["error features-repeated"]["names"] == ("A",)


def test_an_empty_file_is_an_error_by_itself(tmp_path):
    assert list(found(audit(tmp_path, {}))) == ["error features-empty"]


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


EMBEDDED = Embedded(
    {"B": np.array([0, 0, 3, 1], np.float32)}, {"model": "tiny", "fasta": "p.fa", "absent": []}
)


def embed_audit(folder: Path, content: object, embedded: Embedded, **policies: Any) -> FeatureAudit:
    torch.save(content, folder / "features.pt")
    policy = replace(Policies(), missing="embed", **policies)
    settings = FeatureSettings((folder / "features.pt",), policy)
    labels = [*LABELS, "A+B"] if "combinations" in policies else LABELS
    return validate_features(groups(labels), "control", settings, embedded)


WITHOUT_B = {name: VECTORS[name] for name in ("A", "HLA-A", "control")}


def test_embedded_vectors_serve_what_the_file_lacks_and_are_named(tmp_path):
    result = embed_audit(tmp_path, WITHOUT_B, EMBEDDED)
    assert found(result) == {}
    np.testing.assert_array_equal(vector(result, "B"), EMBEDDED.vectors["B"])
    assert result.report["made"] == {"B": "embedded by tiny"}
    result = embed_audit(tmp_path, WITHOUT_B, EMBEDDED, combinations="sum")
    np.testing.assert_array_equal(vector(result, "A+B"), [1, 0, 3, 2])


def test_the_files_own_vectors_win_over_embedded_ones(tmp_path):
    result = embed_audit(tmp_path, VECTORS, EMBEDDED)
    np.testing.assert_array_equal(vector(result, "B"), VECTORS["B"])
    assert result.report["made"] == {}


def test_what_could_not_be_embedded_is_missing(tmp_path):
    result = embed_audit(tmp_path, WITHOUT_B, replace(EMBEDDED, vectors={}))
    problem = found(result)["error features-missing"]
    assert problem["names"] == ("B",)
    assert "add their proteins to features.embedding.fasta" in problem["message"]


def test_a_model_of_another_width_than_the_file_is_refused(tmp_path):
    wide = replace(EMBEDDED, vectors={"B": np.ones(7, np.float32)})
    problem = found(embed_audit(tmp_path, WITHOUT_B, wide))["error features-lengths"]
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
