"""Whether the controls of two contexts differ, and what that makes of a claim."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.cells.claims import REPLICATE, claims
from workflow_scripts.cells.context_differences import read_replicates, write_differences


class Cells:
    """Cells in memory, in place of a store."""

    def __init__(self, cells: np.ndarray) -> None:
        self.cells, self.n_genes = cells, cells.shape[1]

    def dense(self, rows: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.cells[rows]
        return found


def test_replicates_are_told_from_other_cells(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cells = np.log1p(rng.poisson(3.0, (900, 200))).astype(np.float32)
    cells[600:, :50] += 1.0
    rows = {name: np.arange(at, at + 300) for name, at in (("a", 0), ("b", 300), ("c", 600))}
    path = tmp_path / "contexts.json"
    write_differences(path, Cells(cells), rows, {"a": rows["a"], "b": rows["b"]}, 0)  # type: ignore[arg-type]
    shares = json.loads(path.read_text())
    assert shares["a"].keys() == {"b"}
    assert shares["a"]["b"] < 0.01
    assert shares["c"]["a"] >= 0.25
    assert read_replicates(path) == {"a", "b"}


def test_a_known_perturbation_in_a_replicate_is_another_replicate() -> None:
    rows = [("a", "G1", "train"), ("b", "G2", "train"), ("a", "G2", "test"), ("b", "G1", "test")]
    table = pd.DataFrame(rows, columns=["context", "perturbation", "split"])
    assert claims(table)["kind"] == "known perturbations in known contexts"
    found = claims(table, {"a", "b"})
    assert found["kind"] == REPLICATE
    assert "how well noise is removed" in found["sentence"]
    assert claims(table, {"a"})["kind"] == "known perturbations in known contexts"
    unseen = pd.concat([table, pd.DataFrame([("a", "G3", "test")], columns=table.columns)])
    assert claims(unseen, {"a", "b"})["kind"] == "known and unseen mixed"
