"""What describes the transformer of a model. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

BACKBONES = ("llama", "GPT2")

INITIAL_STD = 0.02
"""Standard deviation of initial weights: ``initializer_range`` of both models in transformers."""


@dataclass(frozen=True)
class BackboneSettings:
    """Describe a backbone, of either kind, in one vocabulary.

    Parameters
    ----------
    key
        ``"llama"`` (RMSNorm, SwiGLU, no biases) or ``"GPT2"`` (LayerNorm, GELU, biases).
    hidden_dim
        Width of a cell's state.
    n_layers, n_heads
        Number of layers, and of attention heads in each.
    n_key_value_heads
        Heads of keys and values; fewer than ``n_heads`` share them. GPT2 has ``n_heads``.
    head_dim
        Width of a head. GPT2 has ``hidden_dim / n_heads``.
    intermediate_dim
        Width inside the feed-forward part of a layer.
    norm_eps
        Added to the variance in each normalisation.
    attention_dropout
        Share of attention weights dropped in training.
    residual_dropout, embedding_dropout
        Shares dropped of what a layer adds, and of the input. GPT2 only.
    causal
        Whether a cell sees only itself and the cells before it, llama with rotary positions. For
        imported checkpoints: the order of the cells then changes the prediction.

    Raises
    ------
    ValueError
        For an unknown key, sizes below one, heads that don't divide, or what GPT2 alone has.
    """

    key: str
    hidden_dim: int
    n_layers: int
    n_heads: int
    n_key_value_heads: int
    head_dim: int
    intermediate_dim: int
    norm_eps: float
    attention_dropout: float = 0.0
    residual_dropout: float = 0.0
    embedding_dropout: float = 0.0
    causal: bool = False

    def __post_init__(self) -> None:
        if self.key not in BACKBONES:
            raise ValueError(f"backbone key is {self.key!r}; known are {BACKBONES}")
        for name in ("hidden_dim", "n_layers", "n_heads", "n_key_value_heads", "head_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"backbone {name} is {getattr(self, name)}, must be at least 1")
        if self.n_heads % self.n_key_value_heads:
            raise ValueError(
                f"backbone n_key_value_heads={self.n_key_value_heads} does not divide "
                f"n_heads={self.n_heads}"
            )
        if self.key == "llama" and (self.residual_dropout or self.embedding_dropout):
            raise ValueError("a llama backbone has no residual_dropout and no embedding_dropout")
        if self.key == "GPT2" and (
            self.n_key_value_heads != self.n_heads
            or self.head_dim * self.n_heads != self.hidden_dim
        ):
            raise ValueError(
                "a GPT2 backbone has as many key-value heads as heads, and hidden_dim = n_heads × "
                f"head_dim; found n_heads={self.n_heads}, head_dim={self.head_dim}, "
                f"n_key_value_heads={self.n_key_value_heads}, hidden_dim={self.hidden_dim}"
            )
