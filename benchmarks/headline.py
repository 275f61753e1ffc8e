"""Measure what matters most in one table, and append it to RESULTS.md as a row.

Size of the package; cost of `make test`; seconds of the demo and of a whole chain on a simulated
screen of 6,000 cells × 5,000 genes, from nothing; scores of the trained model and of the best
baseline on Papalexi et al. 2021 (../shared/data). There two draws hold out eight perturbations of
one replicate; the model's score is the mean over draws and two training seeds. Every run is the
workflow itself, in a new folder.

    python benchmarks/headline.py --append
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from size import sizes

ROOT = Path(__file__).parents[1]
SCREEN = ROOT.parent / "shared" / "data" / "papalexi2021_thp1.h5ad"
DRAWS = (
    (
        ["CD86", "CUL3", "IFNGR2", "IRF1", "MARCH8", "PDCD1LG2", "STAT1", "TNFRSF14"],
        ["BRD4", "CAV1", "POU2F2", "STAT3"],
    ),
    (
        ["CAV1", "CD86", "JAK2", "MARCH8", "SMAD4", "STAT1", "STAT2", "STAT3"],
        ["ATF2", "BRD4", "IFNGR1", "POU2F2"],
    ),
)
"""Perturbations of test and validation, drawn at random once."""

SEEDS = (1, 2)
METRICS = {
    "expr_mse": "min",
    "delta_pearson": "max",
    "pds_cosine": "max",
    "de_wilcoxon_overlap": "max",
}
"""Metrics of cell-eval2, and which of two values is the better one."""


def timed(*command: str, folder: Path = ROOT) -> tuple[float, float]:
    """Run a command that must succeed; return its seconds and its CPU seconds."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=sys.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - began, cpu


def chain(folder: Path, *config: str, cores: int = 4) -> tuple[float, float]:
    """Run the workflow in a folder; return its seconds and its CPU seconds."""
    snakemake = (sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"))
    workflow = (*snakemake, "--directory", str(folder), "--cores", str(cores), "--quiet", "all")
    return timed(*workflow, "--config", *config)


def large_screen(folder: Path) -> float:
    """Return the seconds of a chain on 6,000 cells × 5,000 genes, the simulation left out."""
    simulate = (sys.executable, "-m", "workflow_scripts.simulate_demo", "--n-genes", "5000")
    timed(*simulate, "--n-cells", "6000", "--out-dir", str(folder / "simulated" / "demo"))
    return chain(folder, "runs=demo")[0]


def scores(folder: Path) -> pd.DataFrame:
    """Return the scores on Papalexi: a row for each predictor, draw and seed."""
    rows = []
    for draw, (test, validation) in enumerate(DRAWS):
        (folder / f"splits{draw}.toml").write_text(
            f'[datasets]\nthp1 = "{SCREEN}"\n[training]\nthp1 = "train"\n'
            f'[fewshot."thp1.rep_3"]\nval = {validation}\ntest = {test}\n'
        )
        run = yaml.safe_load((ROOT / "tests" / "real" / "papalexi.yaml").read_text())
        run["data"]["kwargs"]["toml_config_path"] = f"splits{draw}.toml"
        (folder / f"draw{draw}.yaml").write_text(yaml.safe_dump(run, sort_keys=False))
        seeds = ",".join(map(str, SEEDS))
        asked = [f"name=draw{draw}", f"training.train_seed={seeds}"]
        chain(folder, f"runs=draw{draw}.yaml", f"overrides={json.dumps(asked)}")
        for seed in SEEDS:
            content = (
                folder / "results" / f"draw{draw}_train_seed-{seed}" / "scores.json"
            ).read_text()
            for name, values in json.loads(content)["overall"].items():
                found = {metric: values.get(metric, np.nan) for metric in METRICS}
                rows.append({"predictor": name, "draw": draw, "seed": seed, **found})
    return pd.DataFrame(rows)


def main() -> None:
    """Measure, print the row, and append it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--append", action="store_true", help="append the row to RESULTS.md")
    given = parser.parse_args()
    lines, files = map(sum, zip(*sizes().values(), strict=True))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        demo = chain(folder, "runs=demo")[0]
    with tempfile.TemporaryDirectory() as name:
        large = large_screen(Path(name))
    with tempfile.TemporaryDirectory() as name:
        table = scores(Path(name))
    wall, cpu = timed("make", "test")
    from workflow_scripts.settings.choices import BASELINES

    means = table.groupby("predictor")[[*METRICS]].mean()
    baselines = means.loc[[name for name in BASELINES if name in means.index]]
    commit = subprocess.check_output(("git", "rev-parse", "--short", "HEAD"), cwd=ROOT, text=True)
    cells = [f"{datetime.date.today()} {commit.strip()}", f"{lines:,} / {files}"]
    cells += [f"{wall / 60:.1f} / {cpu:.0f}", f"{demo:.0f}", f"{large:.0f}"]
    for metric, better in METRICS.items():
        best = baselines[metric].agg(f"idx{better}")
        cells.append(f"{means.loc['model', metric]:.3f} / {baselines[metric][best]:.3f} ({best})")
    row = f"| {' | '.join(cells)} |"
    print(means.round(4).to_string(), row, sep="\n")
    if given.append:
        page = ROOT / "benchmarks" / "RESULTS.md"
        text = page.read_text()
        end = text.index("\n\n", text.index("| commit |"))
        page.write_text(f"{text[:end]}\n{row}{text[end:]}")


if __name__ == "__main__":
    main()
