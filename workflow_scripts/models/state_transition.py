"""The state-transition (ST) model: control cells and a perturbation in, perturbed cells out.

The mathematics, the names of the parts and the defaults are those of the reference implementation
(Adduri et al. 2025, "Predicting cellular responses to perturbation across diverse contexts with
State"), so that its weights load here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from workflow_scripts.models.backbones import BackboneSettings, build_backbone
from workflow_scripts.models.gene_decoder import GeneDecoder, GeneDecoderSettings

OUTPUT_SPACES = ("gene", "all", "embedding")

BOTTLENECK = 8
"""Expression is squeezed to one eighth of its width behind the residual (reference model)."""


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
    backbone
        The transformer; as wide as ``hidden_dim``.
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

    Raises
    ------
    ValueError
        For widths below one, an unknown output space, or parts that don't fit one another.
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
    backbone: BackboneSettings
    predict_residual: bool = True
    n_batches: int | None = None
    mask_attn: bool = False
    dropout: float = 0.1
    gene_decoder: GeneDecoderSettings | None = None

    def __post_init__(self) -> None:
        sizes = ("input_dim", "output_dim", "pert_dim", "hidden_dim", "cell_set_len")
        for name in (*sizes, "n_encoder_layers", "n_decoder_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        if self.output_space not in OUTPUT_SPACES:
            raise ValueError(f"output_space is {self.output_space!r}; known are {OUTPUT_SPACES}")
        if self.n_batches is not None and self.n_batches < 1:
            raise ValueError(f"n_batches is {self.n_batches}, must be at least 1")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is {self.dropout}, must be in [0, 1)")
        if self.backbone.hidden_dim != self.hidden_dim:
            raise ValueError(
                f"the backbone is {self.backbone.hidden_dim} wide, hidden_dim is {self.hidden_dim}"
            )
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

    def to_dict(self) -> dict[str, Any]:
        """Return the settings in JSON's types; ``from_dict`` reads them back."""
        return asdict(self)

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
            parts["backbone"] = BackboneSettings(**parts["backbone"])
            if parts.get("gene_decoder") is not None:
                decoder = dict(parts["gene_decoder"])
                decoder["hidden_dims"] = tuple(decoder["hidden_dims"])  # JSON has lists only
                parts["gene_decoder"] = GeneDecoderSettings(**decoder)
            return cls(**parts)
        except KeyError as error:
            raise ValueError(f"model settings lack {error.args[0]!r}") from error
        except TypeError as error:
            raise ValueError(f"model settings don't fit: {error}") from error


class StateTransition(nn.Module):
    """Predict perturbed cells from sets of control cells and a perturbation's features.

    Initial weights come from torch's global generator.

    Parameters
    ----------
    settings
        The model's description.
    """

    def __init__(self, settings: StateTransitionSettings) -> None:
        super().__init__()
        hidden, output = settings.hidden_dim, settings.output_dim
        self.settings = settings
        self.pert_encoder = mlp(
            settings.pert_dim, hidden, hidden, settings.n_encoder_layers, settings.dropout
        )
        self.basal_encoder: nn.Module = (
            mlp(settings.input_dim, hidden, hidden, settings.n_encoder_layers, settings.dropout)
            if settings.use_basal_projection
            else nn.Linear(settings.input_dim, hidden)
        )
        self.batch_encoder = (
            None if settings.n_batches is None else nn.Embedding(settings.n_batches, hidden)
        )
        self.transformer_backbone = build_backbone(settings.backbone)
        self.project_out = mlp(hidden, hidden, output, settings.n_decoder_layers, settings.dropout)
        self.final_down_then_up = (
            nn.Sequential(
                nn.Linear(output, output // BOTTLENECK),
                nn.GELU(),
                nn.Linear(output // BOTTLENECK, output),
            )
            if settings.residual_in_output
            else None
        )
        self.gene_decoder = (
            None if settings.gene_decoder is None else GeneDecoder(output, settings.gene_decoder)
        )

    def forward(
        self,
        control: Float[Tensor, "sets cells input"],
        features: Float[Tensor, "sets features"] | Float[Tensor, "sets cells features"],
        batch: Int[Tensor, "sets cells"] | None = None,
        *,
        perturbation: Int[Tensor, " sets"] | None = None,
        context: Int[Tensor, " sets"] | None = None,
    ) -> Float[Tensor, "sets cells output"]:
        """Predict each control cell as if it had been perturbed.

        Parameters
        ----------
        control
            Control cells: expression (log1p of normalised counts) or an embedding.
        features
            The perturbation's features, one vector a set (encoded once, the faster way) or the
            same vector at each cell.
        batch
            Technical batch of each cell; read where the settings have ``n_batches``.
        perturbation, context
            Numbers of the set's perturbation and context. Not read: the ST model knows them by
            features and control cells. Baselines have the same interface and read them.

        Returns
        -------
        The predicted cells, in the order of the control cells.

        Raises
        ------
        ValueError
            If a width differs from the settings, or ``batch`` is missing where it is needed.
        """
        self._check_inputs(control, features, batch)
        basal = self.basal_encoder(control)
        encoded = self.pert_encoder(features)
        states = basal + (encoded[:, None] if features.ndim == 2 else encoded)
        if self.batch_encoder is not None:
            states = states + self.batch_encoder(batch)

        mask = None
        if self.settings.mask_attn:
            n_cells = control.shape[1]
            mask = torch.eye(n_cells, dtype=torch.bool, device=control.device)[None, None]
        states = self.transformer_backbone(states, mask)

        if self.final_down_then_up is not None:
            prediction: Tensor = self.final_down_then_up(self.project_out(states) + control)
        elif self.settings.predict_residual:
            prediction = self.project_out(states + basal)
        else:
            prediction = self.project_out(states)
        return prediction.relu() if self.settings.expression_output else prediction

    def decode(
        self, prediction: Float[Tensor, "sets cells output"]
    ) -> Float[Tensor, "sets cells genes"]:
        """Decode predicted embeddings into expression (log1p of normalised counts).

        Raises
        ------
        ValueError
            If the model has no gene decoder.
        """
        if self.gene_decoder is None:
            raise ValueError("this model has no gene decoder: its prediction can't be decoded")
        expression: Tensor = self.gene_decoder(prediction)
        return expression

    def _check_inputs(self, control: Tensor, features: Tensor, batch: Tensor | None) -> None:
        if control.shape[-1] != self.settings.input_dim:
            raise ValueError(
                f"control cells are {control.shape[-1]} wide, the model reads "
                f"{self.settings.input_dim} (input_dim)"
            )
        if features.shape[-1] != self.settings.pert_dim:
            raise ValueError(
                f"perturbation features are {features.shape[-1]} wide, the model reads "
                f"{self.settings.pert_dim} (pert_dim)"
            )
        if self.batch_encoder is not None and batch is None:
            raise ValueError("this model embeds technical batches: it needs `batch`")


def mlp(
    input_dim: int, hidden_dim: int, output_dim: int, n_layers: int, dropout: float
) -> nn.Sequential:
    """Build (Linear, GELU, Dropout) × (n_layers − 1), then Linear, without norms."""
    layers: list[nn.Module] = []
    width = input_dim
    for _ in range(n_layers - 1):
        layers += [nn.Linear(width, hidden_dim), nn.GELU(), nn.Dropout(dropout)]
        width = hidden_dim
    return nn.Sequential(*layers, nn.Linear(width, output_dim))
