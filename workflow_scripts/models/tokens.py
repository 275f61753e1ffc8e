"""Learned tokens beside the cells of a set: what they see of it, they say."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from workflow_scripts.models.backbone_settings import INITIAL_STD
from workflow_scripts.models.model_settings import CONFIDENCE_NARROWING


class Token(nn.Module):
    """A learned state that stands beside the cells of every set.

    Parameters
    ----------
    hidden_dim
        Width of a cell's state.
    """

    def __init__(self, hidden_dim: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(hidden_dim) * INITIAL_STD)

    def of_sets(self, states: Float[Tensor, "sets cells hidden"]) -> Float[Tensor, "sets 1 hidden"]:
        """Return the token once for each set, of the type of the cells' states."""
        return self.token.to(states.dtype).expand(len(states), 1, -1)


class BatchToken(Token):
    """A token that learns to name the technical batch of its set.

    Parameters
    ----------
    hidden_dim
        Width of a cell's state.
    n_batches
        Number of technical batches.
    """

    def __init__(self, hidden_dim: int, n_batches: int) -> None:
        super().__init__(hidden_dim)
        self.classifier = nn.Linear(hidden_dim, n_batches)

    def forward(self, state: Float[Tensor, "sets hidden"]) -> Float[Tensor, "sets batches"]:
        """Return unnormalised log probabilities of the batches, from the token's final state."""
        logits: Tensor = self.classifier(state)
        return logits


class ConfidenceToken(Token):
    """A token that learns to predict the loss of its set, so that a reader knows how sure it is.

    Parameters
    ----------
    hidden_dim
        Width of a cell's state.
    dropout
        Share dropped in its hidden layers in training.
    """

    def __init__(self, hidden_dim: int, dropout: float) -> None:
        super().__init__(hidden_dim)
        half, quarter = hidden_dim // 2, hidden_dim // CONFIDENCE_NARROWING
        last = nn.Linear(quarter, 1)
        # A ReLU that starts below zero in every set would pass no gradient, ever.
        nn.init.ones_(last.bias)
        self.head = nn.Sequential(
            *(nn.Linear(hidden_dim, half), nn.LayerNorm(half), nn.GELU(), nn.Dropout(dropout)),
            *(nn.Linear(half, quarter), nn.LayerNorm(quarter), nn.GELU(), nn.Dropout(dropout)),
            *(last, nn.ReLU()),
        )

    def forward(self, state: Float[Tensor, "sets hidden"]) -> Float[Tensor, " sets"]:
        """Return the loss that is expected of each set, times 10, from the token's final state."""
        # In float32 always: half a precision would round a loss of 40 to quarters.
        with torch.autocast(device_type=state.device.type, enabled=False):
            expected: Tensor = self.head(state.float())
        return expected.squeeze(1)
