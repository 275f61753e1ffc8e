"""The state-transition (ST) model: control cells and a perturbation in, perturbed cells out.

Its mathematics, the names of its parts and its defaults are those of the reference implementation
(Adduri et al. 2025, "Predicting cellular responses to perturbation across diverse contexts with
State"), so that its weights load here. The transformers are those of ``transformers``, fed with
cells in place of words: without positions, and every cell sees all cells of its set, so that their
order doesn't matter. ``StateTransitionSettings.causal`` keeps the other behaviour for imported
checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from workflow_scripts.models.model_settings import (
    CONFIDENCE_NARROWING,
    GeneDecoderSettings,
    StateTransitionSettings,
)

INITIAL_STD = 0.02
"""Standard deviation of a token's initial numbers: that of weights in transformers."""


@dataclass(frozen=True)
class Outputs:
    """Predicted cells, and what the tokens predict of each set.

    Attributes
    ----------
    prediction
        The predicted cells, in the order of the control cells.
    confidence
        Loss that the confidence token expects of each set, times 10; None without such a token.
    batch_logits
        Unnormalised log probabilities of the technical batches of each set; None without a batch
        token.
    """

    prediction: Float[Tensor, "sets cells output"]
    confidence: Float[Tensor, " sets"] | None = None
    batch_logits: Float[Tensor, "sets batches"] | None = None


