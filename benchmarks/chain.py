"""A whole chain beside the reference's training and prediction: seconds and CPU seconds.

Both take the same simulated cells (three contexts, a fifth of the simulator's counts), state_sm,
steps of 4 sets, a validation and a checkpoint at the last step, and as many readers as cores.
Stateline goes from counts to the report in a new folder each time, with all its defaults:
baselines, anchors, negative controls. The reference gets log1p of normalised counts, as its README
asks (making them isn't timed), and runs `state tx train` and `state tx predict --profile minimal`.
The sides take turns; figures are medians of the rounds.

What a stage took is in Snakemake's benchmark files. Stages may overlap, and their CPU seconds are a
little short: Snakemake takes them every half second, and every 30 seconds once a job has run for
15. Those of the whole are the system's count.

    python -m venv /tmp/reference && /tmp/reference/bin/pip install torch==2.13.0 arc-state==0.11.1
    python benchmarks/chain.py --reference /tmp/reference/bin/state 2> chain.log
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from headline import chain, timed

from workflow_scripts.cells.simulated_folder import FEATURES, SPLITS, write_screen
from workflow_scripts.cells.simulation import CONTROL, SimulationSettings, simulate

Rows = dict[str, tuple[float, float]]
"""Seconds and CPU seconds of each part of a chain; `WHOLE` is all of it."""

WHOLE = "all of it"
DEPTH = 0.2  # of the simulator's counts: some 4,000 values a cell of 18,080 genes
ASKED = 0.6


@dataclass(frozen=True)
class Size:
    """How large the screen is, and how long the training."""

    screen: SimulationSettings
    steps: int


# A third of the perturbations are held out for test.
LARGE = Size(SimulationSettings(n_perturbations=36, n_cells=18_000, n_genes=18_080), steps=10)
SMALL = Size(SimulationSettings(n_perturbations=9, n_cells=1_200, n_genes=500), steps=2)


def make_data(folder: Path, size: Size) -> None:
    """Write the screen twice: its counts, and log1p of what they are when normalised."""
    screen = simulate(size.screen)
    draws = np.random.default_rng(0)
    for context in screen.contexts:
        counts = context.counts
        counts.data = draws.binomial(counts.data.astype(np.int64), DEPTH).astype(np.float32)
        counts.eliminate_zeros()
    write_screen(screen, size.screen, folder / "counts")
    n_values = sum(context.counts.nnz for context in screen.contexts) / size.screen.n_cells
    for context in screen.contexts:
        sums = context.counts.sum(axis=1).A1
        context.counts.data *= np.repeat(1e4 / sums, np.diff(context.counts.indptr))
        np.log1p(context.counts.data, out=context.counts.data)
    write_screen(screen, size.screen, folder / "log1p")
    print(
        f"{size.screen.n_cells:,} cells × {size.screen.n_genes:,} genes, {n_values:,.0f} values a "
        f"cell; {len(screen.held_out['test'])} test perturbations; {size.steps} steps"
    )


def settings(data: Path, steps: int, cores: int) -> dict[str, dict[str, object]]:
    """Return what both sides are told, by section, under the keys that both have."""
    columns = {
        "pert_col": "target_gene",
        "cell_type_key": "cell_type",
        "batch_col": "batch_var",
        "control_pert": CONTROL,
    }
    files = {
        "toml_config_path": str(data / SPLITS),
        "perturbation_features_file": str(data / FEATURES),
    }
    lengths = dict.fromkeys(["max_steps", "val_freq", "ckpt_every_n_steps"], steps)
    return {
        "data.kwargs": {**columns, **files, "num_workers": cores},
        "training": {"batch_size": 4, **lengths},
    }


def run_stateline(folder: Path, data: Path, steps: int, cores: int) -> Rows:
    """Run the workflow from nothing to the report."""
    told = settings(data / "counts", steps, cores)
    run = {
        "defaults": [{"override /model": "state_sm"}],
        "name": "chain",
        "use_wandb": False,
        "features": {"stand_in": True},
        "data": {"kwargs": told["data.kwargs"]},
        "training": told["training"],
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(run, sort_keys=False))
    whole = chain(folder, "runs=run.yaml", cores=cores)
    stages = {}
    for path in sorted(folder.rglob("benchmarks/*.tsv"), key=lambda path: path.stat().st_mtime):
        took = pd.read_table(path).sum(numeric_only=True)
        stages[path.stem] = (took["s"], took["cpu_time"])
    return {**stages, WHOLE: whole}


def run_reference(state: Path, folder: Path, data: Path, steps: int, cores: int) -> Rows:
    """Run the reference's two commands, which see nothing of this project."""
    told = settings(data / "log1p", steps, cores)
    overrides = [
        f"{section}.{key}={value}" for section, keys in told.items() for key, value in keys.items()
    ]
    overrides += ["model=state_sm", "use_wandb=false", f"output_dir={folder}", "name=chain"]
    command = ("env", "--unset=PYTHONPATH", str(state), "tx")
    scored = ("--output-dir", str(folder / "chain"), "--checkpoint", "final.ckpt")
    train = timed(*command, "train", *overrides, folder=folder)
    predict = timed(*command, "predict", *scored, "--profile", "minimal", folder=folder)
    if not [*folder.rglob("*_agg_results.csv")]:
        sys.exit("state tx predict wrote no scores")
    return {
        "state tx train": train,
        "state tx predict": predict,
        WHOLE: (train[0] + predict[0], train[1] + predict[1]),
    }


