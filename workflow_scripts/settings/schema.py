"""Every key of the config: its type, what it does, and which stages read it.

Slices (what invalidates a stage) and the checks of a frozen config are derived from this one
table, so a key can't be read by a stage that it doesn't trigger.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


class Kind(enum.Enum):
    """What a change of a key does to finished work."""

    IDENTITY = "identity"
    """Changes the result at a given step: the stage starts afresh."""
    EXTENT = "extent"
    """How far and how often: the stage runs again and continues from what it has."""
    OPERATIONAL = "operational"
    """How the work is carried out or logged: nothing runs again."""
    INERT = "inert"
    """Accepted because users' files carry it; read by nothing."""


@dataclass(frozen=True)
class Key:
    """One key of the config.

    ``types`` are the Python types that a value may have (``float`` admits integers), beside null
    where it is ``nullable``; ``dict`` marks a mapping that is passed on as a whole.
    """

    path: str
    types: tuple[type, ...]
    kind: Kind
    stages: tuple[str, ...]
    meaning: str
    nullable: bool = False
    choices: tuple[Any, ...] = ()
    minimum: float | None = None


STAGES = (
    "cells",
    "features",
    "splits",
    "train",
    "predict",
    "predict_baselines",
    "evaluate",
    "report",
)
"""The stages with a slice of their own, in the order in which data flows."""


def _identity(path: str, kind: type, stages: str, meaning: str, **options: Any) -> Key:
    return Key(path, (kind,), Kind.IDENTITY, tuple(stages.split()), meaning, **options)


def _extent(path: str, kind: type, meaning: str, **options: Any) -> Key:
    return Key(path, (kind,), Kind.EXTENT, ("train",), meaning, **options)


def _operational(path: str, kind: type | tuple[type, ...], meaning: str, **options: Any) -> Key:
    types = kind if isinstance(kind, tuple) else (kind,)
    return Key(path, types, Kind.OPERATIONAL, (), meaning, **options)


def _inert(path: str, meaning: str) -> Key:
    return Key(path, (object,), Kind.INERT, (), meaning, nullable=True)


_MODEL = "train"
_DATA = "data.kwargs."
_KWARGS = "model.kwargs."

