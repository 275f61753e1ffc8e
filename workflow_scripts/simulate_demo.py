"""Write a simulated screen, for trying the workflow out."""

from __future__ import annotations

from workflow_scripts.cells.simulation import SimulationSettings, simulate
from workflow_scripts.command import run_command
from workflow_scripts.stage import Folder, stage


@stage("simulate_demo", kept=False)
def simulate_demo(size: SimulationSettings, out_dir: Folder) -> None:
    """Write a simulated screen, for trying the workflow out.

    It holds contexts of made-up cells, features that drive their effects, and a split file; every
    file says that it is simulated. The folder must be new, empty, or an earlier simulation's:
    nothing else is ever overwritten.

    Example:

        python -m workflow_scripts.simulate_demo --out-dir simulated/demo

    Parameters
    ----------
    out_dir
        Folder to write, made if missing.
    """
    # Only now: torch takes seconds, which --help and wrong sizes needn't wait for.
    from workflow_scripts.cells.simulated_folder import write_screen

    write_screen(simulate(size), size, out_dir)
    print(f"{out_dir}: a simulated screen of {size.n_cells} cells, seed {size.seed}")


if __name__ == "__main__":
    run_command(simulate_demo)