def measure(sides: dict[str, Callable[[Path], Rows]], rounds: int) -> pd.DataFrame:
    """Let the sides take turns; return a row for each side, round and part."""
    rows = []
    for turn in range(rounds):
        for side in sides if turn % 2 else reversed(sides):
            with tempfile.TemporaryDirectory(prefix=f"{side}-") as name:
                took = sides[side](Path(name))
            rows += [(side, turn, part, *seconds) for part, seconds in took.items()]
            print(f"round {turn + 1}, {side}: {took[WHOLE][0]:.0f} s", file=sys.stderr)
    return pd.DataFrame(rows, columns=["side", "round", "part", "seconds", "CPU seconds"])


def main() -> None:
    """Make the data, measure, print the medians and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="STATE",
        help="the `state` of an environment with arc-state 0.11, or its python",
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds in which both take turns")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--small", action="store_true", help="a tiny screen, to try this file out")
    given = parser.parse_args()
    size = SMALL if given.small else LARGE
    with tempfile.TemporaryDirectory(prefix="chain-data-") as name:
        data = Path(name)
        make_data(data, size)
        sides: dict[str, Callable[[Path], Rows]] = {
            "Stateline": lambda folder: run_stateline(folder, data, size.steps, given.cores)
        }
        if given.reference:
            state = given.reference.absolute().with_name("state")
            sides["reference"] = lambda folder: run_reference(
                state, folder, data, size.steps, given.cores
            )
        rows = measure(sides, given.rounds)
    table = rows.groupby(["side", "part"], sort=False)[["seconds", "CPU seconds"]].median()
    print(table.reset_index().to_markdown(index=False, floatfmt=".1f"))
    if not given.reference:
        print("The reference was left out (--reference).")
        return
    whole = rows[rows["part"] == WHOLE].set_index(["side", "round"])[["seconds", "CPU seconds"]]
    ratios = whole.loc["Stateline"] / whole.loc["reference"]
    listed = " ".join(f"{ratio:.2f}" for ratio in ratios["seconds"])
    print(
        f"\nStateline / reference, cores: {given.cores}, {version(state)}: "
        f"{ratios['seconds'].median():.2f} of its seconds (rounds: {listed}; asked: {ASKED} at "
        f"most), {ratios['CPU seconds'].median():.2f} of its CPU seconds"
    )


def version(state: Path) -> str:
    """Return the reference's name and version."""
    ask = "from importlib.metadata import version as v; print('arc-state', v('arc-state'))"
    command = (str(state.with_name("python")), "-c", ask)
    return subprocess.check_output(command, text=True).strip()


if __name__ == "__main__":
    main()