class StateTransition(nn.Module):
    """Predict perturbed cells from sets of control cells and a perturbation's features.

    Initial weights come from torch's global generator.
    """

    def __init__(self, settings: StateTransitionSettings) -> None:
        super().__init__()
        hidden, output, dropout = settings.hidden_dim, settings.output_dim, settings.dropout
        depth = settings.n_encoder_layers
        self.settings = settings
        self.pert_encoder = mlp(settings.pert_dim, hidden, hidden, depth, dropout)
        self.basal_encoder: nn.Module = (
            mlp(settings.input_dim, hidden, hidden, depth, dropout)
            if settings.use_basal_projection
            else nn.Linear(settings.input_dim, hidden)
        )
        self.batch_encoder = (
            None if settings.n_batches is None else nn.Embedding(settings.n_batches, hidden)
        )
        self.transformer_backbone = make_backbone(settings)
        self.project_out = mlp(hidden, hidden, output, settings.n_decoder_layers, dropout)
        self.final_down_then_up = (
            nn.Sequential(
                nn.Linear(output, settings.squeezed_dim),
                nn.GELU(),
                nn.Linear(settings.squeezed_dim, output),
            )
            if settings.residual_in_output
            else None
        )
        self.gene_decoder = (
            None if settings.gene_decoder is None else GeneDecoder(output, settings.gene_decoder)
        )
        self.batch_token = (
            None
            if settings.batch_token_classes is None
            else BatchToken(hidden, settings.batch_token_classes)
        )
        self.confidence_token = (
            ConfidenceToken(hidden, dropout) if settings.confidence_token else None
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
            Numbers of the set's perturbation and context. Not read: baselines, which have the same
            interface, read them.

        Returns
        -------
        The predicted cells, in the order of the control cells.

        Raises
        ------
        ValueError
            If a width differs from the settings, shapes don't fit one another, or ``batch`` is
            missing where it is needed.
        """
        return self.outputs(control, features, batch).prediction

    def outputs(
        self,
        control: Float[Tensor, "sets cells input"],
        features: Float[Tensor, "sets features"] | Float[Tensor, "sets cells features"],
        batch: Int[Tensor, "sets cells"] | None = None,
    ) -> Outputs:
        """Predict as ``forward`` does, and return what the tokens predict as well."""
        self._check_inputs(control, features, batch)
        basal = self.basal_encoder(control)
        encoded = self.pert_encoder(features)
        states = basal + (encoded[:, None] if features.ndim == 2 else encoded)
        if self.batch_encoder is not None:
            states = states + self.batch_encoder(batch)
        # The batch token stands first and the confidence token last: with causal attention all
        # cells see the one, and the other sees all cells.
        if self.batch_token is not None:
            states = torch.cat([self.batch_token.of_sets(states), states], dim=1)
        if self.confidence_token is not None:
            states = torch.cat([states, self.confidence_token.of_sets(states)], dim=1)
        after = self.transformer_backbone(
            inputs_embeds=states, attention_mask=self._mask(states)
        ).last_hidden_state
        first = 0 if self.batch_token is None else 1
        states = after[:, first : first + control.shape[1]]

        if self.final_down_then_up is not None:
            prediction: Tensor = self.final_down_then_up(self.project_out(states) + control)
        elif self.settings.predict_residual:
            prediction = self.project_out(states + basal)
        else:
            prediction = self.project_out(states)
        if self.settings.expression_output or self.settings.relu_on_embeddings:
            prediction = prediction.relu()
        return Outputs(
            prediction,
            None if self.confidence_token is None else self.confidence_token(after[:, -1]),
            None if self.batch_token is None else self.batch_token(after[:, 0]),
        )

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

    def _mask(self, states: Tensor) -> Tensor | None:
        """Return which states see which; None is the causal mask of transformers."""
        n_states, device = states.shape[1], states.device
        if self.settings.mask_attn:
            return torch.eye(n_states, dtype=torch.bool, device=device)[None, None]
        if self.settings.causal:
            return None
        return torch.ones(1, 1, n_states, n_states, dtype=torch.bool, device=device)

    def _check_inputs(self, control: Tensor, features: Tensor, batch: Tensor | None) -> None:
        for found, name, what in (
            (control, "input_dim", "control cells are"),
            (features, "pert_dim", "perturbation features are"),
        ):
            if found.shape[-1] != getattr(self.settings, name):
                raise ValueError(
                    f"{what} {found.shape[-1]} wide, the model reads "
                    f"{getattr(self.settings, name)} ({name})"
                )
        sets_and_cells = control.shape[:-1]
        # Torch would stretch a set to many, or take cells for sets, without a word.
        if control.ndim != 3 or features.shape[:-1] not in (sets_and_cells[:1], sets_and_cells):
            raise ValueError(
                f"control cells are [sets, cells, input_dim] and features [sets, pert_dim] or "
                f"[sets, cells, pert_dim], of the same sets; found {tuple(control.shape)} and "
                f"{tuple(features.shape)}"
            )
        if self.batch_encoder is not None:
            if batch is None:
                raise ValueError("this model embeds technical batches: it needs `batch`")
            if batch.shape != sets_and_cells:
                raise ValueError(
                    f"`batch` is [sets, cells], a number for each control cell; found "
                    f"{tuple(batch.shape)} for control cells {tuple(control.shape)}"
                )


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


def normed_block(input_dim: int, output_dim: int, dropout: float) -> list[nn.Module]:
    """Build Linear, LayerNorm, GELU, Dropout."""
    linear = nn.Linear(input_dim, output_dim)
    return [linear, nn.LayerNorm(output_dim), nn.GELU(), nn.Dropout(dropout)]


def make_backbone(settings: StateTransitionSettings) -> nn.Module:
    """Build a model of transformers without the embeddings of words and positions."""
    # Only now: transformers takes seconds to import, and baselines need none of it.
    from transformers import GPT2Config, GPT2Model, LlamaConfig, LlamaModel
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    shared: dict[str, Any] = {
        **{"vocab_size": 1, "bos_token_id": None, "eos_token_id": None},
        **{"use_cache": False, "attn_implementation": "sdpa"},
    }
    if settings.backbone_key == "GPT2":
        gpt2 = GPT2Model(
            GPT2Config(n_embd=settings.hidden_dim, n_positions=1, **settings.backbone, **shared)
        )
        del gpt2.wte
        gpt2.wpe = NoPositionEmbedding()  # type: ignore[assignment]
        return gpt2
    config = LlamaConfig(hidden_size=settings.hidden_dim, **settings.backbone, **shared)
    llama = LlamaModel(config)
    del llama.embed_tokens
    with torch.device("cpu"):  # its table is no weight, which a model without storage would lack
        rotation = LlamaRotaryEmbedding(config) if settings.causal else NoRotation()
    llama.rotary_emb = rotation  # type: ignore[assignment]
    return llama


class NoPositionEmbedding(nn.Module):
    """GPT2's embedding of positions that cells don't have."""

    def forward(self, position_ids: Tensor) -> Tensor:
        """Return a zero for all positions."""
        return torch.zeros((), device=position_ids.device)


class NoRotation(nn.Module):
    """Llama's rotary embedding of positions that cells don't have."""

    def forward(self, states: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cosine and the sine of no angle."""
        cosine = states.new_ones(1, 1, 1)
        return cosine, torch.zeros_like(cosine)


class GeneDecoder(nn.Module):
    """Decode embeddings into non-negative expression: (Linear, LayerNorm, GELU, Dropout)…, Linear.

    Its parts are named as the reference names them in either kind.
    """

    def __init__(self, latent_dim: int, settings: GeneDecoderSettings) -> None:
        super().__init__()
        widths = (latent_dim, *settings.hidden_dims)
        layers = [
            normed_block(before, width, settings.dropout) for before, width in pairwise(widths)
        ]
        last = nn.Linear(widths[-1], settings.n_genes), nn.ReLU()
        self.residual = settings.residual
        if self.residual:
            self.blocks = nn.ModuleList(nn.Sequential(*layer) for layer in layers)
            self.final_layer = nn.Sequential(*last)
        else:
            self.decoder = nn.Sequential(*(part for layer in layers for part in layer), *last)

    def forward(
        self, embedding: Float[Tensor, "sets cells latent"]
    ) -> Float[Tensor, "sets cells genes"]:
        """Return the expression (log1p of normalised counts) of each embedded cell."""
        if not self.residual:
            expression: Tensor = self.decoder(embedding)
            return expression
        state = embedding
        for at, block in enumerate(self.blocks):
            state = block(state) + state if at % 2 else block(state)
        decoded: Tensor = self.final_layer(state)
        return decoded


class Token(nn.Module):
    """A learned state that stands beside the cells of every set."""

    def __init__(self, hidden_dim: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(hidden_dim) * INITIAL_STD)

    def of_sets(self, states: Float[Tensor, "sets cells hidden"]) -> Float[Tensor, "sets 1 hidden"]:
        """Return the token once for each set, of the type of the cells' states."""
        return self.token.to(states.dtype).expand(len(states), 1, -1)


class BatchToken(Token):
    """A token that learns to name the technical batch of its set."""

    def __init__(self, hidden_dim: int, n_batches: int) -> None:
        super().__init__(hidden_dim)
        self.classifier = nn.Linear(hidden_dim, n_batches)

    def forward(self, state: Float[Tensor, "sets hidden"]) -> Float[Tensor, "sets batches"]:
        """Return unnormalised log probabilities of the batches, from the token's final state."""
        logits: Tensor = self.classifier(state)
        return logits


class ConfidenceToken(Token):
    """A token that learns to predict the loss of its set."""

    def __init__(self, hidden_dim: int, dropout: float) -> None:
        super().__init__(hidden_dim)
        half, quarter = hidden_dim // 2, hidden_dim // CONFIDENCE_NARROWING
        last = nn.Linear(quarter, 1)
        # A ReLU that starts below zero in every set would pass no gradient, ever.
        nn.init.ones_(last.bias)
        self.head = nn.Sequential(
            *normed_block(hidden_dim, half, dropout),
            *normed_block(half, quarter, dropout),
            *(last, nn.ReLU()),
        )

    def forward(self, state: Float[Tensor, "sets hidden"]) -> Float[Tensor, " sets"]:
        """Return the loss that is expected of each set, times 10, from the token's final state."""
        # In float32 always: half a precision would round a loss of 40 to quarters.
        with torch.autocast(device_type=state.device.type, enabled=False):
            expected: Tensor = self.head(state.float())
        return expected.squeeze(1)
