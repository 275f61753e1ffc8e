"""The normalization of llama layers: transformers' own, to rounding, and its gradient."""

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from workflow_scripts.models.norm import RMSNorm


def pair(dtype: torch.dtype) -> tuple[RMSNorm, LlamaRMSNorm, torch.Tensor]:
    draws = torch.Generator().manual_seed(3)
    ours, theirs = RMSNorm(24, 1e-6).to(dtype), LlamaRMSNorm(24, eps=1e-6).to(dtype)
    weight = torch.randn(24, generator=draws).to(dtype)
    for norm in (ours, theirs):
        norm.load_state_dict({"weight": weight})
    return ours, theirs, torch.randn(2, 5, 24, generator=draws).to(dtype)


@pytest.mark.parametrize(
    ("dtype", "relative"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)], ids=str
)
def test_norm_equals_that_of_transformers(dtype: torch.dtype, relative: float) -> None:
    ours, theirs, states = pair(dtype)
    results = []
    for norm in (ours, theirs):
        leaf = states.clone().requires_grad_()
        normed = norm(leaf)
        normed.square().sum().backward()
        assert leaf.grad is not None
        assert norm.weight.grad is not None
        results.append((normed.detach(), leaf.grad, norm.weight.grad))
    for mine, other in zip(*results, strict=True):
        assert mine.dtype == other.dtype == dtype
        assert (mine - other).float().norm() < relative * other.float().norm()


def test_gradient_is_that_of_the_norm() -> None:
    norm = RMSNorm(6, 1e-3).double()
    states = torch.randn(3, 4, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, dtype=torch.float64, requires_grad=True)

    def call(cells: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(norm, {"weight": scale}, (cells,))

    assert torch.autograd.gradcheck(call, (states, weight))


def test_cell_of_zeros_stays_zero() -> None:
    states = torch.zeros(1, 2, 6, requires_grad=True)
    RMSNorm(6, 1e-6)(states).sum().backward()
    assert states.grad is not None
    assert torch.isfinite(states.grad).all()
