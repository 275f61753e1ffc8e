"""Score an ST model and all baselines on held-out perturbations of a real screen, drawn at random.

The screen and the model are those of tests/real; the perturbations held out of one replicate are
drawn by each draw's number, not chosen. A run of one draw and one training seed is one run of the
workflow, in a folder that stays: started again, finished ones are not trained again, and a killed
training goes on from its last checkpoint. Prints tables for RESULTS.md.

Example:

    python benchmarks/quality.py --folder results/quality
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.real.test_papalexi import SCREEN, TEST, VALIDATION, write_run  # noqa: E402
from tests.snakemake_runs import snakemake  # noqa: E402
from workflow_scripts.command import command_parser  # noqa: E402
from workflow_scripts.settings.choices import BASELINES  # noqa: E402

CONTROL = "non-targeting"


def main() -> None:
    parser = command_parser("python benchmarks/quality.py", __doc__)
    parser.add_argument(
        "--folder", type=Path, help="folder of the runs; the project's results/quality if not given"
    )
    parser.add_argument(
        "--draws",
        type=int,
        nargs="+",
        default=[0, 1, 2, 3, 4],
        help="draws of held-out perturbations, by their numbers",
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[42, 1, 2, 3, 4], help="training seeds"
    )
    parser.add_argument(
        "--steps", type=int, help="steps of a training, at least 100; 500 if not given"
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        metavar="METRIC",
        default=["pds_cosine", "pds_l1", "delta_pearson"],
        help="metrics of cell-eval2 to show",
    )
    given = parser.parse_args()
    given.folder = given.folder or ROOT / "results" / "quality"
    rows = []
    for draw in given.draws:
        for seed in given.seeds:
            start = time.perf_counter()
            for model, values in _scores(given, draw, seed).items():
                rows.append({"model": model, "draw": draw, "seed": seed, **values})
            seconds = time.perf_counter() - start
            print(f"draw {draw}, seed {seed}: {seconds:.0f} s", file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    table.to_csv(given.folder / "scores.csv", index=False)
    for metric in given.metrics:
        for column in (metric, f"{metric}, scaled"):
            print(f"\n{column}\n\n{summary(table, column)}")


def held_out(draw: int) -> tuple[list[str], list[str]]:
    """Return the perturbations that a draw tests and validates on, as many as tests/real does."""
    labels = anndata.read_h5ad(SCREEN, backed="r").obs["target_gene"]
    perturbations = sorted(set(labels.astype(str)) - {CONTROL})
    order = np.random.default_rng(draw).permutation(len(perturbations))
    names = [perturbations[place] for place in order]
    n_test = len(TEST)
    return sorted(names[:n_test]), sorted(names[n_test : n_test + len(VALIDATION)])


def _scores(given: argparse.Namespace, draw: int, seed: int) -> dict[str, dict[str, float]]:
    """Return the scores, raw and scaled, of the model, and with the first seed of all baselines."""
    folder = given.folder.resolve() / f"draw{draw}"
    folder.mkdir(parents=True, exist_ok=True)
    run_file = write_run(folder, *held_out(draw))
    # Baselines know no training seed: once is enough.
    baselines: Sequence[str] = BASELINES if seed == given.seeds[0] else ("control",)
    overrides = [
        f"name=seed{seed}",
        f"training.train_seed={seed}",
        f"prediction.baselines=[{','.join(baselines)}]",
        "prediction.negative_controls=[]",
        *([f"training.max_steps={given.steps}"] if given.steps else []),
    ]
    options = ("--config", f"runs={run_file}", f"overrides={json.dumps(overrides)}")
    snakemake(folder, *("--resources", "gpu=1"), *options)
    scores = json.loads((folder / "results" / f"seed{seed}" / "scores.json").read_text())
    return {
        name: {
            **{metric: scores["overall"][name][metric] for metric in given.metrics},
            # 0: what the mean response gets; 1: a replicate. None where there is no such scale.
            **{
                f"{metric}, scaled": scores["scaled"].get(name, {}).get(metric, np.nan)
                for metric in given.metrics
            },
        }
        for name in ("model", *baselines)
    }


def summary(table: pd.DataFrame, metric: str) -> str:
    """Return a Markdown table: each predictor's score, and the model's lead over it.

    A draw's score of the model is its mean over seeds; ± is the sd over draws. The model has won
    or lost where its mean lead over draws exceeds twice its standard error (draws are of one
    screen and share perturbations, so this is a rough guide).
    """
    by_draw = table.groupby(["model", "draw"])[metric].mean().unstack("model")
    lines = [
        "| | score | the model's lead | draws ahead | |",
        "|---|---|---|---|---|",
        f"| model | {_spread(by_draw['model'])} | | | |",
    ]
    for name in BASELINES:
        lead = (by_draw["model"] - by_draw[name]).dropna()
        error = lead.std() / np.sqrt(len(lead)) if len(lead) > 1 else np.nan
        called = "won" if lead.mean() > 2 * error else "lost" if lead.mean() < -2 * error else "tie"
        words = called if np.isfinite(error) else "not called"
        lines.append(
            f"| {name.replace('_', ' ')} | {_spread(by_draw[name])} | {_spread(lead, '+')} | "
            f"{int((lead > 0).sum())} of {len(lead)} | {words} |"
        )
    seeds = table[table["model"] == "model"].groupby("draw")[metric].std().mean()
    if np.isfinite(seeds):
        lines.append(f"\nThe model's sd over seeds within a draw: {seeds:.3f}.")
    return "\n".join(lines)


def _spread(values: pd.Series, sign: str = "") -> str:
    kept = values.dropna()
    if kept.empty:
        return "–"
    return f"{kept.mean():{sign}.3f}" + (f" ± {kept.std():.3f}" if len(kept) > 1 else "")


if __name__ == "__main__":
    main()
