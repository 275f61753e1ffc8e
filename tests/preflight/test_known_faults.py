"""What other stacks are known to get wrong has a test here, each row by its name.

The rows are those that were measured or read of the reference stack. A case of the corpus is named
as it stands there, any other test as file::function.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.preflight import broken_config
from tests.preflight.test_corpus import CORPUS

TESTS = Path(__file__).parents[1]

ROWS: dict[str, tuple[str, ...]] = {
    "a typo in the split file trains on the held-out cells": (
        "splits: typo in a few-shot context",
        "splits: typo in a zero-shot context",
        "splits: typo in a held-out perturbation",
        "splits: typo in the dataset that trains",
    ),
    "a perturbation missing from the feature file, the control too, gets zeros": (
        "features: a perturbation is missing",
        "features: the control is missing",
    ),
    "without validation the test set chooses the checkpoint": ("splits: no validation",),
    "the best checkpoint holds other weights than were validated": (
        "training/test_whole_trainings.py::test_best_checkpoint_holds_the_weights_that_were_validated",
    ),
    "a resumed run draws other cells and loses its log": (
        "training/test_resume.py::test_killed_training_ends_as_if_it_had_not_been",
    ),
    "keys are accepted and never read": (
        "a key that nothing reads, set to do something",
        "workflow/test_reading.py::test_no_inert_key_is_read_by_anybody",
    ),
    "workers draw the same controls, and epochs the same order": (
        "cells/test_sampling.py::test_set_is_a_pure_function_of_seed_and_number",
        "cells/test_sampling.py::test_controls_are_drawn_without_replacement_while_they_last",
    ),
    "the order of genes is never compared, and names are lost": (
        "genes: others in the second file",
        "cells/test_gene_audit.py::test_genes_in_another_order_are_a_note",
        "cells/test_packing.py::test_genes_in_another_order_are_aligned_by_name",
        "prediction/test_predictions.py::test_files_hold_names_labels_and_observed_controls",
    ),
    "an unknown perturbation is predicted as the control": (
        "features: a perturbation is missing",
        "preflight/test_readiness.py::test_one_hot_perturbations_that_never_train_are_a_warning",
    ),
    "cells without a batch, or of an unknown one, get another's": (
        "columns: cells without a batch",
        "batches: tested ones that nothing trains",
    ),
    "code in a data file is run": ("features: code in the file", "features: npz of objects"),
    "predictions are cut before their scale is known": (
        "prediction/test_predictions.py::test_impossible_values_are_cut_and_counted",
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_each_known_fault_has_its_test(row):
    for name in ROWS[row]:
        file, _, function = name.partition("::")
        if not function:
            assert name in CORPUS or name in broken_config.CASES, name
            continue
        tree = ast.parse((TESTS / file).read_text("utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
