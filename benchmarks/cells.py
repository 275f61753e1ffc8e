"""Packing and reading of cells, beside the limits of the machine and the reference loader.

Usage: python benchmarks/cells.py [--cells 20000] [--reference PYTHON]

A screen is simulated by structure (18,080 genes, 4,000 values a cell, the values mean nothing) and
packed twice: counts, and log1p values. A pair is a control and a perturbed cell, both dense float32
log1p rows in a buffer that is used again. Rates are medians of five rounds in which all paths take
turns, one process, sets of 128 cells, 16 sets a step. Zeroing is the same buffer set to zero: what
no dense path can beat. The reference (cell-load, in an environment of its own with the interpreter
PYTHON) reads the same h5ad file, one process, the same sets.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from workflow_scripts.cells.annotations import Columns  # noqa: E402
from workflow_scripts.cells.cell_settings import CellSettings  # noqa: E402
from workflow_scripts.cells.groups import make_groups  # noqa: E402
from workflow_scripts.cells.packing import pack_cells, write_manifest  # noqa: E402
from workflow_scripts.cells.sampling import SetSampler  # noqa: E402
from workflow_scripts.cells.store import CellStore  # noqa: E402

N_GENES = 18_080
SET_SIZE, SETS = 128, 16
SETTINGS = CellSettings(Columns("gene", "cell_type", "gem_group"), "control", "auto", 10_000.0)
BLOCK = 1000

REFERENCE = """
import json, sys, time
from cell_load.data_modules import PerturbationDataModule
module = PerturbationDataModule(
    toml_config_path=sys.argv[1], batch_size=16, num_workers=0, pert_col="gene",
    batch_col="gem_group", cell_type_key="cell_type", control_pert="control", embed_key=None,
    output_space="all", cell_sentence_len=128, basal_mapping_strategy="random",
)
module.setup()
loader = iter(module.train_dataloader())
next(loader)
rounds = []
for _ in range(int(sys.argv[2])):
    start = time.perf_counter()
    batch = next(loader)
    rounds.append(len(batch["pert_cell_emb"]) / (time.perf_counter() - start))
print(json.dumps({"rounds": rounds, "shape": list(batch["pert_cell_emb"].shape)}))
"""


def write_screen(path: Path, n_cells: int, n_values: int, *, logged: bool) -> None:
    """Write an h5ad file block by block."""
    generator = np.random.default_rng(0)
    names = np.array(["control", *(f"P{number}" for number in range(40))])
    gene = np.where(
        generator.random(n_cells) < 0.1, "control", names[generator.integers(1, 41, n_cells)]
    )
    obs = pd.DataFrame(
        {"gene": gene, "cell_type": "k562", "gem_group": generator.integers(0, 8, n_cells)}
    ).astype(str)
    obs.index = [f"cell{number}" for number in range(n_cells)]
    var = pd.DataFrame(index=[f"GENE{number}" for number in range(N_GENES)])
    anndata.AnnData(obs=obs.astype("category"), var=var).write_h5ad(path)
    with h5py.File(path, "a") as file:
        if "X" in file:
            del file["X"]
        node = file.create_group("X")
        node.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
        node.attrs["shape"] = (n_cells, N_GENES)
        node["indptr"] = np.arange(n_cells + 1, dtype=np.int64) * n_values
        data = node.create_dataset("data", (n_cells * n_values,), np.float32)
        indices = node.create_dataset("indices", (n_cells * n_values,), np.int32)
        step = N_GENES // n_values
        for start in range(0, n_cells, BLOCK):
            rows = min(BLOCK, n_cells - start)
            columns = np.arange(n_values) * step + generator.integers(0, step, (rows, n_values))
            counts = generator.geometric(0.4, (rows, n_values)).astype(np.float32)
            if logged:
                counts = np.log1p(counts * (1e4 / counts.sum(axis=1, keepdims=True)))
            span = slice(start * n_values, (start + rows) * n_values)
            data[span], indices[span] = counts.ravel(), columns.ravel().astype(np.int32)


def pack(path: Path, folder: Path) -> CellStore:
    """Pack a file and open the store."""
    manifest = pack_cells({"screen": {path.name: str(path)}}, SETTINGS, folder)
    manifest["folder"] = "."
    write_manifest(manifest, folder / "manifest.json")
    return CellStore.open(folder / "manifest.json")


def seconds(work: Callable[[], object]) -> float:
    """Time a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def sampler_of(store: CellStore) -> SetSampler:
    """Return the stream of a training on all cells."""
    keys = ["dataset", "file", "context", "perturbation", "is_control"]
    splits = store.cells[keys].drop_duplicates().assign(split="train")
    splits.loc[splits["is_control"], "split"] = "control"
    groups = make_groups(store.cells, splits, "train", by_batch=False, controls=True)
    return SetSampler(groups, set_size=SET_SIZE, sets_per_step=SETS, seed=0)


