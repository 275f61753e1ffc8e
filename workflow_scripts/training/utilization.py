"""How much of a device's arithmetic a step uses: its matrix products, and what they could take."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch.utils.flop_counter import (
    FlopCounterMode,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

_WIDTH = {"cpu": 1024, "cuda": 8192}
"""Rows and columns of the products that are timed: large enough that more gives no higher rate,
tens of milliseconds."""

_ROUNDS = 3


def flop_counter() -> FlopCounterMode:
    """Return a mode that counts the operations of matrix products, two for a product and its sum.

    torch knows the fused attention of GPUs; that of the CPU is added.
    """

    def forward(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]

    def backward(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        counted = sdpa_backward_flop_count(gradient, query, key, value)  # type: ignore[no-untyped-call]
        return int(counted)

    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    attention_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    known = {attention: forward, attention_backward: backward}
    return FlopCounterMode(display=False, custom_mapping=known)


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Measure how many operations a second a device reaches in a large matrix product.

    The best of a few, since others may use the machine too. So what is made of it (the model's
    FLOPs utilization) is a share of what this device does, not of what its data sheet promises.
    """
    width = _WIDTH[device.type]
    factor = torch.ones(width, width, device=device, dtype=dtype)
    product = torch.empty_like(factor)
    best = float("inf")
    for _ in range(1 + _ROUNDS):  # the first one warms up, and counts where it is the best
        _wait(device)
        start = time.perf_counter()
        torch.mm(factor, factor, out=product)
        _wait(device)
        best = min(best, time.perf_counter() - start)
    return 2 * width**3 / best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
