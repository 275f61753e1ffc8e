"""Time and memory of fitting every baseline, and of asking it for the effects of a pass of sets.

Effects and features are drawn at random: how long a fit takes doesn't depend on what they say. Each
perturbation is trained on in every context. A fit's time includes what baselines share, where it is
the first that needs it (the Gram matrix of effects: ridge).

Example:

    python benchmarks/baselines.py --perturbations 2000 --contexts 5
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from workflow_scripts.command import command_parser
from workflow_scripts.models import (
    Additive,
    Baseline,
    ContextMean,
    MeanResponse,
    NearestNeighbour,
    PerturbationMeanEffect,
    RidgeEffect,
    TrainingEffects,
)


def main() -> None:
    parser = command_parser("python benchmarks/baselines.py", __doc__)
    parser.add_argument(
        "--perturbations", type=int, default=2000, help="perturbations that are trained on"
    )
    parser.add_argument("--contexts", type=int, default=5, help="contexts, each with all of them")
    parser.add_argument("--genes", type=int, default=18_080, help="genes of an effect")
    parser.add_argument("--features", type=int, default=5120, help="length of a feature vector")
    given = parser.parse_args()
    torch.manual_seed(0)
    n = given.perturbations
    perturbation = torch.arange(n).repeat_interleave(given.contexts)
    training = TrainingEffects(
        control_means=torch.rand(given.contexts, given.genes, dtype=torch.float64),
        effects=torch.randn(len(perturbation), given.genes),
        perturbation=perturbation,
        context=torch.arange(given.contexts).repeat(n),
        cells=torch.full((len(perturbation),), 50),
    )
    features = torch.randn(n, given.features)
    fits: dict[str, Callable[[], Baseline]] = {
        "mean_response": lambda: MeanResponse(training),
        "context_mean": lambda: ContextMean(training),
        "perturbation_mean_effect": lambda: PerturbationMeanEffect(training),
        "additive": lambda: Additive(training),
        "ridge": lambda: RidgeEffect(training, features),
        "ridge_shuffled": lambda: RidgeEffect(training, features[torch.randperm(n)]),
        "nearest_neighbour": lambda: NearestNeighbour(training, features, [*map(str, range(n))]),
    }
    asked = torch.arange(16) % n, torch.zeros(16, dtype=torch.int64)
    print(f"{training.effects.nbytes / 1e6:,.0f} MB of effects, peak so far {_peak():,.0f} MB")
    print("| | fit | a pass of 16 sets | peak memory |\n|---|---|---|---|")
    for name, fit in fits.items():
        start = time.perf_counter()
        model = fit()
        fitted = time.perf_counter()
        model.effects(*asked)
        end = time.perf_counter()
        print(f"| {name} | {fitted - start:.1f} s | {end - fitted:.2f} s | {_peak():,.0f} MB |")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    main()
