"""Measure what denoised effects and calibrated cells cost at 18,080 genes, on one thread.

The effects are noise by structure: 2,000 perturbations in each of five contexts. Memory is the peak
of the process after each step; the effects alone are 0.72 GB.

    python benchmarks/effects_cost.py
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from workflow_scripts.cells.tilting import MOST_CELLS, Support
from workflow_scripts.models import ControlNoise, Denoised, TrainingEffects, fit_intervals
from workflow_scripts.models.denoised import MEASURED


@contextmanager
def step(name: str) -> Iterator[None]:
    """Print the CPU seconds of a step, and the peak of memory after it."""
    began = time.process_time()
    yield
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"| {name} | {seconds:.2f} s | {peak:.2f} GB |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--perturbations", type=int, default=2000)
    parser.add_argument("--contexts", type=int, default=5)
    parser.add_argument("--genes", type=int, default=18_080)
    parser.add_argument("--controls", type=int, default=400, help="of each context, for the noise")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    rates = rng.gamma(0.3, 1.0, given.genes)
    controls = np.log1p(rng.poisson(rates, (MOST_CELLS, given.genes))).astype(np.float32)
    warm = Support.of_cells(controls[:8, :8])
    warm.carries(np.zeros(8))
    warm.cells(np.full(8, 0.1), controls[:8, :8], rng)
    print("| step | CPU | peak of memory |\n|---|---|---|")
    with step("support of 400 controls"):
        support = Support.of_cells(controls)
    means = controls.mean(axis=0, dtype=np.float64) * rng.lognormal(0, 0.2, given.genes)
    with step("a group of 100 cells"):
        support.carries(means)
        support.cells(means, controls[:100], rng)
    n_pairs = given.perturbations * given.contexts
    with step("(effects made up)"):
        training = TrainingEffects(
            torch.zeros(given.contexts, given.genes),
            torch.randn(n_pairs, given.genes, generator=torch.Generator().manual_seed(0)) * 0.03,
            torch.arange(given.perturbations).repeat_interleave(given.contexts),
            torch.arange(given.contexts).repeat(given.perturbations),
            torch.full((n_pairs,), 50),
        )
    with step("noise among the controls"):
        noise = ControlNoise.of_cells([controls[: given.controls]] * given.contexts)
    model = Denoised(training, noise, {})
    with step("threshold of singular values"):
        _ = model.threshold
    asked = torch.arange(100)
    for context in range(2):
        with step(f"100 effects in context {context}"):
            model.effects(asked, torch.full_like(asked, context))
    with step("their intervals"):
        fit_intervals(model, 1, MEASURED)


if __name__ == "__main__":
    main()
