"""What keeps a model that is there already from predicting the cells of a run is said in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.prediction.test_predictions import small_model
from workflow_scripts.models import ModelDescription, save_model
from workflow_scripts.prediction.readiness import Asked, check_given_model, misfits

GENES = ("g1", "g2", "g3", "g4", "g5", "g6", "g7", "g8")
ASKED = Asked(GENES, feature_dim=4, set_size=4, embedding=None, embedding_dim=None)
MODEL = small_model(len(GENES)).settings
KNOWN = ModelDescription(GENES)


def test_model_that_fits_has_nothing_against_it():
    assert misfits(MODEL, KNOWN, ASKED) == []
    assert misfits(MODEL, replace(KNOWN, gene_names=GENES[::-1]), ASKED) == []
    assert misfits(MODEL, ModelDescription(()), replace(ASKED, genes=None)) == []


@pytest.mark.parametrize(
    ("known", "asked", "words"),
    [
        ({"gene_names": ()}, {}, "doesn't say which genes it predicts; import it once more"),
        ({}, {"genes": GENES[:-1]}, "8 genes, 1 of which are not among the 7 that are read: g8"),
        ({}, {"genes": (*GENES, "g9")}, "trained on 8 of the 9 genes that are read; choose these"),
        ({}, {"feature_dim": 5}, "features of 4 numbers, and those here have 5; name the feature"),
        ({}, {"set_size": 8}, "sets of 4 cells, and model.kwargs.cell_set_len is 8; set it to 4"),
        (
            {},
            {"embedding": "X_pca", "embedding_dim": 3},
            "trained on expression alone, and the embedding X_pca, 3 wide is read; set",
        ),
        ({"embedding": "X_pca"}, {}, "trained on the embedding X_pca, 8 wide, and expression"),
    ],
)
def test_what_does_not_fit_is_named_with_what_to_do(known, asked, words):
    (found,) = misfits(MODEL, replace(KNOWN, **known), replace(ASKED, **asked))
    assert words in found


def test_model_of_other_splits_may_have_seen_the_test_cells(tmp_path):
    for name, splits in (("own", {"splits": "abc"}), ("other", {"splits": "x"}), ("silent", {})):
        save_model(tmp_path / name, small_model(8), replace(KNOWN, provenance=splits))
    assert check_given_model(str(tmp_path / "own"), ASKED, "abc") == []
    for name in ("other", "silent"):
        (found,) = check_given_model(str(tmp_path / name), ASKED, "abc")
        assert (found.severity, found.code) == ("warning", "other-splits")
        assert "may have seen the cells that are tested here" in found.message
    (missing,) = check_given_model(str(tmp_path / "nowhere"), ASKED, "abc")
    assert missing.severity == "error"
    assert missing.message.startswith("prediction.checkpoint: ")
    assert "is no model folder" in missing.message