KEYS: tuple[Key, ...] = (
    _operational("name", str, "Name of the run; its folder is output_dir/name"),
    _operational("output_dir", str, "Folder that holds the runs"),
    _operational("use_wandb", bool, "Log to Weights & Biases, offline without a key"),
    _inert("overwrite", "Outputs are replaced when, and only when, their inputs changed"),
    _inert("return_adatas", "Predicted and observed cells are always written"),
    _inert("pred_adata_path", "Predictions lie in the run's folder"),
    _inert("true_adata_path", "Observed test cells lie in the run's folder"),
    # data
    _inert("data.name", "There is one data path"),
    _operational(_DATA + "toml_config_path", str, "Split file (TOML)", nullable=True),
    _identity(
        _DATA + "embed_key",
        str,
        "cells",
        "Only null (expression, X) so far; obsm matrices are not packed yet",
        nullable=True,
        choices=(None,),
    ),
    _identity(
        _DATA + "output_space",
        str,
        _MODEL,
        "What the model predicts: all or gene (expression)",
        choices=("all", "gene"),
    ),
    _inert(_DATA + "pert_rep", "perturbation_features_file decides: null is one-hot"),
    _inert(_DATA + "basal_rep", "Inputs are sampled control cells"),
    _operational(_DATA + "num_workers", int, "Reader processes", minimum=0),
    _operational(_DATA + "pin_memory", bool, "Copy batches through pinned memory"),
    _inert(_DATA + "n_basal_samples", "One control cell is drawn for each perturbed cell"),
    _identity(
        _DATA + "basal_mapping_strategy",
        str,
        "train predict predict_baselines",
        "Controls of a set come from its context (random) or its technical batch (batch)",
        choices=("random", "batch"),
    ),
    _identity(
        _DATA + "should_yield_control_cells",
        bool,
        _MODEL,
        "Sets of control cells are training targets too",
    ),
    _identity(_DATA + "batch_col", str, "cells", "obs column of the technical batch"),
    _identity(_DATA + "pert_col", str, "cells", "obs column of the perturbation"),
    _identity(_DATA + "cell_type_key", str, "cells", "obs column of the context"),
    _identity(_DATA + "control_pert", str, "cells", "Label of unperturbed cells in pert_col"),
    _identity(
        _DATA + "map_controls",
        bool,
        _MODEL,
        "A control set's input is other controls (true) or the set itself (false)",
    ),
    _identity(
        _DATA + "perturbation_features_file",
        str,
        "features",
        "Vectors of the perturbations; null is one-hot",
        nullable=True,
    ),
    _inert(_DATA + "store_raw_basal", "The packed store keeps every gene"),
    _inert(_DATA + "int_counts", "Counts are recognised (cells.values)"),
    _inert(_DATA + "barcode", "Barcodes are always kept"),
    _inert(_DATA + "output_dir", "The run's folder is output_dir/name"),
    _inert(_DATA + "debug", "Logs are always complete"),
    # model
    _operational(
        "model.name",
        str,
        "State-transition model, whichever of its names is given",
        choices=("PertSets", "state"),
    ),
    _inert("model.checkpoint", "Training resumes by itself"),
    _operational("model.device", str, "The accelerator is chosen by what is there"),
    _identity(
        _KWARGS + "cell_set_len", int, "train predict predict_baselines", "Cells a set", minimum=1
    ),
    _inert(_KWARGS + "extra_tokens", "Cells have no positions to embed"),
    _inert(_KWARGS + "decoder_hidden_dims", "For embeddings: not packed yet"),
    _identity(_KWARGS + "blur", float, _MODEL, "Blur of the Sinkhorn loss", minimum=0),
    _identity(_KWARGS + "hidden_dim", int, _MODEL, "Width of the model", minimum=1),
    _identity(
        _KWARGS + "loss",
        str,
        _MODEL,
        "Loss of a set",
        choices=("energy", "mse", "sinkhorn", "se"),
    ),
    _identity(_KWARGS + "confidence_token", bool, _MODEL, "Not there yet", choices=(False,)),
    _identity(_KWARGS + "confidence_head", bool, _MODEL, "Not there yet", choices=(False,)),
    _identity(_KWARGS + "n_encoder_layers", int, _MODEL, "Layers of the encoders", minimum=1),
    _identity(_KWARGS + "n_decoder_layers", int, _MODEL, "Layers of the decoder", minimum=1),
    _identity(_KWARGS + "predict_residual", bool, _MODEL, "Predict the change from the control"),
    _inert(_KWARGS + "softplus", "Read by nothing, in the reference either"),
    _identity(_KWARGS + "freeze_pert_backbone", bool, _MODEL, "Not there yet", choices=(False,)),
    _identity(_KWARGS + "freeze_pert", bool, _MODEL, "Not there yet", choices=(False,)),
    _inert(_KWARGS + "transformer_decoder", "Read by nothing, in the reference either"),
    _identity(_KWARGS + "finetune_vci_decoder", bool, _MODEL, "Not there yet", choices=(False,)),
    _identity(_KWARGS + "residual_decoder", bool, _MODEL, "Not there yet", choices=(False,)),
    _identity(_KWARGS + "batch_encoder", bool, _MODEL, "Add an embedding of the technical batch"),
    _identity(_KWARGS + "nb_decoder", bool, _MODEL, "Not there yet", choices=(False,)),
    _inert(_KWARGS + "decoder_loss_weight", "For embeddings: not packed yet"),
    _identity(_KWARGS + "use_basal_projection", bool, _MODEL, "Encode controls by an MLP"),
    _identity(_KWARGS + "mask_attn", bool, _MODEL, "Each cell attends to itself alone"),
    _inert(_KWARGS + "use_effect_gating_token", "Read by nothing, in the reference either"),
    _identity(
        _KWARGS + "distributional_loss",
        str,
        _MODEL,
        "Kernel of the loss when loss is energy",
        choices=("energy", "sinkhorn"),
    ),
    _identity(_KWARGS + "regularization", float, _MODEL, "Weight of the change", minimum=0),
    _identity(_KWARGS + "gene_decoder_bool", bool, _MODEL, "For embeddings", choices=(False,)),
    _identity(
        _KWARGS + "init_from",
        str,
        _MODEL,
        "Weights to start from: not there yet",
        nullable=True,
        choices=(None,),
    ),
    _identity(
        _KWARGS + "transformer_backbone_key",
        str,
        _MODEL,
        "Backbone",
        choices=("llama", "GPT2"),
    ),
    _identity(_KWARGS + "transformer_backbone_kwargs", dict, _MODEL, "Sizes of the backbone"),
    # training
    _inert("training.wandb_track", "use_wandb governs"),
    _identity("training.weight_decay", float, _MODEL, "Of AdamW", minimum=0),
    _identity("training.batch_size", int, _MODEL, "Cell sets a step", minimum=1),
    _identity("training.lr", float, _MODEL, "Learning rate of AdamW", minimum=0),
    _extent("training.max_steps", int, "Steps to train", minimum=1),
    _identity(
        "training.train_seed",
        int,
        _MODEL,
        "Seed of weights, sampling and dropout",
        minimum=0,
    ),
    _extent(
        "training.val_freq",
        int,
        "Steps between validations, from where training continues",
        minimum=1,
    ),
    _extent("training.ckpt_every_n_steps", int, "Steps between checkpoints", minimum=1),
    _identity("training.gradient_clip_val", float, _MODEL, "Largest gradient norm", minimum=0),
    _inert("training.loss_fn", "model.kwargs.loss is the objective"),
    _operational("training.devices", int, "One device; several: not there yet", choices=(1,)),
    _operational("training.strategy", str, "Lightning's strategy", choices=("auto",)),
    # wandb
    _operational("wandb.entity", str, "Account", nullable=True),
    _operational("wandb.project", str, "Project"),
    _operational("wandb.local_wandb_dir", str, "Folder of wandb's own files"),
    _operational("wandb.tags", list, "Tags"),
    # ours
    _identity(
        "features.control",
        str,
        "features",
        "Vector of the control",
        choices=("given", "zeros", "mean"),
    ),
    _identity("features.stand_in", bool, "features", "Not real protein features"),
    _operational("cells.datasets", dict, "Files of each dataset", nullable=True),
    _identity(
        "cells.values",
        str,
        "cells",
        "What X holds",
        choices=("auto", "counts", "log1p"),
    ),
    _identity("cells.target_sum", float, "cells", "Counts a cell is scaled to", minimum=1),
    _identity(
        "splits.validation",
        str,
        "splits",
        "Where the validation split comes from",
        choices=("from_toml", "from_train"),
    ),
    _identity("splits.validation_fraction", float, "splits", "Share that is drawn", minimum=0),
    _identity(
        "splits.overlap",
        str,
        "splits",
        "A perturbation in val and in test",
        choices=("error", "test_wins"),
    ),
    _identity("splits.seed", int, "splits", "Seed of the draw", minimum=0),
    _identity(
        "engine.precision",
        str,
        _MODEL,
        "Arithmetic of a step",
        choices=("auto", "32-true", "bf16-mixed", "16-mixed"),
    ),
    _operational("engine.keep_checkpoints", int, "Step checkpoints that stay", minimum=1),
    _identity("engine.validation_sets", int, _MODEL, "Sets a validation looks at", minimum=1),
    _identity(
        "prediction.checkpoint",
        str,
        "predict",
        "Which weights predict",
        choices=("final", "best"),
    ),
    _identity(
        "prediction.seed",
        int,
        "predict predict_baselines",
        "Seed of the draw of controls",
        minimum=0,
    ),
    _identity(
        "prediction.clip",
        bool,
        "predict predict_baselines",
        "Cut predictions at the largest log1p value there can be",
    ),
    _operational("prediction.sets_per_pass", int, "Sets in a forward pass", minimum=1),
    _identity(
        "prediction.baselines",
        list,
        "predict_baselines evaluate",
        "Baselines to predict and score",
    ),
    _identity(
        "evaluation.preset",
        str,
        "evaluate",
        "cell-eval2's preset",
        choices=("v2", "v1", "vcc2026", "cell-eval-0.7.6"),
    ),
    _identity(
        "evaluation.profile",
        str,
        "evaluate",
        "cell-eval2's profile",
        choices=("minimal", "full", "de", "anndata", "vcc2026", "vcc", "pds"),
    ),
    _identity("evaluation.extra_metrics", list, "evaluate", "Metrics beside the profile's"),
    _identity(
        "evaluation.input_type",
        str,
        "evaluate",
        "Scale of the cells",
        choices=("lognorm",),
    ),
    _identity(
        "evaluation.de_backend",
        str,
        "evaluate",
        "Engine of the differential expression",
        choices=("pdex", "scanpy"),
    ),
    _identity("report.title", str, "report", "Heading", nullable=True),
    _identity("report.top_perturbations", int, "report", "Perturbations plotted", minimum=1),
)

BY_PATH: Mapping[str, Key] = {key.path: key for key in KEYS}


def leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ``(dotted path, value)`` of a nested config, in its order.

    A mapping that the schema passes on as a whole is one leaf.
    """
    for name, value in config.items():
        path = f"{prefix}{name}"
        key = BY_PATH.get(path)
        if isinstance(value, Mapping) and not (key and dict in key.types):
            yield from leaves(value, f"{path}.")
        else:
            yield path, value
