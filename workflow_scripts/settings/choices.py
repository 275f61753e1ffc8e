"""Values that keys of the config take and that code compares with. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

EMBED_KEY = "data.kwargs.embed_key"
CHOSEN_GENES = "X_hvg"
"""The matrix of obsm that holds expression of chosen genes."""
EXPRESSION = (None, CHOSEN_GENES)
"""Values of ``embed_key`` with which the model reads expression; others name an embedding."""

INIT_FROM = "model.kwargs.init_from"
WRITTEN_GENES = "prediction.genes"
SUBMISSION = "prediction.submission"
ENSEMBLE = "prediction.ensemble"
LEAVE_OUT = "splits.leave_out"
EACH_CONTEXT = "each_context"
"""Value of ``splits.leave_out`` that makes one run for each context."""

Baseline = Literal[
    "control",
    "mean_response",
    "context_mean",
    "perturbation_mean_effect",
    "additive",
    "additive_direct",
    "additive_recentred",
    "denoised",
    "ridge",
    "ridge_shuffled",
    "nearest_neighbour",
    "nearest_neighbour_shuffled",
]
BASELINES: tuple[str, ...] = get_args(Baseline)
FEATURE_BASELINES = BASELINES[BASELINES.index("ridge") :]
"""The baselines that read the perturbations' features."""
WRITTEN_OTHERWISE = ("additive_direct", "additive_recentred")
"""The additive baseline, its cells written in simpler ways: what calibrated cells are worth."""
NegativeControl = Literal["shuffled_features", "random_features", "same_cells", "doubled_variance"]
NEGATIVE_CONTROLS: tuple[str, ...] = get_args(NegativeControl)
SPOILED_FEATURES = NEGATIVE_CONTROLS[:2]
"""Negative controls for which the model predicts with features that carry no information."""
LOG1P, COUNTS = "log1p", "counts"
CALIBRATED, DIRECT = "calibrated", "direct"
"""Values of ``prediction.cells``."""
RECENTRED = "recentred"
VALIDATION = "validation"
"""Value of ``prediction.amplitude`` that fits it."""

CHECKPOINT = ".ckpt"
OWN_STATES = ("final", "best")
"""Values of ``prediction.checkpoint`` that name states of the run's own training."""


def given_model(checkpoint: str | int) -> str | None:
    """Return the path that ``prediction.checkpoint`` names, or None if the run trains a model."""
    return checkpoint if isinstance(checkpoint, str) and checkpoint not in OWN_STATES else None


MODEL_DESCRIPTION = "model.json"
"""File that describes the model of a folder; it holds the digest of the weights beside it."""


def model_file(path: str) -> Path:
    """Return the file whose content stands for a model: it changes when the model does."""
    return Path(path) if Path(path).suffix == CHECKPOINT else Path(path) / MODEL_DESCRIPTION


BACKBONE = "model.kwargs.transformer_backbone_kwargs"
_SHARED = ("hidden_size", "bidirectional_attention")
READ_BY: Mapping[str, frozenset[str]] = {
    "llama": frozenset(
        {
            *_SHARED,
            *("intermediate_size", "num_hidden_layers", "num_attention_heads"),
            *("num_key_value_heads", "head_dim", "attention_dropout"),
        }
    ),
    "GPT2": frozenset(
        {
            *_SHARED,
            *("n_embd", "n_layer", "n_head", "n_inner"),
            *("attn_pdrop", "resid_pdrop", "embd_pdrop"),
        }
    ),
}
"""Keys of the backbone's section that each backbone reads."""
NEEDED_BY: Mapping[str, tuple[str, ...]] = {
    "llama": ("intermediate_size", "num_hidden_layers", "num_attention_heads"),
    "GPT2": ("n_layer", "n_head"),
}
_NAMES = (
    ("n_embd", "hidden_size"),
    ("n_layer", "num_hidden_layers"),
    ("n_head", "num_attention_heads"),
    ("n_inner", "intermediate_size"),
    ("attn_pdrop", "attention_dropout"),
)
COUNTERPARTS: Mapping[str, str] = {**dict(_NAMES), **{llama: gpt2 for gpt2, llama in _NAMES}}
"""The other backbone's name of a key."""


@dataclass(frozen=True)
class Challenge:
    """What a competition requires of a submission; None allows any number."""

    name: str
    file: str
    scale: str
    """Of the values, as in ``prediction.output``."""
    n_genes: int
    """Genes that are scored; another number is a warning."""
    most_cells: int | None = None
    """Of a file, controls included."""
    cells_per_target: int | None = None
    """Of each target and context."""
    most_counts: int | None = None
    """Of a cell; None if values are log1p."""
    control: str | None = None
    """Label of the control; None if the file has no controls."""


VCC2025 = Challenge(
    "the Virtual Cell Challenge 2025",
    "submission.vcc",
    LOG1P,
    n_genes=18_080,
    most_cells=200_000,
    control="non-targeting",
)
"""From `cell-eval prep` 0.8.2."""
VCC2026 = Challenge(
    "the Virtual Cell Challenge 2026",
    "submission.h5ad",
    COUNTS,
    n_genes=18_533,
    cells_per_target=400,
    most_counts=1_000_000,
)
"""From its upload contract."""
CHALLENGES: Mapping[str, Challenge] = {"vcc2025": VCC2025, "vcc2026": VCC2026}
"""By their names in ``prediction.submission``."""
