"""Root-mean-square normalization, with its gradient in closed form.

What a llama layer does beside its matrix products is bound by memory: autograd would keep and pass
over an intermediate for each power, mean, root and product, which takes twice the time.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class RMSNorm(nn.Module):
    """Divide each cell's state by its root mean square and scale it (Zhang & Sennrich 2019, eq. 4).

    Parameters
    ----------
    dim
        Width of the states.
    eps
        Added to the mean square.
    """

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, states: Float[Tensor, "*cells hidden"]) -> Float[Tensor, "*cells hidden"]:
        """Return normalized states in the precision they have, computed in float32 at least."""
        normed: Tensor = _RMSNorm.apply(states, self.weight, self.eps)  # type: ignore[no-untyped-call]
        return normed


class _RMSNorm(torch.autograd.Function):
    """``x · r · weight`` with ``r = (mean(x²) + eps)^-½``."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = states.to(torch.promote_types(states.dtype, torch.float32))
        squares = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_()
        scale = squares.div_(states.shape[-1]).add_(eps).rsqrt_()
        normed = wide * scale
        ctx.save_for_backward(normed, scale, weight)
        ctx.dtype = states.dtype
        scaled: Tensor = normed * weight
        return scaled.to(states.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """Return r·(w∘g − n·mean(w∘g∘n)) for the states, n being normalized, and Σ g∘n for w."""
        normed, scale, weight = ctx.saved_tensors
        gradient, wide_weight = gradient.to(normed.dtype), weight.to(normed.dtype)
        products = gradient * normed
        shared = (products @ wide_weight).div_(len(weight)).unsqueeze(-1)
        of_states = torch.addcmul(gradient * wide_weight, normed, shared, value=-1.0).mul_(scale)
        of_weight = products.flatten(0, -2).sum(dim=0)
        return of_states.to(ctx.dtype), of_weight.to(weight.dtype), None
