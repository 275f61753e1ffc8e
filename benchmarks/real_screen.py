"""Score a small ST model on the real screen of tests/real over several seeds, beside baselines.

Example:

    python benchmarks/real_screen.py --seeds 42 1 2 3 4
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.real.test_papalexi import write_run  # noqa: E402
from tests.snakemake_runs import snakemake  # noqa: E402
from workflow_scripts.command import command_parser  # noqa: E402
from workflow_scripts.settings.choices import BASELINES  # noqa: E402


def main() -> None:
    parser = command_parser("python benchmarks/real_screen.py", __doc__)
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[42, 1, 2, 3, 4], help="training seeds"
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        metavar="METRIC",
        default=["pds_l1", "pds_cosine", "delta_pearson"],
        help="metrics of cell-eval2 to show",
    )
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        run_file = write_run(Path(folder))
        for seed in given.seeds:
            # Baselines know no training seed: once is enough.
            baselines = BASELINES if seed == given.seeds[0] else ("control",)
            overrides = [
                f"name=seed{seed}",
                f"training.train_seed={seed}",
                f"prediction.baselines=[{','.join(baselines)}]",
            ]
            options = ("--config", f"runs={run_file}", f"overrides={json.dumps(overrides)}")
            snakemake(Path(folder), *options)
            scores = Path(folder) / "results" / f"seed{seed}" / "scores.json"
            for model, values in json.loads(scores.read_text())["overall"].items():
                rows.append({"model": model, "seed": seed, **{m: values[m] for m in given.metrics}})
            print(f"seed {seed} done", file=sys.stderr, flush=True)
    table = pd.DataFrame(rows).groupby("model")[given.metrics].agg(["mean", "std"])
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()
