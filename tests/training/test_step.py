"""What surrounds the gradient: clipping, and the memory that a step's tensors lie in."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from workflow_scripts.training.large_pages import VARIABLE
from workflow_scripts.training.step import clip_gradients

PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def with_gradients(factor: float) -> torch.nn.Linear:
    torch.manual_seed(0)
    model = torch.nn.Linear(30, 20)
    for parameter in model.parameters():
        parameter.grad = factor * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize("limit", [0.0, 1e-3, 10.0])
@pytest.mark.parametrize("factor", [0.0, 0.1, 3.0, math.inf])
def test_gradients_are_clipped_as_torch_clips_them(limit: float, factor: float) -> None:
    ours, theirs = with_gradients(factor), with_gradients(factor)
    norm = clip_gradients(ours, SimpleNamespace(clip=limit))
    expected = torch.nn.utils.clip_grad_norm_(theirs.parameters(), limit or math.inf)
    assert norm == pytest.approx(float(expected), nan_ok=True, rel=0)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        if limit or factor != math.inf:  # torch's factor without a limit is inf / inf
            torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=0, equal_nan=True)


def test_gradients_within_the_limit_are_not_touched() -> None:
    model = with_gradients(0.01)
    versions = [parameter.grad._version for parameter in model.parameters()]
    clip_gradients(model, SimpleNamespace(clip=10.0))
    assert versions == [parameter.grad._version for parameter in model.parameters()]


LARGE_PAGES = """
from workflow_scripts.training.large_pages import use_large_pages
use_large_pages()
import torch
there = torch.ones(16_000_000)
print([l for l in open("/proc/self/smaps_rollup") if l.startswith("AnonHugePages")][0].split()[1])
"""


@pytest.mark.skipif(
    not PAGES.is_file() or "[madvise]" not in PAGES.read_text(),
    reason="this kernel gives no large pages, or always",
)
@pytest.mark.parametrize("asked", [None, "0"])
def test_tensors_lie_in_large_pages_unless_the_environment_says_no(asked, monkeypatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if asked is not None:
        monkeypatch.setenv(VARIABLE, asked)
    told = subprocess.run(
        [sys.executable, "-c", LARGE_PAGES], capture_output=True, text=True, check=True
    )
    assert (int(told.stdout) > 0) == (asked is None)
