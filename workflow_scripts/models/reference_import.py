"""A checkpoint of the reference implementation becomes a model of this project.

Everything in it is used, known to be used by nothing, or refused by its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workflow_scripts.cache.digests import check_zip
from workflow_scripts.errors import DataError
from workflow_scripts.models.files import NAMES, ModelDescription
from workflow_scripts.models.from_config import state_transition_settings
from workflow_scripts.models.model_settings import GeneDecoderSettings, StateTransitionSettings
from workflow_scripts.models.reference_names import (
    POSITIONS,
    RESIDUAL,
    in_our_names,
    is_unused,
    n_layers_of,
    reference_name,
)
from workflow_scripts.models.st import StateTransition
from workflow_scripts.settings.choices import BACKBONE, EXPRESSION, NEEDED_BY
from workflow_scripts.settings.keys import UNSUPPORTED
from workflow_scripts.settings.schema import KEYS

MARK = "stateline_export"
"""Entry of an exported checkpoint with what the reference's own entries can't say."""

WIDTHS = ("input_dim", "output_dim", "pert_dim")

_BESIDE = frozenset(
    {*WIDTHS, "batch_dim", "gene_dim", "hvg_dim", "gene_names", "decoder_cfg"}
    # The reference keeps keys of the training and of the data here too; they change no prediction.
    | {key.name for key in KEYS.values() if key.path.startswith(("training.", "data.kwargs."))}
)


@dataclass(frozen=True)
class Answers:
    """What a person says of a checkpoint that doesn't say it itself.

    Attributes
    ----------
    attention
        ``"full"`` or ``"causal"``; None leaves it to the checkpoint.
    given
        Hyper-parameters that it lacks.
    ignored
        Names of hyper-parameters that nothing here knows, and that change no prediction.
    """

    attention: str | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()


def read_reference(path: Path) -> Mapping[str, Any]:
    """Read a checkpoint of the reference without running code.

    Raises
    ------
    DataError
        If the file is missing, torn, holds code, or isn't such a checkpoint.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such checkpoint")
    try:
        check_zip(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler stumbles over
        raise DataError(
            f"{path}: not a whole checkpoint, or one that holds code ({type(error).__name__}: "
            f"{str(error).splitlines()[0]}); get it again, or save it without objects of classes"
        ) from error
    if not isinstance(content, Mapping) or not {"state_dict", "hyper_parameters"} <= content.keys():
        raise DataError(
            f"{path}: not a checkpoint of the reference: it needs the entries state_dict and "
            "hyper_parameters"
        )
    return content


def import_reference(
    content: Mapping[str, Any], answers: Answers
) -> tuple[StateTransition, ModelDescription]:
    """Build the model of a reference checkpoint, with what is known of its numbers.

    Parameters
    ----------
    content
        What `read_reference` read.
    answers
        What the checkpoint doesn't say.

    Raises
    ------
    DataError
        For a hyper-parameter or a weight that is missing, unknown or doesn't fit, by its name; and
        where the attention is ambiguous.
    """
    parameters = dict(content["hyper_parameters"])
    if said := sorted(answers.given.keys() & parameters.keys()):
        raise DataError(f"the checkpoint says {', '.join(said)} itself; don't give it again")
    parameters |= answers.given
    mark = content.get(MARK, {})
    stored = {name: t for name, t in content["state_dict"].items() if not is_unused(name)}
    positions = stored.pop(POSITIONS, None)
    if positions is not None and positions.any():
        raise DataError(
            f"{POSITIONS} is not zero: this model knows positions of cells, which aren't built here"
        )
    try:
        weights = in_our_names(stored)
        settings = _settings(parameters, weights, answers, mark)
    except DataError:
        raise
    except (TypeError, ValueError) as error:
        raise DataError(f"can't be imported: {error}") from error
    if not settings.predict_residual:
        weights = {name: t for name, t in weights.items() if not name.startswith(RESIDUAL)}
    with torch.device("meta"):
        model = StateTransition(settings)
    _check_weights(model.state_dict(), weights)
    whole = {name: tensor.float().clone() for name, tensor in weights.items()}
    model.load_state_dict(whole, assign=True)
    if mark:
        described = ModelDescription(
            **{name: tuple(mark[name]) for name in NAMES},
            provenance=mark["provenance"],
            embedding=mark["embedding"],
        )
        return model.eval(), described
    provenance = {
        "attention": "causal" if settings.causal else "full",
        "global_step": content.get("global_step"),
        "hyper_parameters": {k: v for k, v in parameters.items() if k != "gene_names"},
    }
    genes = tuple(str(name) for name in parameters.get("gene_names") or ())
    # Of a model of embeddings without a decoder the names say nothing of its numbers.
    genes = genes if len(genes) == n_named_genes(settings) else ()
    embedding = None if settings.expression_output else str(parameters["embed_key"])
    return model.eval(), ModelDescription(genes, provenance=provenance, embedding=embedding)


def n_named_genes(settings: StateTransitionSettings) -> int:
    """Return the number of genes that a model predicts or decodes; 0 if it does neither."""
    if settings.gene_decoder is not None:
        return settings.gene_decoder.n_genes
    return settings.output_dim if settings.expression_output else 0


def _settings(
    parameters: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    answers: Answers,
    mark: Mapping[str, Any],
) -> StateTransitionSettings:
    kwargs = _model_kwargs(parameters, answers.ignored)
    # Where the file has no flag, its weights say which parts there are.
    kwargs.setdefault("n_encoder_layers", n_layers_of(weights, "pert_encoder"))
    kwargs.setdefault("n_decoder_layers", n_layers_of(weights, "project_out"))
    kwargs.setdefault("use_basal_projection", "basal_encoder.weight" not in weights)
    kwargs.setdefault("batch_encoder", "batch_encoder.weight" in weights)
    kwargs.setdefault("use_batch_token", "batch_token.token" in weights)
    if "confidence_head" not in kwargs:
        kwargs.setdefault("confidence_token", "confidence_token.token" in weights)
    for name in (*WIDTHS, "embed_key", "output_space"):
        _required(parameters, name)
    for name in ("hidden_dim", "cell_set_len", "predict_residual"):
        _required(kwargs, name)
    decoder = _decoder(parameters, weights)
    expression = parameters["embed_key"] in EXPRESSION
    settings = state_transition_settings(
        kwargs,
        **{name: parameters[name] for name in WIDTHS},
        output_space=parameters["output_space"],
        expression_output=expression,
        n_batches=parameters.get("batch_dim"),
        causal=_causal(kwargs, answers.attention, mark),
    )
    cut = mark.get("relu_on_embeddings", not expression and decoder is None)
    return replace(settings, gene_decoder=decoder, relu_on_embeddings=cut)


def _model_kwargs(parameters: Mapping[str, Any], ignored: frozenset[str]) -> dict[str, Any]:
    """Pick out what describes the model; refuse what nobody knows and what asks for something."""
    kwargs = {k: v for k, v in parameters.items() if k not in _BESIDE | ignored}
    backbone = dict(_required(kwargs, "transformer_backbone_kwargs"))
    unknown, not_built = [], []
    for values, section, shown in (
        (kwargs, "model.kwargs.", ""),
        (backbone, f"{BACKBONE}.", "transformer_backbone_kwargs."),
    ):
        for name in sorted(values.keys() - {"transformer_backbone_kwargs"}):
            key = KEYS.get(section + name)
            if key is not None and not key.reason.startswith(UNSUPPORTED):
                continue
            value = values.pop(name)
            if value and key is not None:
                not_built.append(f"{shown}{name} is {value!r}")
            elif value and name not in ignored:
                unknown.append(shown + name)
    if not_built:
        raise DataError(
            f"{', '.join(not_built)}: this part of the reference's model is not built here"
        )
    if unknown:
        raise DataError(
            f"hyper-parameters that nothing here knows: {', '.join(unknown)}; if they change no "
            "prediction, name each with --ignore"
        )
    kind = _required(kwargs, "transformer_backbone_key")
    if kind not in NEEDED_BY:
        raise DataError(f"transformer_backbone_key is {kind!r}; known are {tuple(NEEDED_BY)}")
    for name in NEEDED_BY[kind]:
        if name not in backbone:
            raise DataError(f"transformer_backbone_kwargs.{name} is not in the checkpoint")
    return kwargs | {"transformer_backbone_kwargs": backbone}


def _required(values: Mapping[str, Any], name: str) -> Any:
    if name not in values:
        raise DataError(f"the checkpoint has no hyper-parameter {name}; give it with --set {name}=")
    return values[name]


def _causal(kwargs: Mapping[str, Any], asked: str | None, mark: Mapping[str, Any]) -> bool:
    """Find out which attention the model was trained with.

    The reference's GPT2 keeps its causal mask whatever its keys say. Its llama has full attention
    without rotary positions where ``bidirectional_attention`` is true, and where it is false it is
    causal with them; older files don't say.
    """
    flag = kwargs["transformer_backbone_kwargs"].get("bidirectional_attention")
    known = True if kwargs["transformer_backbone_key"] == "GPT2" else None
    if known is None and flag is not None:
        known = not flag
    known = mark.get("causal", known)
    if known is None and asked is None:
        raise DataError(
            "transformer_backbone_kwargs.bidirectional_attention is not in the checkpoint, so that "
            "its attention is ambiguous: say --attention full or --attention causal"
        )
    if known is None:
        return asked == "causal"
    if asked is not None and known != (asked == "causal"):
        there = "causal" if known else "full"
        raise DataError(
            f"--attention {asked}, but this checkpoint's attention is {there}; leave the option out"
        )
    return bool(known)


def _decoder(
    parameters: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> GeneDecoderSettings | None:
    """Describe the gene decoder by its weights: by what it was built, some files don't say."""
    asked = parameters.get("decoder_cfg") if parameters.get("gene_decoder_bool", True) else None
    linear = [
        tensor
        for name, tensor in weights.items()
        if name.startswith("gene_decoder.") and name.endswith(".weight") and tensor.ndim == 2
    ]
    described = dict(asked or {})
    if linear:
        described["hidden_dims"] = [len(tensor) for tensor in linear[:-1]]
        described["gene_dim"] = len(linear[-1])
        described["residual_decoder"] = any(n.startswith("gene_decoder.blocks.") for n in weights)
    elif asked is None or parameters["embed_key"] in EXPRESSION:
        return None
    dropout = described.get("dropout", GeneDecoderSettings(1).dropout)
    return GeneDecoderSettings(
        n_genes=described["gene_dim"],
        hidden_dims=tuple(described["hidden_dims"]),
        dropout=dropout,
        residual=bool(described.get("residual_decoder", False)),
    )


def _check_weights(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Refuse weights that are missing, unknown or of another shape, all of them named."""
    problems = []
    if missing := sorted(map(reference_name, expected.keys() - found.keys())):
        problems.append(f"missing weights: {', '.join(missing)}")
    if unknown := sorted(map(reference_name, found.keys() - expected.keys())):
        problems.append(f"unknown weights: {', '.join(unknown)}")
    problems += [
        f"{reference_name(name)} is {tuple(found[name].shape)} where the hyper-parameters say "
        f"{tuple(expected[name].shape)}"
        for name in sorted(expected.keys() & found.keys())
        if found[name].shape != expected[name].shape
    ]
    if problems:
        raise DataError(
            "weights and hyper-parameters don't fit: " + "; ".join(problems) + ". A part that "
            "isn't built here, or a file that was put together from two"
        )
