"""The state-transition (ST) model: control cells and a perturbation in, perturbed cells out.

The mathematics, the names of the parts and the defaults are those of the reference implementation
(Adduri et al. 2025, "Predicting cellular responses to perturbation across diverse contexts with
State"), so that its weights load here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from workflow_scripts.models.gene_decoder import GeneDecoder
from workflow_scripts.models.model_settings import StateTransitionSettings
from workflow_scripts.models.tokens import BatchToken, ConfidenceToken


@dataclass(frozen=True)
class Outputs:
    """What a model says of some sets: the predicted cells, and what its tokens say.

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

    Parameters
    ----------
    settings
        The model's description.
    """

    def __init__(self, settings: StateTransitionSettings) -> None:
        # Only now: transformers takes seconds to import, and baselines need none of it.
        from workflow_scripts.models.backbones import build_backbone

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
            ConfidenceToken(hidden, settings.dropout) if settings.confidence_token else None
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
        """Predict as ``forward`` does, and return what the tokens say as well.

        Takes and raises what ``forward`` does.
        """
        self._check_inputs(control, features, batch)
        basal = self.basal_encoder(control)
        encoded = self.pert_encoder(features)
        states = basal + (encoded[:, None] if features.ndim == 2 else encoded)
        if self.batch_encoder is not None:
            states = states + self.batch_encoder(batch)
        states, batch_state, confidence_state = self._attend(states)

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
            None if self.confidence_token is None else self.confidence_token(confidence_state),
            None if self.batch_token is None else self.batch_token(batch_state),
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

    def _attend(
        self, states: Float[Tensor, "sets cells hidden"]
    ) -> tuple[
        Float[Tensor, "sets cells hidden"],
        Float[Tensor, "sets hidden"],
        Float[Tensor, "sets hidden"],
    ]:
        """Pass cells and tokens through the backbone: states of the cells, the first, the last.

        The batch token stands first and the confidence token last: with causal attention all cells
        see the one, and the other sees all cells.
        """
        if self.batch_token is not None:
            states = torch.cat([self.batch_token.of_sets(states), states], dim=1)
        if self.confidence_token is not None:
            states = torch.cat([states, self.confidence_token.of_sets(states)], dim=1)
        n_states = states.shape[1]
        mask = None
        if self.settings.mask_attn:
            mask = torch.eye(n_states, dtype=torch.bool, device=states.device)[None, None]
        after: Tensor = self.transformer_backbone(states, mask)
        start = 0 if self.batch_token is None else 1
        end = n_states - (0 if self.confidence_token is None else 1)
        return after[:, start:end], after[:, 0], after[:, -1]

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
