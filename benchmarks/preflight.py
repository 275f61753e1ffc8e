"""Time and memory of `snakemake check` against the number of cells.

Example:

    python benchmarks/preflight.py --cells 10000 100000 1000000 --gzip

Screens are simulated by structure (layout, names, labels, sizes; the values mean nothing) and
written block by block, laid out as anndata does it. The real command checks each of them in a
folder of its own. A stage lasts from the start of its process to its end, looked at every 20 ms.
Its memory is the largest resident memory of that process, of which the kernel itself keeps account
(VmHWM): what is read every 20 ms misses a peak only where it comes after the last look. No stage
has child processes. The whole's memory is that of its largest process. Start-up is importing what
the stage works with, and nothing more; the floor reads what any audit of such a file has to. Linux
only.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import tomli_w
import torch
import yaml

from workflow_scripts.command import command_parser

ROOT = Path(__file__).resolve().parents[1]
STAGES = {
    "audit_cells": ("cells.audit",),
    "audit_splits": ("cells.splits", "cells.leakage", "cells.drawing"),
    "validate_features": ("features.validation", "features.vectors"),
    "preflight": ("prediction.readiness", "training.readiness", "training.fit"),
}
"""The stages, and the modules that do their work: they import them once they know their options."""
N_GENES = 18_080
FEATURE_DIM = 5120
CONTROL = "non-targeting"
CONTEXTS = ("A549", "HepG2", "K562", "RPE1")
PERTURBATIONS = tuple(f"TARGET{number}" for number in range(2000))
N_BATCHES = 48
WHITELIST = 6_800_000
"""Barcodes that a droplet kit draws from (10x Genomics v3), so that lanes share some by chance."""
BLOCK_VALUES = 2_000_000
CLOCK_TICK = 1 / os.sysconf("SC_CLK_TCK")

# What any reader of such a file has to do, and nothing else.
FLOOR = """
import json, sys, time
start = time.perf_counter()
import h5py, numpy as np
took = {"import h5py": time.perf_counter() - start}
with h5py.File(sys.argv[1]) as file:
    def timed(what, read):
        start = time.perf_counter()
        found = read()
        took[what] = time.perf_counter() - start
        return found
    names = timed("names of cells", lambda: file["obs/_index"][:])
    timed("label columns", lambda: [
        file[f"obs/{name}/codes"][:] for name in ("target_gene", "cell_type", "batch_var")
    ])
    indptr = timed("indptr", lambda: file["X/indptr"][:])
    rows = np.linspace(0, len(indptr) - 2, 2000).astype(int)
    arrays = [file["X/data"], file["X/indices"]]
    timed("2000 rows", lambda: [
        array[indptr[row]:indptr[row + 1]] for row in rows for array in arrays
    ])
