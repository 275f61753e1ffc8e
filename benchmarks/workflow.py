"""What the workflow itself takes: with nothing to do, to plan many runs, and for each job.

Example:

    python benchmarks/workflow.py

With nothing to do, beside a Snakefile whose one rule wants a file that is there, in turns. Planning
is building the graph of the demo's jobs and of those of grids of it (`--rulegraph`); a dry run
prints every job beside that. A job is the time of a start that writes the settings of each stage
of a run (`freeze_stage`), less that of a start with nothing to do, by the number of jobs.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.tiny_run import write_tiny_run  # noqa: E402
from workflow_scripts.command import command_parser  # noqa: E402

GRIDS = {
    1: "name=one",
    20: "training.lr=range(1,5) training.train_seed=range(5)",
    200: "training.lr=range(1,21) training.train_seed=range(10)",
}
EMPTY = "rule all:\n    input:\n        'Snakefile',\n"


def seconds(snakefile: Path, folder: Path, *options: str) -> float:
    """Run Snakemake, and return how long it took."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile)]
    command += ["--directory", str(folder), "--cores", "2", *options]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - start


def nothing_to_do(folder: Path, rounds: int) -> float:
    """Print what a start takes that has nothing to do; return its seconds."""
    finished = folder / "finished"
    finished.mkdir()
    write_tiny_run(finished)
    config = ("--config", "runs=run.yaml", "overrides=evaluation.profile=pds")
    seconds(ROOT / "Snakefile", finished, *config)
    empty = folder / "Snakefile"
    empty.write_text(EMPTY)
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(seconds(ROOT / "Snakefile", finished, *config))
        theirs.append(seconds(empty, folder))
    gaps = [one - other for one, other in zip(ours, theirs, strict=True)]
    print("| nothing to do | seconds |\n|---|---|")
    print(f"| an empty Snakefile | {statistics.median(theirs):.2f} |")
    print(f"| a finished run | {statistics.median(ours):.2f} |")
    print(f"| difference | {statistics.median(gaps):.2f} |\n")
    return statistics.median(ours)


def planning(folder: Path, rounds: int) -> None:
    """Print what dry runs take."""
    print("| runs | planned, seconds | with a dry run's printing |\n|---|---|---|")
    for n_runs, overrides in GRIDS.items():
        config = ("--config", "runs=demo", f"overrides={overrides}")
        took = {
            way: [seconds(ROOT / "Snakefile", folder, way, *config) for _ in range(rounds)]
            for way in ("--rulegraph", "--dry-run")
        }
        shown = " | ".join(f"{statistics.median(times):.1f}" for times in took.values())
        print(f"| {n_runs} | {shown} |")
    print()


def job(folder: Path, idle: float, rounds: int) -> None:
    """Print what a job takes that does nearly nothing."""
    stages = ("train", "predict", "evaluate", "report", "preflight", "splits", "features")
    took = []
    for number in range(rounds):
        fresh = folder / f"fresh{number}"
        fresh.mkdir()
        write_tiny_run(fresh)
        targets = [f"out/tiny/stages/{stage}.json" for stage in stages]
        spent = seconds(ROOT / "Snakefile", fresh, *targets, "--config", "runs=run.yaml")
        took.append((spent - idle) / len(stages))
    print(f"a job of freeze_stage: {1000 * statistics.median(took):.0f} ms")


def main() -> None:
    """Measure all three."""
    parser = command_parser("python benchmarks/workflow.py", __doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds in which both take turns")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="workflow-"))
    try:
        idle = nothing_to_do(folder, given.rounds)
        planning(folder, max(1, given.rounds // 2))
        job(folder, idle, given.rounds)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
