"""A table of what to predict: how it is read, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.prediction.target_list import genes_lacking, resolve_targets
from workflow_scripts.settings.slices import Slice

GROUPS = pd.DataFrame(
    {
        "dataset": "d",
        "file": "f.h5ad",
        "context": ["k562", "k562", "rpe1", "bare"],
        "perturbation": ["control", "A", "control", "A"],
        "n_cells": [5, 7, 6, 3],
    }
)


def settings(table: Path | None, control: str = "control", **changes: object) -> Slice:
    prediction: dict[str, object] = {
        "targets": None if table is None else str(table),
        "adata": None,
        "cells_per_target": None,
        "context_col": "line",
        "submission": None,
        **changes,
    }
    values = {
        "data.kwargs.pert_col": "gene",
        "data.kwargs.cell_type_key": "cell_type",
        "data.kwargs.control_pert": control,
    }
    return Slice(values | {f"prediction.{name}": value for name, value in prediction.items()}, {})


def write(folder: Path, text: str, name: str = "want.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_have_the_names_of_the_data_or_ours(tmp_path):
    rows = [("B", "rpe1", 4), ("A", "k562", 9)]
    for name, header, mark in (
        ("ours.csv", "n_cells,perturbation,context,why", ","),
        ("theirs.tsv", "n_cells\tgene\tline\twhy", "\t"),
    ):
        lines = [mark.join(map(str, (n, gene, line, "because"))) for gene, line, n in rows]
        table, found = resolve_targets(
            settings(write(tmp_path, "\n".join([header, *lines]), name)), GROUPS
        )
        assert found == []
        assert list(table.itertuples(index=False, name=None)) == rows


def test_without_contexts_every_one_with_controls_is_meant(tmp_path):
    table, found = resolve_targets(
        settings(write(tmp_path, "gene\nNA\n1\n"), cells_per_target=400), GROUPS
    )
    assert found == []
    pairs = [("NA", "k562"), ("NA", "rpe1"), ("1", "k562"), ("1", "rpe1")]
    assert list(zip(table["perturbation"], table["context"], strict=True)) == pairs
    assert set(table["n_cells"]) == {400}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("target,context\nA,k562\n", "no column perturbation or gene; it has target, context"),
        ("gene,line,n_cells\n", "it lists nothing to predict"),
        ("gene,line\nA,k562\n", "1 lines without n_cells; say there how many cells, or set"),
        ("gene,line,n_cells\nA,k562,\nB,k562,3\n", "1 lines without n_cells; say there"),
        ("gene,line,n_cells\nA,k562,3\nB,k562,2.5\nC,k562,0\n", "line 3: '2.5', line 4: '0'"),
        ("gene,line,n_cells\nA,K562,3\n", "'K562': did you mean `k562`?"),
        ("gene,line,n_cells\nA,bare,3\n", "1 of 1 contexts have no control cells in the cells of"),
        ("gene,line,n_cells\ncontrol,k562,3\n", "lists the control 'control', of which nothing"),
        ("gene,line,n_cells\n,k562,3\n", "lines without a perturbation or a context: 2"),
        ("gene,line,n_cells\nA,k562,3\nA,k562,4\n", "1 targets are listed twice: k562/A; list"),
    ],
)
def test_wrong_table_is_said_with_what_to_do(tmp_path, text, words):
    path = write(tmp_path, text)
    table, found = resolve_targets(settings(path), GROUPS)
    assert len(table) == 0
    assert any(words in finding.message for finding in found), found
    assert all(finding.severity == "error" for finding in found)
    assert all(str(path) in finding.message for finding in found)


def test_file_that_is_no_table_is_said(tmp_path):
    for path, words in (
        (tmp_path / "nowhere.csv", "no such file; relative paths start at the working directory"),
        (write(tmp_path, "x", "want.xlsx"), "its name ends in none of .csv, .tsv, .txt; rename"),
        (write(tmp_path, "", "empty.csv"), "no table that can be read"),
    ):
        (finding,) = resolve_targets(settings(path), GROUPS)[1]
        assert words in finding.message


def test_of_a_file_its_perturbed_cells_are_the_targets():
    table, found = resolve_targets(settings(None, adata="new.h5ad"), GROUPS)
    assert found == []
    assert list(table["split"]) == ["control", "test", "control", "test"]
    controls = GROUPS[GROUPS["perturbation"] == "control"]
    table, (finding,) = resolve_targets(settings(None, adata="new.h5ad"), controls)
    assert "new.h5ad (prediction.adata): it has control cells alone; say with" in finding.message
    assert len(table) == 0


def test_genes_that_other_cells_lack_are_named():
    assert genes_lacking("new.h5ad", ["g2", "g1", "x"], ["g1", "g2"]) == []
    (finding,) = genes_lacking("new.h5ad", ["g2"], ["g1", "g2", "g3"])
    assert "lacks 2 of the 3 genes that are read of the run's cells: g1, g3" in finding.message
    assert np.array_equal(finding.names, ("g1", "g3"))