print(json.dumps(took))
"""

# Printed at the end of a child; unlike ru_maxrss it holds nothing of the parent that forked it.
HIGH_WATER = """
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def obs_of(n_cells: int, generator: np.random.Generator) -> pd.DataFrame:
    """Return labels and names of cells, lane after lane, a tenth of the cells controls.

    Every perturbation is in every context where there are cells enough, and in any lane.
    """
    n_controls = n_cells // 10
    pairs = np.arange(n_cells - n_controls)
    controls = np.arange(n_controls)
    perturbation = np.concatenate(
        [pairs // len(CONTEXTS) % len(PERTURBATIONS), np.full(n_controls, len(PERTURBATIONS))]
    )
    context = np.concatenate([pairs % len(CONTEXTS), controls % len(CONTEXTS)])
    order = generator.permutation(n_cells)
    lane = np.sort(np.arange(n_cells) % N_BATCHES)
    lanes = [f"lane{number + 1:02d}" for number in range(N_BATCHES)]
    return pd.DataFrame(
        {
            "target_gene": pd.Categorical.from_codes(
                perturbation[order], [*PERTURBATIONS, CONTROL]
            ),
            "cell_type": pd.Categorical.from_codes(context[order], CONTEXTS),
            "batch_var": pd.Categorical.from_codes(lane, lanes),
            "pct_counts_mt": generator.random(n_cells, dtype=np.float32),
        },
        index=barcodes(lane, generator),
    )


def barcodes(lane: np.ndarray, generator: np.random.Generator) -> list[str]:
    """Return names like AAACCTGAGAAACCAT-1: of a lane's cells all different, and sorted."""
    known = np.unique(generator.integers(0, 4**16, WHITELIST, dtype=np.uint32))
    drawn = [
        np.sort(generator.choice(known, size, replace=False, shuffle=False))
        for size in np.bincount(lane)
    ]
    digits = np.concatenate(drawn)[:, None] >> np.arange(30, -1, -2, dtype=np.uint32) & 3
    texts = np.frombuffer(b"ACGT", dtype="S1")[digits].view("S16").ravel().tolist()
    return [f"{text.decode()}-{at + 1}" for text, at in zip(texts, lane.tolist(), strict=True)]


def lengths_of(n_cells: int, mean: int, generator: np.random.Generator) -> np.ndarray:
    """Return how many values are stored of each cell, spread as depths are."""
    spread = 0.4
    drawn = mean * generator.lognormal(-(spread**2) / 2, spread, n_cells)
    return np.clip(np.rint(drawn), 30, N_GENES // 2).astype(np.int64)


def indices_of(lengths: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return that many different genes for each cell, ascending.

    Sums of exponential gaps, scaled, are sorted uniform numbers; adding 0, 1, 2… makes them differ.
    """
    steps = lengths + 1
    stops = np.cumsum(steps)
    sums = np.cumsum(generator.standard_exponential(stops[-1]))
    before = np.concatenate([[0.0], sums[stops[:-1] - 1]])
    share = (sums - np.repeat(before, steps)) / np.repeat(sums[stops - 1] - before, steps)
    at = np.arange(stops[-1]) - np.repeat(stops - steps, steps)
    genes = np.floor(share * np.repeat(N_GENES - lengths + 1, steps)).astype(np.int64) + at
    return np.delete(genes, stops - 1)


def write_cells(path: Path, n_cells: int, values: int, compression: str | None) -> int:
    """Write the screen; return how many values it stores."""
    generator = np.random.default_rng(n_cells)
    lengths = lengths_of(n_cells, values, generator)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    whole = np.int32 if indptr[-1] < 2**31 else np.int64  # as scipy has it
    genes = [*PERTURBATIONS, *(f"GENE{number}" for number in range(N_GENES - len(PERTURBATIONS)))]
    ids = [f"ENSG{number:011d}" for number in range(N_GENES)]
    var = pd.DataFrame({"gene_id": ids}, index=generator.permutation(genes))
    anndata.AnnData(obs=obs_of(n_cells, generator), var=var).write_h5ad(
        path, compression=compression
    )
    with h5py.File(path, "r+") as file:
        if "X" in file:
            del file["X"]
        node = file.create_group("X")
        node.attrs.update(
            {
                "encoding-type": "csr_matrix",
                "encoding-version": "0.1.0",
                "shape": (n_cells, N_GENES),
            }
        )
        how: dict[str, Any] = {"maxshape": (None,), "compression": compression}
        data = node.create_dataset("data", (indptr[-1],), np.float32, **how)
        indices = node.create_dataset("indices", (indptr[-1],), whole, **how)
        node.create_dataset("indptr", data=indptr.astype(whole), **how)
        step = max(1, BLOCK_VALUES // values)
        for start in range(0, n_cells, step):
            here = lengths[start : start + step]
            span = slice(indptr[start], indptr[start + len(here)])
            indices[span] = indices_of(here, generator)
            data[span] = generator.geometric(0.6, span.stop - span.start)
    return int(indptr[-1])


def write_run(folder: Path, n_vectors: int) -> Path:
    """Write features, split file and run file; return the run file."""
    generator = torch.Generator().manual_seed(0)
    others = range(n_vectors - len(PERTURBATIONS) - 1)
    names = (*PERTURBATIONS, CONTROL, *(f"OTHER{number}" for number in others))
    torch.save(
        {name: torch.randn(FEATURE_DIM, generator=generator) for name in names},
        folder / "features.pt",
    )
    fewshot = {"val": list(PERTURBATIONS[:50]), "test": list(PERTURBATIONS[50:250])}
    plan = {
        "datasets": {"screen": "screen.h5ad"},
        "training": {"screen": "train"},
        "fewshot": {f"screen.{CONTEXTS[-1]}": fewshot},
    }
    (folder / "starter.toml").write_text(tomli_w.dumps(plan))
    run = {
        "defaults": [{"override /model": "state_sm"}],
        "name": "checked",
        "output_dir": "out",
        "use_wandb": False,
        "data": {
            "kwargs": {
                "toml_config_path": "starter.toml",
                "perturbation_features_file": "features.pt",
                "pert_col": "target_gene",
                "cell_type_key": "cell_type",
                "batch_col": "batch_var",
                "control_pert": CONTROL,
            }
        },
        "engine": {"gpu_memory": 80.0},  # the run will train elsewhere
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(run, sort_keys=False))
    return folder / "run.yaml"


@dataclass
class Measured:
    """Seconds and peak memory (bytes) of every stage, and of the whole command."""

    seconds: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)


def descendants(process: int) -> Iterator[int]:
    for thread in Path(f"/proc/{process}/task").iterdir():
        for child in map(int, (thread / "children").read_text().split()):
            yield child
            yield from descendants(child)


def stage_of(process: int) -> str | None:
    """Return the stage that a process runs (its shell has the same words in one argument)."""
    words = Path(f"/proc/{process}/cmdline").read_text().split("\0")
    modules = [name for flag, name in pairwise(words) if flag == "-m"]
    names = [name.removeprefix("workflow_scripts.") for name in modules]
    return names[0] if names and names[0] in STAGES else None


def high_water(process: int) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0  # it is gone, and not yet waited for


def age(process: int) -> float:
    started = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started * CLOCK_TICK


def watch(process: int, measured: Measured) -> None:
    """Add to ``measured`` what a process and the stages among its descendants used so far."""
    try:
        for one in (process, *descendants(process)):
            memory, stage = high_water(one), stage_of(one)
            for name in ("whole", stage) if stage else ("whole",):
                measured.memory[name] = max(memory, measured.memory.get(name, 0))
            if stage and memory:
                measured.seconds[stage] = age(one)
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return


def measure(command: Sequence[str], log: Path) -> Measured:
    """Run a command; return what it and its stages took."""
    measured = Measured()
    start = time.perf_counter()
    with log.open("w") as into:
        process = subprocess.Popen(command, stdout=into, stderr=subprocess.STDOUT, cwd=ROOT)
        while process.poll() is None:
            watch(process.pid, measured)
            time.sleep(0.02)
    measured.seconds["whole"] = time.perf_counter() - start
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{log.read_text()[-3000:]}")
    return measured


def child(code: str, *arguments: str) -> tuple[float, int, list[str]]:
    """Run Python code in a process of its own; return seconds, peak memory, printed lines."""
    start = time.perf_counter()
    command = [sys.executable, "-c", code + HIGH_WATER, *arguments]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    *lines, memory = done.stdout.splitlines()
    return time.perf_counter() - start, int(memory) * 1024, lines


def check(folder: Path, run_file: Path, *, cold: bool) -> Measured:
    """Check the inputs of a run as on the first day: nothing is kept of an earlier check."""
    for name in ("cache", "out", ".snakemake"):
        shutil.rmtree(folder / name, ignore_errors=True)
    if cold:
        with (folder / "screen.h5ad").open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    snakemake += ["--directory", str(folder), "--cores", "2", "check"]
    command = [*snakemake, "--config", f"runs={run_file}"]
    measured = measure(command, folder / "check.log")
    missed = [stage for stage in STAGES if stage not in measured.seconds]
    assert not missed, f"not seen: {missed}"
    assert (folder / "out/checked/preflight.json").exists()
    return measured


def medians(rounds: Sequence[Measured]) -> Measured:
    """Return median seconds, and the most memory of any round."""
    names = rounds[0].seconds
    return Measured(
        {name: statistics.median(one.seconds[name] for one in rounds) for name in names},
        {name: max(one.memory[name] for one in rounds) for name in names},
    )


def start_up(repeats: int) -> Measured:
    """Return what each stage takes before it reads anything."""
    found = Measured()
    for stage, modules in STAGES.items():
        imports = "\n".join(f"import workflow_scripts.{name}" for name in (stage, *modules))
        rounds = [child(imports) for _ in range(repeats)]
        found.seconds[stage] = statistics.median(seconds for seconds, _, _ in rounds)
        found.memory[stage] = max(memory for _, memory, _ in rounds)
    return found


def floor_of(file: Path, repeats: int) -> str:
    """Return what reading names, labels, indptr and rows takes in h5py alone."""
    rounds = [child(FLOOR, str(file)) for _ in range(repeats)]
    parts = [json.loads(lines[-1]) for _, _, lines in rounds]
    texts = [f"{name} {statistics.median(part[name] for part in parts):.2f} s" for name in parts[0]]
    whole = statistics.median(seconds for seconds, _, _ in rounds)
    return (
        f"{whole:.1f} s, {max(memory for _, memory, _ in rounds) / 1e6:.0f} MB: {', '.join(texts)}"
    )


def show_growth(found: dict[int, Measured], start: Measured) -> None:
    """Print the exponents of what comes on top of start-up, from each size to the next."""
    sizes = sorted(found)
    for small, large in pairwise(sizes):
        for stage in STAGES:
            parts = []
            for what in ("seconds", "memory"):
                more, less = (
                    getattr(found[size], what)[stage] - getattr(start, what)[stage]
                    for size in (large, small)
                )
                known = more > 0 and less > 0
                exponent = math.log(more / less) / math.log(large / small) if known else math.nan
                parts.append(f"{what} {exponent:5.2f}")
            print(f"growth {small} to {large}: {stage:18} {'  '.join(parts)}")


def show(what: str, measured: Measured) -> None:
    cells = [
        f"{measured.seconds[name]:.1f} s, {measured.memory[name] / 1e6:.0f} MB"
        for name in (*STAGES, "whole")
        if name in measured.seconds
    ]
    print(f"| {what} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = command_parser("python benchmarks/preflight.py", __doc__)
    parser.add_argument(
        "--cells",
        type=int,
        nargs="+",
        default=[10_000, 100_000, 1_000_000],
        help="cells of each screen",
    )
    parser.add_argument("--values", type=int, default=500, help="stored values a cell")
    parser.add_argument(
        "--vectors", type=int, default=2001, help="in the feature file; human proteins have 20000"
    )
    parser.add_argument("--gzip", action="store_true", help="compress as write_h5ad('gzip') does")
    parser.add_argument("--cold", action="store_true", help="the file is not in memory before")
    parser.add_argument(
        "--repeats", type=int, default=3, help="checks of each screen; the median is shown"
    )
    parser.add_argument("--keep", action="store_true", help="leave the folder there at the end")
    parser.add_argument(
        "--folder", type=Path, help="where to make it; the system's temporary folder if not given"
    )
    given = parser.parse_args()

    folder = Path(tempfile.mkdtemp(prefix="preflight-", dir=given.folder))
    try:
        run_file = write_run(folder, given.vectors)
        write_cells(folder / "screen.h5ad", 10_000, given.values, None)
        check(folder, run_file, cold=False)  # compiles what is compiled once
        start = start_up(given.repeats)
        print(f"| cells | {' | '.join((*STAGES, 'whole'))} |\n|{'---|' * (len(STAGES) + 2)}")
        show("start-up", start)
        found: dict[int, Measured] = {}
        floors: dict[int, str] = {}
        for n_cells in given.cells:
            file = folder / "screen.h5ad"
            began = time.perf_counter()
            n_values = write_cells(file, n_cells, given.values, "gzip" if given.gzip else None)
            print(
                f"{n_cells} cells, {n_values} values, {file.stat().st_size / 1e9:.2f} GB, "
                f"written in {time.perf_counter() - began:.0f} s",
                file=sys.stderr,
            )
            rounds = [check(folder, run_file, cold=given.cold) for _ in range(given.repeats)]
            found[n_cells] = medians(rounds)
            show(f"{n_cells:,}", found[n_cells])
            floors[n_cells] = floor_of(file, given.repeats)
        show_growth(found, start)
        for n_cells, text in floors.items():
            print(f"floor at {n_cells} cells: {text}")
    finally:
        if given.keep:
            print(f"kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
