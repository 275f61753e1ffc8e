"""Dropout that is a pure function of (seed, set, layer, element).

What is dropped in a set doesn't depend on which other sets go through the model beside it, nor on
the device. So a step gives the same losses, to rounding, whether its sets are computed at once, in
parts, or by several processes.

Random bits are those of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom
number generators", figure 13), which counts: element i of a stream is mixed from its key and i.
Each 64 bits serve four elements.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int64
from torch import Tensor, nn

_STEP = 0x9E3779B97F4A7C15 - (1 << 64)
_FIRST = 0xBF58476D1CE4E5B9 - (1 << 64)
_SECOND = 0x94D049BB133111EB - (1 << 64)
"""Constants of SplitMix64, as signed integers: torch computes with those, and wraps."""

_LEVELS = 1 << 16
"""A rate of dropout is rounded to a multiple of one part in so many."""

_LAYER = 1 << 40
"""Elements of a set that a layer may have, before it reaches the random bits of the next one."""


class SetDropout(nn.Dropout):
    """Drop a share of the elements of each set, and scale what stays.

    Parameters
    ----------
    p
        Share that is dropped in training.

    Attributes
    ----------
    keys
        Key of each set of the batch; None: torch's own dropout, from its global generator.
    layer
        Which of the model's dropouts this is.
    """

    def __init__(self, p: float) -> None:
        super().__init__(p)
        self.keys: Int64[Tensor, " sets"] | None = None
        self.layer = 0

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # its name in torch
        """Return the values of some sets [sets, …], some of them dropped while training."""
        if self.keys is None or not self.training or not 0 < self.p < 1:
            return super().forward(input)
        dropped = min(round(self.p * _LEVELS), _LEVELS - 1)
        kept = kept_elements(self.keys, self.layer, input[0].numel(), dropped)
        scaled = input * (_LEVELS / (_LEVELS - dropped))
        return torch.where(kept.view(input.shape), scaled, 0.0)


def key_sets(seed: int, numbers: Int64[Tensor, " sets"]) -> Int64[Tensor, " sets"]:
    """Return the key of each set: a function of the seed and the set's own number."""
    own = torch.full_like(numbers, seed)
    return _mix(_mix(own * _STEP) + (numbers + 1) * _STEP)


def use_keys(model: nn.Module, keys: Int64[Tensor, " sets"] | None) -> None:
    """Let all dropouts of a model draw for the sets of these keys; None: from torch's generator."""
    dropouts = (module for module in model.modules() if isinstance(module, SetDropout))
    for layer, dropout in enumerate(dropouts):
        dropout.keys, dropout.layer = keys, layer


def replace_dropouts(module: nn.Module) -> None:
    """Replace torch's dropouts inside a module by such as know their sets."""
    for name, child in module.named_children():
        if type(child) is nn.Dropout:
            setattr(module, name, SetDropout(child.p))
        else:
            replace_dropouts(child)


def kept_elements(
    keys: Int64[Tensor, " sets"], layer: int, size: int, dropped: int
) -> Bool[Tensor, "sets size"]:
    """Return which elements of each set stay: all but about ``dropped`` in 65,536."""
    words = torch.arange(-(-size // 4), device=keys.device)
    bits = _mix(keys[:, None] + (words + (1 + layer * _LAYER)) * _STEP).view(torch.int16)
    return bits[:, :size] >= dropped - _LEVELS // 2


def _mix(state: Int64[Tensor, ...]) -> Int64[Tensor, ...]:
    """Mix 64 bits, as SplitMix64 does."""
    state = (state ^ _shift(state, 30)) * _FIRST
    state = (state ^ _shift(state, 27)) * _SECOND
    return state ^ _shift(state, 31)


def _shift(state: Int64[Tensor, ...], by: int) -> Int64[Tensor, ...]:
    """Shift to the right, zeros coming in: torch's shift repeats the sign."""
    return (state >> by) & ((1 << (64 - by)) - 1)
