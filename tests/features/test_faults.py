"""Every fault of a feature file is one finding that names what it concerns."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from tests.features.feature_audits import LABELS, VECTORS, audit, audit_file, found, vector, without


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"B": torch.ones(7)}, "error features-lengths", "most have 4 values, these do not: B [7]"),
        ({"B": torch.ones(2, 2)}, "error features-type", "B [2, 2]"),
        ({"B": torch.ones(1, 4)}, "error features-type", "B [1, 4]"),
        ({"B": torch.ones(0)}, "error features-type", "B [0]"),
        ({"B": torch.tensor(1.0)}, "error features-type", "B []"),
        ({"B": [1.0, 2.0]}, "error features-type", "B (list)"),
        ({"B": {"mean": VECTORS["B"]}}, "error features-type", "B (dict of 1: mean)"),
        ({"B": torch.ones(4, dtype=torch.int64)}, "error features-type", "B (torch.int64)"),
        ({"B": torch.ones(4).bool()}, "error features-type", "B (torch.bool)"),
        ({"B": torch.ones(4).to(torch.complex64)}, "error features-type", "B (torch.complex64)"),
        ({"B": torch.ones(4).to(torch.float8_e5m2)}, "error features-type", "B (torch.float8"),
        ({"B": torch.ones(4).to_sparse()}, "error features-type", "torch.sparse_coo)"),
        ({"B": torch.empty(4, device="meta")}, "error features-type", "(torch.float32, meta)"),
        ({"B": torch.tensor([1.0, torch.nan, 0, 0])}, "error features-not-finite", "B (1 of 4"),
        ({"B": torch.tensor([1.0, torch.inf, 0, 0])}, "error features-not-finite", "B (1 of 4"),
        (
            {"B": torch.tensor([1e300, 0, 0, 0], dtype=torch.float64)},
            "error features-not-finite",
            "B (1 of 4 values); embed",
        ),
        ({"B": torch.zeros(4)}, "error features-zero", "B; embed these genes"),
        ({"B": torch.full((4,), 0.7)}, "warning features-constant", "B; these look filled in"),
        ({"B": VECTORS["A"]}, "warning features-identical", "A = B"),
        ({"control": VECTORS["A"]}, "warning features-identical", "A = control"),
        (
            {"A": torch.tensor([0.0, 1, 0, 1]), "B": torch.tensor([-0.0, 1, 0, 1])},
            "warning features-identical",
            "A = B",
        ),
        ({"B": 100 * VECTORS["B"]}, "warning features-scale", "B (200)"),
        ({"control": 1000 * VECTORS["control"]}, "warning features-scale", "control (866)"),
        ({"b": VECTORS["A"] + 1}, "warning features-alike", "B = b"),
        ({b"A": VECTORS["A"] + 1}, "error features-repeated", "A (2 times)"),
        ({7: VECTORS["A"]}, "error features-names", "1 of its 5 keys are not text: 7;"),
        ({None: VECTORS["A"]}, "error features-names", "None"),
        ({" ": VECTORS["A"] + 1}, "warning features-names", "1 of its 5 names are empty; name"),
    ],
)
def test_each_fault_is_one_finding_that_names_what_it_concerns(tmp_path, change, code, says):
    result = audit(tmp_path, {**VECTORS, **change})
    assert list(found(result)) == [code]
    assert says in found(result)[code]["message"]
    assert "features.pt: " in found(result)[code]["message"]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested", "ignore:Sparse CSR tensor support")
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "nested"),
        (lambda: torch.ones(2, 2).to_sparse_csr(), "torch.sparse_csr"),
    ],
)
def test_tensors_that_numpy_can_not_hold_are_no_vectors(tmp_path, make, kind):
    problem = found(audit(tmp_path, {**VECTORS, "B": make()}))["error features-type"]
    assert f"B (torch.float32, {kind})" in problem["message"]


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
        {"other": VECTORS["A"] + 1, b"other": VECTORS["A"] + 1},
    ],
)
def test_faults_of_vectors_that_the_run_does_not_use_are_notes(tmp_path, change):
    result = audit(tmp_path, {**VECTORS, **change})
    assert [f["severity"] for f in result.report["findings"]] == ["note"]
    assert len(result.features.names) == 4


@pytest.mark.parametrize("vector", [torch.full((4,), torch.nan), torch.zeros(3), torch.ones(9, 9)])
def test_a_control_that_a_policy_replaces_is_not_used(tmp_path, vector):
    result = audit(tmp_path, {**VECTORS, "control": vector}, control="zeros")
    assert [f["severity"] for f in result.report["findings"]] == ["note"]
    assert len(result.features.names) == 4


def test_as_many_of_one_length_as_of_another_are_not_called_most(tmp_path):
    content = {**VECTORS, "A": torch.rand(3), "B": torch.rand(3)}
    message = found(audit(tmp_path, content))["error features-lengths"]["message"]
    assert "some have 3 values, these do not: HLA-A [4], control [4]" in message


def test_half_precision_and_gradients_are_vectors_like_others(tmp_path):
    content = {
        "A": VECTORS["A"].half(),
        "B": VECTORS["B"].bfloat16(),
        "HLA-A": VECTORS["HLA-A"].double().requires_grad_(),
        "control": torch.nn.Parameter(VECTORS["control"]),
    }
    result = audit(tmp_path, content)
    assert found(result) == {}
    for name in LABELS:
        np.testing.assert_array_equal(vector(result, name), VECTORS[name])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            {"embeddings": VECTORS, "model": "esm2"},
            "embeddings (dict of 4: A, B, HLA-A, … (1 more)), model (str); save a floating tensor "
            "of one dimension for each; a mapping inside the file's own must be saved by itself",
        ),
        ({"names": list(VECTORS), "matrix": torch.ones(4, 4)}, "names (list), matrix [4, 4]"),
    ],
)
def test_a_file_without_any_vector_says_what_it_holds(tmp_path, content, says):
    result = audit(tmp_path, content, missing="mean")
    assert list(found(result)) == ["error features-type"]
    assert says in found(result)["error features-type"]["message"]


def test_where_no_name_fits_the_file_s_names_are_shown(tmp_path):
    content = {f"ENSG{at}": vector for at, vector in enumerate(VECTORS.values())}
    problem = found(audit(tmp_path, content))["error features-missing"]
    assert "the names in it are ENSG0, ENSG1, ENSG2, ENSG3; add" in problem["message"]


def test_an_empty_file_is_an_error_by_itself(tmp_path):
    assert list(found(audit(tmp_path, {}))) == ["error features-empty"]


def test_two_symbols_of_one_gene_in_a_file_are_pointed_out(tmp_path):
    content = {**VECTORS, "SEPT2": VECTORS["A"] + 1, "SEPTIN2": VECTORS["B"] + 1}
    result = audit(tmp_path, content, [*LABELS, "SEPT2"])
    assert "SEPT2 = SEPTIN2" in found(result)["warning features-alike"]["message"]


def test_a_name_twice_in_a_table_is_an_error(tmp_path):
    path = tmp_path / "f.csv"
    path.write_text("gene,d0,d1\nA,1,2\nB,3,4\nA,5,6\ncontrol,0,1\n")
    result = audit_file(path, ["A", "B", "control"])
    assert found(result)["error features-repeated"]["names"] == ("A",)


@pytest.mark.parametrize(
    ("column", "shown"), [(range(4), "0 to 3"), ((120, 3000, 95, 410), "95 to 3000")]
)
def test_row_numbers_and_lengths_among_the_dimensions_are_pointed_out(tmp_path, column, shown):
    table = np.random.default_rng(0).normal(size=(4, 6))
    table[:, 0] = column
    rows = (f"{name},{','.join(map(str, row))}\n" for name, row in zip(LABELS, table, strict=True))
    (tmp_path / "f.csv").write_text("gene,index,a,b,c,d,e\n" + "".join(rows))
    findings = found(audit_file(tmp_path / "f.csv"))
    message = findings["warning features-dimension"]["message"]
    assert f"number 1 of 6 ({shown}); are these row numbers" in message


def test_features_that_are_counts_are_no_row_numbers(tmp_path):
    counts = {name: torch.tensor([at, 3.0, 100 * at]) for at, name in enumerate(LABELS, 1)}
    assert "warning features-dimension" not in found(audit(tmp_path, counts))


def test_norms_of_huge_values_are_numbers(tmp_path):
    report = audit(tmp_path, {name: 1e30 * vector for name, vector in VECTORS.items()}).report
    assert report["norms"]["most"] == pytest.approx(5**0.5 * 1e30)
    assert report["files"][0]["norm_median"] == pytest.approx(2e30)
    json.dumps(report, allow_nan=False)


def test_the_report_is_json_whatever_is_wrong(tmp_path):
    content = {**without("A"), "B": torch.full((4,), torch.nan), "x": torch.zeros(4)}
    json.dumps(audit(tmp_path, content).report, allow_nan=False)
