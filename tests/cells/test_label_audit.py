"""Labels that can't mean what they say: confounded with batches, controls by another name."""

from __future__ import annotations

import anndata
import pandas as pd

from tests.cells.test_audit import audit, messages
from workflow_scripts.cells.label_audit import audit_batches


def counts(**groups: tuple[int, ...]) -> pd.DataFrame:
    """Return cells of one context by batch: b0, b1, …"""
    rows = [
        {"context": "k562", "perturbation": name, "batch": f"b{at}", "n_cells": n}
        for name, sizes in groups.items()
        for at, n in enumerate(sizes)
        if n
    ]
    return pd.DataFrame(rows)


def found(**groups: tuple[int, ...]) -> dict[str, tuple[str, tuple[str, ...]]]:
    findings = audit_batches(counts(**groups), "control", "screen.h5ad")
    return {f.code: (f.severity, f.names) for f in findings}


def test_screen_whose_batches_hold_everything_has_no_findings():
    assert found(control=(20, 20, 20), A=(7, 8, 9), B=(9, 1, 4)) == {}


def test_batch_without_controls_is_a_warning():
    assert found(control=(20, 20, 0), A=(7, 8, 9)) == {
        "batch-without-controls": ("warning", ("b2",))
    }


def test_perturbation_in_one_batch_alone_is_a_note():
    assert found(control=(20, 20, 20), A=(24, 0, 0), B=(9, 8, 7)) == {
        "confined-to-a-batch": ("note", ("A",))
    }


def test_few_cells_may_fall_into_one_batch_by_chance():
    # Two cells in one of three batches: one chance in three.
    assert found(control=(20, 20, 20), A=(2, 0, 0), B=(9, 8, 7)) == {}


def test_perturbation_confined_to_a_batch_without_controls_is_a_warning():
    assert found(control=(20, 20, 0), A=(0, 0, 24), B=(9, 8, 7)) == {
        "batch-without-controls": ("warning", ("b2",)),
        "confined-to-a-batch": ("warning", ("A",)),
    }


def test_screen_of_one_batch_confounds_nothing():
    assert found(control=(20,), A=(20,)) == {}


def test_batches_are_looked_at_in_the_file(make_screen):
    path = make_screen(cells_per_group=40)
    adata = anndata.read_h5ad(path)
    confined = (adata.obs["gene"] == "A") & (adata.obs["cell_type"] == "rpe1")
    adata.obs["gem_group"] = adata.obs["gem_group"].astype(str).mask(confined, "b1")
    adata.write_h5ad(path)
    text = messages(audit(path))
    assert "context 'rpe1': 1 of 3 perturbations stand in one technical batch alone: A (b1)" in text
    assert "basal_mapping_strategy=batch" in text
    assert "k562" not in text


def test_context_in_two_files_is_a_note(make_screen):
    found_there = audit(make_screen("a.h5ad"), make_screen("b.h5ad", seed=1))
    (note,) = [f for f in found_there.report["findings"] if "'k562'" in f["message"]]
    assert note["severity"] == "note"
    assert "stands in 2 files (a.h5ad, b.h5ad)" in note["message"]


def test_context_whose_controls_have_another_name_shows_it(make_screen):
    path = make_screen()
    adata = anndata.read_h5ad(path)
    here = (adata.obs["gene"] == "control") & (adata.obs["cell_type"] == "rpe1")
    adata.obs["gene"] = adata.obs["gene"].astype(str).mask(here, "non-targeting")
    adata.write_h5ad(path)
    text = messages(audit(path))
    assert "context 'rpe1' (dataset screen) has no cell labelled 'control' (near it: " in text
    assert "non-targeting" in text
