"""What the run files of config/runs need at the size of the data that they are for.

Example:

    python benchmarks/recipes.py

Memory and disk are preflight's own estimate (workflow_scripts/training/estimates.py), for a GPU
with bf16-mixed; the demo's is for the CPU. The sizes are those that the run files' comments name.
Training time is scaled from the seed's step, measured on an H100 (RESULTS.md), by the operations of
a step's matrix products: that step waits for the host for half of its time, so that a smaller one
takes longer than this says. Validations, packing and predicting come on top.
"""

from __future__ import annotations

from pathlib import Path

from workflow_scripts.command import command_parser
from workflow_scripts.settings.runs import resolve_run
from workflow_scripts.training.estimates import DataSizes, RunEstimate, estimate_run
from workflow_scripts.training.plan import TrainingPlan

ROOT = Path(__file__).resolve().parents[1]

SEED_STEP = 0.0158
"""Seconds of a step of first_run on an H100 80GB HBM3, the cells on it, compiled (RESULTS.md)."""

ESM2 = 5120

SUPPORT = DataSizes(570_000, 570_000 * 5_000, 18_080, 18_080, ESM2, 48, "log1p", 4_450)
"""Six files of 41 GB unpacked: 570,000 cells at most, were all dense. H1 has 8,700 values each."""

REPLOGLE = DataSizes(643_413, 643_413 * 6_546, 6_546, 4_024, 2_025, 56, "log1p", 10_050)
"""Were no value zero; 2,000 variable genes, and at most as many measured targets as there are."""

SIZES = {
    "demo": DataSizes(9_000, 6_361_882, 1_200, 1_200, 64, 8, "counts", 328),
    "first_run": SUPPORT,
    "vcc2025": SUPPORT,
    "vcc2026": DataSizes(221_273, 221_273 * 8_700, 18_533, 18_533, ESM2, 48, "counts", 1_730),
    "replogle_fewshot": REPLOGLE,
    "replogle_zeroshot": REPLOGLE,
    "tahoe": DataSizes(
        100_648_790, 100_648_790 * 1_700, 62_710, 2_000, 1_138, 14, "counts", 390_000
    ),
}
"""Cells, stored values, genes, genes that are read, width of the features, batches, what the values
are, and cell sets an epoch."""


def estimated(name: str) -> RunEstimate:
    """Return what a run file needs at its size."""
    run = resolve_run(ROOT / "config", name, [])
    return estimate_run(
        TrainingPlan.from_slice(run.slice("train")),
        SIZES[name],
        device="cpu" if name == "demo" else "cuda",
        num_workers=run.config["data"]["kwargs"]["num_workers"],
    )


def main() -> None:
    """Print a table."""
    command_parser("python benchmarks/recipes.py", __doc__).parse_args()
    told = {name: estimated(name) for name in SIZES}
    seed = told["first_run"].model.flops
    print("| run file | parameters | packed cells | host | GPU | TFLOP a step | training |")
    print("|---|---|---|---|---|---|---|")
    for name, need in told.items():
        seconds = SEED_STEP * need.model.flops / seed * need.steps
        print(
            f"| {name} | {need.model.n_parameters / 1e6:.0f} million "
            f"| {need.packed_bytes / 1e9:.3g} GB | {need.host_bytes / 1e9:.3g} GB "
            f"| {(need.device_bytes or 0) / 1e9:.3g} GB | {need.model.flops / 1e12:.2g} "
            f"| {seconds / 60:.0f} min |"
        )


if __name__ == "__main__":
    main()
