"""From a predicted embedding to the expression of genes."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class GeneDecoderSettings:
    """Describe a gene decoder.

    Parameters
    ----------
    n_genes
        Number of genes decoded.
    hidden_dims
        Widths of the hidden layers, from the embedding outwards.
    dropout
        Share dropped after each hidden layer in training.

    Raises
    ------
    ValueError
        For a width below one.
    """

    n_genes: int
    hidden_dims: tuple[int, ...] = (1024, 1024, 512)
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if min(self.n_genes, *self.hidden_dims, 1) < 1:
            raise ValueError(
                f"gene decoder widths must be at least 1; found hidden_dims={self.hidden_dims}, "
                f"n_genes={self.n_genes}"
            )


class GeneDecoder(nn.Module):
    """Decode embeddings into non-negative expression: (Linear, LayerNorm, GELU, Dropout)…, Linear.

    Parameters
    ----------
    latent_dim
        Width of the embedding.
    settings
        The decoder's widths.
    """

    def __init__(self, latent_dim: int, settings: GeneDecoderSettings) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = latent_dim
        for hidden in settings.hidden_dims:
            layers += [
                nn.Linear(width, hidden),
                nn.LayerNorm(hidden),
                nn.GELU(),
                nn.Dropout(settings.dropout),
            ]
            width = hidden
        layers += [nn.Linear(width, settings.n_genes), nn.ReLU()]
        self.decoder = nn.Sequential(*layers)

    def forward(
        self, embedding: Float[Tensor, "sets cells latent"]
    ) -> Float[Tensor, "sets cells genes"]:
        """Return the expression (log1p of normalised counts) of each embedded cell."""
        expression: Tensor = self.decoder(embedding)
        return expression
