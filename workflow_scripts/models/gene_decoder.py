"""From a predicted embedding to the expression of genes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

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
        widths = (latent_dim, *settings.hidden_dims)
        layers = [
            (
                nn.Linear(before, width),
                nn.LayerNorm(width),
                nn.GELU(),
                nn.Dropout(settings.dropout),
            )
            for before, width in pairwise(widths)
        ]
        last = nn.Linear(widths[-1], settings.n_genes), nn.ReLU()
        # Named as the reference names the two kinds, so that its weights load here.
        if settings.residual:
            self.blocks = nn.ModuleList(nn.Sequential(*layer) for layer in layers)
            self.final_layer = nn.Sequential(*last)
        else:
            self.decoder = nn.Sequential(*(part for layer in layers for part in layer), *last)
        self._residual = settings.residual

    def forward(
        self, embedding: Float[Tensor, "sets cells latent"]
    ) -> Float[Tensor, "sets cells genes"]:
        """Return the expression (log1p of normalised counts) of each embedded cell."""
        if not self._residual:
            expression: Tensor = self.decoder(embedding)
            return expression
        state = embedding
        for at, block in enumerate(self.blocks):
            state = block(state) + state if at % 2 else block(state)
        decoded: Tensor = self.final_layer(state)
        return decoded
