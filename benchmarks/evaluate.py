"""Scoring a prediction beside a plain `cell-eval2 run`, and what runs with the same cells share.

Example:

    python benchmarks/evaluate.py

Cells simulated by structure, log1p; the prediction is the observed cells with noise. Each command
is a process of its own, in turns: the command of the engine; `evaluate` for one prediction, without
baselines, negative controls and bootstrap; the same with the anchors of the scale, whose observed
side is there; and `anchors` itself, once.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from workflow_scripts.command import command_parser

ROOT = Path(__file__).resolve().parents[1]
ENGINE = {
    "evaluation.preset": "v2",
    "evaluation.profile": "minimal",
    "evaluation.extra_metrics": [],
    "evaluation.input_type": "lognorm",
    "evaluation.de_backend": "pdex",
    "evaluation.controls": "observed",
    "prediction.output": "log1p",
}
OUTPUTS = ("metrics", "scores", "effects", "per-perturbation", "genes", "results")


def write_cells(folder: Path, n_perturbations: int, n_cells: int, n_genes: int) -> None:
    """Write observed and predicted cells."""
    draws = np.random.default_rng(0)
    names = ["control", *(f"G{number}" for number in range(n_perturbations))]
    labels = np.repeat(names, [4 * n_cells, *[n_cells] * n_perturbations])
    genes = pd.DataFrame(index=[f"G{number}" for number in range(n_genes)])
    obs = pd.DataFrame({"perturbation": labels, "context": "c"})
    obs.index = [f"cell{number}" for number in range(len(obs))]
    shift = {name: draws.normal(0, 0.3, n_genes) for name in names}
    base = draws.gamma(0.3, 1.0, n_genes)
    controls = None
    for name in ("observed", "predicted"):
        rates = np.stack([base * np.exp(shift[label]) for label in labels])
        counts = draws.poisson(rates)
        totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
        values = np.log1p(1e4 * counts / totals).astype(np.float32)
        if controls is not None:
            values[labels == "control"] = controls
        controls = values[labels == "control"]
        cells = anndata.AnnData(csr_matrix(values), obs, genes)
        cells.uns["stateline"] = {"control": "control", "run": "benchmark"}
        cells.write_h5ad(folder / f"{name}.h5ad")


def commands(folder: Path, threads: int) -> dict[str, list[str]]:
    """Return the commands, by name."""
    ours = [sys.executable, "-m", "workflow_scripts.evaluate", "--threads", str(threads)]
    ours += ["--settings", str(folder / "evaluate.json")]
    ours += ["--observed", str(folder / "observed.h5ad")]
    ours += ["--predictions", str(folder / "predicted.h5ad")]
    ours += [f"--{name}={folder / name}.out" for name in OUTPUTS]
    ours += ["--work-dir", str(folder / "work")]
    anchors = [f"--anchors={folder / 'anchors.json'}", f"--shared-dir={folder / 'shared'}"]
    plain = [str(Path(sys.executable).parent / "cell-eval2"), "run"]
    plain += ["-ap", str(folder / "predicted.h5ad"), "-ar", str(folder / "observed.h5ad")]
    plain += ["--preset", "v2", "--profile", "minimal", "--input-type", "lognorm"]
    plain += ["--pert-col", "perturbation", "--control", "control", "--set", "de.backend=pdex"]
    plain += ["--set", f"num_threads={threads}", "--outdir", str(folder / "plain")]
    return {
        "cell-eval2 run": plain,
        "evaluate": ours,
        "evaluate, with the anchors": [*ours, *anchors],
    }


def seconds(command: list[str]) -> tuple[float, float]:
    """Run a command; return its seconds and its peak of memory in GB."""
    start = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, text=True
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if "--work-dir" in command and "--predictions" in command:  # or the next call returns at once
        shutil.rmtree(command[command.index("--work-dir") + 1])
    if status:
        raise SystemExit(f"{command}:\n{said[-2000:]}")
    assert isinstance(usage, resource.struct_rusage)
    return time.perf_counter() - start, usage.ru_maxrss * 1024 / 1e9


def main() -> None:
    """Make the cells, take turns, print a table."""
    parser = command_parser("python benchmarks/evaluate.py", __doc__)
    parser.add_argument(
        "--perturbations", type=int, default=50, help="perturbations of the test cells"
    )
    parser.add_argument("--cells", type=int, default=100, help="cells of each perturbation")
    parser.add_argument("--genes", type=int, default=5_000, help="measured genes")
    parser.add_argument("--rounds", type=int, default=5, help="rounds in which all take turns")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of each command")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="evaluate-"))
    try:
        write_cells(folder, given.perturbations, given.cells, given.genes)
        asked = {
            "prediction.baselines": [],
            "prediction.negative_controls": [],
            "evaluation.resamples": 0,
        }
        for name, values in (("evaluate", ENGINE | asked), ("of_anchors", ENGINE)):
            content = {"identity": values, "extent": {}}
            (folder / f"{name}.json").write_text(json.dumps(content))
        anchors = [sys.executable, "-m", "workflow_scripts.anchors"]
        anchors += ["--settings", str(folder / "of_anchors.json")]
        anchors += [
            "--observed",
            str(folder / "observed.h5ad"),
            "--out",
            str(folder / "anchors.json"),
        ]
        anchors += ["--work-dir", str(folder / "shared"), "--threads", str(given.threads)]
        took: dict[str, list[tuple[float, float]]] = {"anchors, once": [seconds(anchors)]}
        asked_for = commands(folder, given.threads)
        for turn in range(given.rounds + 1):
            for name, command in asked_for.items():
                found = seconds(command)
                if turn:  # the first one fills the system's cache
                    took.setdefault(name, []).append(found)
        print("| | seconds | × cell-eval2 run | peak, GB |\n|---|---|---|---|")
        plain = took["cell-eval2 run"]
        for name, rows in took.items():
            ratios = [row[0] / of_plain[0] for row, of_plain in zip(rows, plain, strict=False)]
            print(
                f"| {name} | {statistics.median(row[0] for row in rows):.1f} "
                f"| {statistics.median(ratios):.2f} | {max(row[1] for row in rows):.2f} |"
            )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
