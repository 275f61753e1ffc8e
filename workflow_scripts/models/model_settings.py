"""What describes a state-transition (ST) model completely, beside its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from workflow_scripts.settings.choices import READ_BY

OUTPUT_SPACES = ("gene", "all", "embedding")

BOTTLENECK = 8
"""Expression is squeezed to one eighth of its width behind the residual (reference model)."""

CONFIDENCE_NARROWING = 4
"""The last hidden layer behind the confidence token has a quarter of the width (reference)."""


@dataclass(frozen=True)
class GeneDecoderSettings:
    """Describe a gene decoder: from a predicted embedding to the expression of genes.

    Parameters
    ----------
    n_genes
        Number of genes decoded.
    hidden_dims
        Widths of the hidden layers, from the embedding outwards.
    dropout
        Share dropped after each hidden layer in training.
    residual
        Whether every second hidden layer adds its own input: the output of the layer before.

    Raises
    ------
    ValueError
        For a width below one, or a layer that should add what is of another width.
    """

    n_genes: int
    hidden_dims: tuple[int, ...] = (1024, 1024, 512)
    dropout: float = 0.1
    residual: bool = False

    def __post_init__(self) -> None:
        if min(self.n_genes, *self.hidden_dims, 1) < 1:
            raise ValueError(
                f"gene decoder widths must be at least 1; found hidden_dims={self.hidden_dims}, "
                f"n_genes={self.n_genes}"
            )
        pairs = zip(self.hidden_dims[::2], self.hidden_dims[1::2], strict=False)
        if self.residual and any(before != width for before, width in pairs):
            raise ValueError(
                "in a residual gene decoder every second hidden layer is as wide as the one before "
                f"it, to add what that gives; found hidden_dims={self.hidden_dims}"
            )


@dataclass(frozen=True)
class StateTransitionSettings:
    """Describe an ST model completely: the same settings and weights give the same predictions.

    Parameters
    ----------
    input_dim, output_dim
        Widths of a control cell and of a predicted cell.
    pert_dim
        Width of a perturbation's features.
    hidden_dim
        Width of a cell's state, in the encoders and the backbone.
    cell_set_len
        Set size the model is trained with. Other sizes work; attention then averages otherwise.
    n_encoder_layers, n_decoder_layers
        Linear layers in the encoders and in ``project_out``.
    use_basal_projection
        Whether control cells are encoded by ``n_encoder_layers`` layers; if not, by one Linear.
    output_space
        ``"all"`` genes, a chosen ``"gene"`` set, or an ``"embedding"``. It decides where the
        residual lives: for ``"all"`` in the output, otherwise in the hidden state.
    expression_output
        Whether the output is expression, which a ReLU keeps from being negative.
    backbone_key
        ``"llama"`` (RMSNorm, SwiGLU, no biases) or ``"GPT2"`` (LayerNorm, GELU, biases).
    backbone
        What the backbone's config in transformers is made of, by its keys.
    causal
        Whether a cell sees only itself and the cells before it, llama with rotary positions. For
        imported checkpoints: the order of the cells then changes the prediction.
    predict_residual
        Whether the model predicts a change on top of the control cell.
    n_batches
        Number of technical batches embedded and added to the state; None for no batch encoder.
    mask_attn
        Whether each cell sees itself alone.
    dropout
        Share dropped in encoders and ``project_out`` in training.
    gene_decoder
        A decoder from predicted embeddings to expression; None for no decoder.
    batch_token_classes
        Number of technical batches that a batch token tells apart; None for no batch token.
    confidence_token
        Whether a token learns to predict the loss of its set.
    relu_on_embeddings
        Whether a ReLU cuts predicted embeddings at zero, which loses half of each: a defect of the
        reference where it has no gene decoder, kept for its checkpoints.

    Raises
    ------
    ValueError
        For widths below one, an unknown name, or parts that don't fit one another.
    """

    input_dim: int
    output_dim: int
    pert_dim: int
    hidden_dim: int
    cell_set_len: int
    n_encoder_layers: int
    n_decoder_layers: int
    use_basal_projection: bool
    output_space: str
    expression_output: bool
    backbone_key: str
    backbone: Mapping[str, Any]
    causal: bool = False
    predict_residual: bool = True
    n_batches: int | None = None
    mask_attn: bool = False
    dropout: float = 0.1
    gene_decoder: GeneDecoderSettings | None = None
    batch_token_classes: int | None = None
    confidence_token: bool = False
    relu_on_embeddings: bool = False

    def __post_init__(self) -> None:
        sizes = ("input_dim", "output_dim", "pert_dim", "hidden_dim", "cell_set_len")
        for name in (*sizes, "n_encoder_layers", "n_decoder_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        for name, known in (("output_space", OUTPUT_SPACES), ("backbone_key", tuple(READ_BY))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}; known are {known}")
        for name in ("n_batches", "batch_token_classes"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        if self.n_batches is not None and self.batch_token_classes is not None:
            raise ValueError(
                "a batch token learns to name the batch that a batch encoder tells it "
                f"(batch_token_classes={self.batch_token_classes}, n_batches={self.n_batches}); "
                "choose one of them"
            )
        if self.confidence_token and self.hidden_dim < CONFIDENCE_NARROWING:
            raise ValueError(
                f"a confidence token needs hidden_dim ≥ {CONFIDENCE_NARROWING}, found "
                f"{self.hidden_dim}"
            )
        if self.relu_on_embeddings and self.expression_output:
            raise ValueError("relu_on_embeddings is of embeddings, but the output is expression")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is {self.dropout}, must be in [0, 1)")
        if self.residual_in_output:
            if self.input_dim != self.output_dim:
                raise ValueError(
                    "with output_space 'all' and predict_residual the control cell is added to "
                    f"the output, but input_dim={self.input_dim} and output_dim={self.output_dim}"
                )
            if self.output_dim < BOTTLENECK:
                raise ValueError(
                    f"output_space 'all' with predict_residual needs output_dim ≥ {BOTTLENECK}, "
                    f"found {self.output_dim}"
                )

    @property
    def residual_in_output(self) -> bool:
        """Whether the control cell is added in the output's space, not in the hidden state."""
        return self.predict_residual and self.output_space == "all"

    @property
    def squeezed_dim(self) -> int:
        """Width that the output is squeezed to, where the residual lives in it."""
        return self.output_dim // BOTTLENECK

    def to_dict(self) -> dict[str, Any]:
        """Return the settings in JSON's types; ``from_dict`` reads them back."""
        return asdict(self) | {"backbone": dict(sorted(self.backbone.items()))}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StateTransitionSettings:
        """Read settings that ``to_dict`` or ``dataclasses.asdict`` wrote, also through JSON.

        Raises
        ------
        ValueError
            For a key that is unknown or missing, named in the message.
        """
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"unknown model settings: {', '.join(unknown)}")
        parts = dict(values)
        try:
            if parts.get("gene_decoder") is not None:
                decoder = dict(parts["gene_decoder"])
                decoder["hidden_dims"] = tuple(decoder["hidden_dims"])  # JSON has lists only
                parts["gene_decoder"] = GeneDecoderSettings(**decoder)
            return cls(**parts)
        except KeyError as error:
            raise ValueError(f"model settings lack {error.args[0]!r}") from error
        except TypeError as error:
            raise ValueError(f"model settings don't fit: {error}") from error
