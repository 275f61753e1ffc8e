"""Write a simulated screen, for trying the workflow out.

It holds three contexts of made-up cells, features that drive their effects, and a split file; every
file says that it is simulated. The folder must be new, empty, or an earlier simulation's: nothing
else is ever overwritten.

Example:

    python -m workflow_scripts.simulate_demo --out-dir simulated/demo
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.cells.simulation import SimulationSettings, simulate
from workflow_scripts.command import command_parser, run_command


def main(arguments: Sequence[str]) -> None:
    """Simulate and write."""
    given = parse_arguments(arguments)
    settings = SimulationSettings(
        n_perturbations=given.n_perturbations,
        n_cells=given.n_cells,
        n_genes=given.n_genes,
        feature_dim=given.feature_dim,
        seed=given.seed,
    )
    # Only now: torch takes seconds, which --help and wrong sizes needn't wait for.
    from workflow_scripts.cells.simulated_folder import write_screen

    write_screen(simulate(settings), settings, given.out_dir)
    print(f"{given.out_dir}: a simulated screen of {settings.n_cells} cells, seed {settings.seed}")


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    defaults = SimulationSettings()
    parser = command_parser("python -m workflow_scripts.simulate_demo", __doc__)
    parser.add_argument(
        "--out-dir", type=Path, required=True, help="folder to write, made if missing"
    )
    parser.add_argument(
        "--n-perturbations", type=int, default=defaults.n_perturbations, help="perturbed targets"
    )
    parser.add_argument("--n-cells", type=int, default=defaults.n_cells, help="cells in all")
    parser.add_argument("--n-genes", type=int, default=defaults.n_genes, help="measured genes")
    parser.add_argument(
        "--feature-dim", type=int, default=defaults.feature_dim, help="length of a feature vector"
    )
    parser.add_argument(
        "--seed", type=int, default=defaults.seed, help="same seed, same cells, same split"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run_command(main)