def read_steps(store: CellStore, sampler: SetSampler, out: np.ndarray, steps: range) -> float:
    """Read some steps, both sides of every pair; return pairs a second."""
    half = len(out) // 2

    def work() -> None:
        for step in steps:
            sets = sampler.step(step)
            store.dense(sets.control.ravel(), out[:half])
            store.dense(sets.observed.ravel(), out[half:])

    return len(steps) * half / seconds(work)


def main() -> None:
    """Make the data, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--values", type=int, default=4_000)
    parser.add_argument("--reference", help="python of an environment with cell-load 0.10.4")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="cells-"))
    try:
        _measure(folder, given.cells, given.values, given.reference)
    finally:
        shutil.rmtree(folder)


def _measure(folder: Path, n_cells: int, n_values: int, reference: str | None) -> None:
    stores = {}
    print("| packing | h5ad | store | seconds | MB/s of the h5ad | plain copy |")
    print("|---|---|---|---|---|---|")
    for name in ("counts", "log1p"):
        path = folder / f"{name}.h5ad"
        write_screen(path, n_cells, n_values, logged=name == "log1p")
        copied = seconds(lambda p=path: shutil.copy(p, folder / "copy"))
        (folder / "copy").unlink()
        packed = seconds(lambda p=path, n=name: stores.update({n: pack(p, folder / n)}))
        size = path.stat().st_size
        held = sum(entry["bytes"] for entry in stores[name].manifest["files"].values())
        print(
            f"| {name} | {size / 1e6:.0f} MB | {held / 1e6:.0f} MB | {packed:.1f} | "
            f"{size / packed / 1e6:.0f} | {size / copied / 1e6:.0f} |"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak memory so far: {peak:.2f} GB")

    out = np.zeros((2 * SETS * SET_SIZE, N_GENES), dtype=np.float32)
    samplers = {name: sampler_of(store) for name, store in stores.items()}
    rates: dict[str, list[float]] = {"zeroing": [], "log1p": [], "counts": [], "rows only": []}
    for turn in range(6):  # the first one warms up
        steps = range(turn * 4, turn * 4 + 4)
        zeroed = len(steps) * len(out) / 2 / seconds(lambda s=steps: [out.fill(0.0) for _ in s])
        drawn = seconds(lambda s=steps: [samplers["log1p"].step(step) for step in s])
        found = {
            "zeroing": zeroed,
            "rows only": len(steps) * SETS * SET_SIZE / drawn,
            **{n: read_steps(stores[n], samplers[n], out, steps) for n in stores},
        }
        for name, rate in found.items():
            if turn:
                rates[name].append(rate)
    if reference:
        rates["reference"] = _reference(folder, reference)
    medians = {name: statistics.median(found) for name, found in rates.items()}
    print("\n| reading | pairs/s | of zeroing | × the reference |\n|---|---|---|---|")
    for name, rate in medians.items():
        beside = f"{rate / medians['reference']:.0f}" if reference else "–"
        print(f"| {name} | {rate:,.0f} | {100 * rate / medians['zeroing']:.0f} % | {beside} |")


def _reference(folder: Path, python: str) -> list[float]:
    toml = folder / "starter.toml"
    toml.write_text(
        f'[datasets]\nscreen = "{folder}/log1p.h5ad"\n[training]\nscreen = "train"\n'
        '[zeroshot]\n[fewshot."screen.k562"]\nval = ["P1"]\ntest = ["P2"]\n'
    )
    done = subprocess.run(
        [python, "-c", REFERENCE, str(toml), "5"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    result = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"reference: {result}")
    return [float(rate) for rate in result["rounds"]]


if __name__ == "__main__":
    main()
