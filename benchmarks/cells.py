"""Reading cells for training, beside zeroing the same memory and the reference loader.

Example:

    python benchmarks/cells.py --reference PYTHON

A pair is a control and a perturbed cell, both as dense float32 log1p rows. Batches come as training
gets them (draws of rows included), 16 sets of 128 cells a step, one process. Rates are medians of
five rounds in which all paths take turns. Zeroing is the same buffer set to zero by as many
threads: what no dense path can beat. The reference (cell-load, in an environment of its own with
the interpreter PYTHON) reads the same h5ad file, one process, the same sets.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from screens import write_screen

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from workflow_scripts.cells.annotations import Columns  # noqa: E402
from workflow_scripts.cells.cell_settings import CellSettings  # noqa: E402
from workflow_scripts.cells.groups import Group, make_groups  # noqa: E402
from workflow_scripts.cells.manifest import write_manifest  # noqa: E402
from workflow_scripts.cells.matrices import MatrixChoice  # noqa: E402
from workflow_scripts.cells.packing import pack_cells  # noqa: E402
from workflow_scripts.cells.sampling import SetRows, SetSampler  # noqa: E402
from workflow_scripts.cells.store import CellStore  # noqa: E402
from workflow_scripts.command import command_parser  # noqa: E402
from workflow_scripts.features.validation import Features  # noqa: E402
from workflow_scripts.training.batches import Batch, BatchMaker, Feeder  # noqa: E402
from workflow_scripts.training.readers import CellReader, HostReader  # noqa: E402

N_GENES, N_HVG = 18_080, 2_000
SET_SIZE, SETS = 128, 16
ROUNDS, STEPS = 5, 4
COLUMNS = Columns("gene", "cell_type", "gem_group")
REFERENCE = """
import json, sys, time
from cell_load.data_modules import PerturbationDataModule
module = PerturbationDataModule(
    toml_config_path=sys.argv[1], batch_size=16, num_workers=0, pert_col="gene",
    batch_col="gem_group", cell_type_key="cell_type", control_pert="control",
    embed_key=json.loads(sys.argv[3]), output_space=sys.argv[4], cell_sentence_len=128,
    basal_mapping_strategy="random",
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


def pack(path: Path, folder: Path, embed_key: str | None = None) -> CellStore:
    """Pack a file and open the store."""
    settings = CellSettings(COLUMNS, "control", "auto", 1e4, matrix=MatrixChoice(obsm=embed_key))
    manifest = pack_cells({"screen": {path.name: str(path)}}, settings, folder)
    write_manifest({**manifest, "folder": "."}, folder / "manifest.json")
    return CellStore.open(folder / "manifest.json")


def groups_of(store: CellStore) -> list[Group]:
    """Return the groups of a training on all cells."""
    keys = ["dataset", "file", "context", "perturbation", "is_control"]
    splits = store.cells[keys].drop_duplicates().assign(split="train")
    splits.loc[splits["is_control"], "split"] = "control"
    return make_groups(store.cells, splits, "train", by_batch=False, controls=True)


class Stream:
    """A training's batches, endless."""

    def __init__(
        self,
        reader: CellReader,
        ahead: int,
        width: int = 8,
        sets: int = SETS,
        cells: int = SET_SIZE,
    ) -> None:
        groups = groups_of(reader.store)
        names = tuple(sorted({group.perturbation for group in groups}))
        features = Features(names, np.zeros((len(names), width), dtype=np.float32))
        self.sampler = SetSampler(groups, set_size=SET_SIZE, seed=0)
        self._sets = sets
        self.feeder = Feeder(
            self.sets_of,
            range(1 << 30),
            BatchMaker(reader, groups, features),
            most_cells=sets * SET_SIZE,
            ahead=ahead,
        )
        self._batches: Iterator[Batch] = iter(self.feeder)

    def sets_of(self, step: int) -> SetRows:
        """Return the sets of a step."""
        return self.sampler.take(range(step * self._sets, (step + 1) * self._sets))

    def next(self) -> Batch:
        """Return the next batch."""
        return next(self._batches)

    def pairs_per_second(self) -> float:
        """Read some steps."""
        return STEPS * SETS * SET_SIZE / seconds(lambda: [self.next() for _ in range(STEPS)])


def seconds(work: Callable[[], object]) -> float:
    """Time a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def zeroing(n_genes: int, threads: int) -> Callable[[], float]:
    """Return what zeroes a step's buffer and tells the pairs it has room for a second."""
    parts = np.array_split(np.zeros((2 * SETS * SET_SIZE, n_genes), dtype=np.float32), threads)
    pool = ThreadPoolExecutor(threads)

    def work() -> None:
        for _ in range(STEPS):
            list(pool.map(lambda part: part.fill(0.0), parts))

    return lambda: STEPS * SETS * SET_SIZE / seconds(work)


def medians(paths: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Measure paths in turns; the first round warms up."""
    found: dict[str, list[float]] = {name: [] for name in paths}
    for turn in range(ROUNDS + 1):
        for name, measure in paths.items():
            rate = measure()
            if turn:
                found[name].append(rate)
    return {name: statistics.median(rates) for name, rates in found.items()}


def reading(folder: Path, n_cells: int, n_values: int, reference: str | None) -> None:
    """Compare the paths on the CPU."""
    stores = {}
    for name in ("counts", "log1p"):
        path = folder / f"{name}.h5ad"
        hvg = N_HVG if name == "log1p" else 0
        write_screen(path, n_cells, n_values, logged=name == "log1p", n_genes=N_GENES, hvg=hvg)
        stores[f"{name} store"] = pack(path, folder / name)
    chosen = [str(gene) for gene in stores["log1p store"].genes[::9][:N_HVG]]
    few = {
        "X_hvg store, dense": pack(folder / "log1p.h5ad", folder / "hvg", "X_hvg"),
        "log1p store, chosen genes": stores["log1p store"].select(chosen),
    }
    for title, these, n_genes, asked in (
        (f"{N_GENES:,} genes, {n_values:,} values a cell", stores, N_GENES, (None, "all")),
        (f"{N_HVG:,} genes", few, N_HVG, ("X_hvg", "gene")),
    ):
        paths: dict[str, Callable[[], float]] = {}
        for threads in (1, 2):
            paths[f"zeroing, {threads} threads"] = zeroing(n_genes, threads)
            for name, store in these.items():
                stream = Stream(HostReader(store, threads), ahead=0)
                paths[f"{name}, {threads} threads"] = stream.pairs_per_second
        rates = medians(paths)
        if reference:
            rates["reference"] = statistics.median(_reference(folder, reference, *asked))
        print(f"\n{title}:\n\n| reading | pairs/s | of zeroing | × the reference |")
        print("|---|---|---|---|")
        for name, rate in rates.items():
            threads = 2 if name.endswith("2 threads") else 1
            of_zeroing = 100 * rate / rates[f"zeroing, {threads} threads"]
            beside = f"{rate / rates['reference']:.0f}" if reference else "–"
            print(f"| {name} | {rate:,.0f} | {of_zeroing:.0f} % | {beside} |")


def _reference(folder: Path, python: str, embed_key: str | None, space: str) -> list[float]:
    toml = folder / "starter.toml"
    toml.write_text(
        f'[datasets]\nscreen = "{folder}/log1p.h5ad"\n[training]\nscreen = "train"\n'
        '[zeroshot]\n[fewshot."screen.k562"]\nval = ["P1"]\ntest = ["P2"]\n'
    )
    command = [python, "-c", REFERENCE, str(toml), str(ROUNDS), json.dumps(embed_key), space]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    result = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"reference: {result}")
    return [float(rate) for rate in result["rounds"]]


def growth(folder: Path, largest: int) -> None:
    """Time a step as the cells grow."""
    streams: dict[str, Stream] = {}
    for n_cells in (10_000, 100_000, 1_000_000):
        if n_cells <= largest:
            path = folder / f"{n_cells}.h5ad"
            write_screen(path, n_cells, 500, logged=True)
            store = pack(path, folder / str(n_cells))
            path.unlink()
            streams[f"{n_cells:,}"] = Stream(HostReader(store, 1), ahead=0)
    paths: dict[str, Callable[[], float]] = {}
    for name, stream in streams.items():
        steps = iter(range(1, 1 << 30))
        paths[f"{name} cells, rows"] = lambda s=stream, t=steps: (
            seconds(lambda: [s.sets_of(next(t)) for _ in range(STEPS)]) / STEPS
        )
        paths[f"{name} cells, whole"] = lambda s=stream: SETS * SET_SIZE / s.pairs_per_second()
    print("\n| a step of | ms |\n|---|---|")
    for name, took in medians(paths).items():
        print(f"| {name} | {1e3 * took:.2f} |")


def main() -> None:
    """Make the data, measure, print tables."""
    parser = command_parser("python benchmarks/cells.py", __doc__)
    parser.add_argument(
        "--cells",
        type=int,
        help="cells of the screen; 20,000 if not given, with --growth 1,000,000",
    )
    parser.add_argument("--values", type=int, default=4_000, help="stored values a cell")
    parser.add_argument(
        "--reference",
        metavar="PYTHON",
        help="python of an environment with cell-load 0.10.4; left out if not given",
    )
    parser.add_argument(
        "--growth",
        action="store_true",
        help="time of a step at 10,000, 100,000 and 1,000,000 cells",
    )
    parser.add_argument(
        "--gpu",
        action="store_true",
        help="the paths to a GPU, and the share of a training step that waits for its data",
    )
    parser.add_argument("--device", default="cuda", help="device of --gpu; cpu tries the code out")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="cells-"))
    try:
        if given.gpu:
            from device import on_device

            on_device(folder, given.cells or 20_000, given.values, given.device)
        elif given.growth:
            growth(folder, given.cells or 1_000_000)
        else:
            reading(folder, given.cells or 20_000, given.values, given.reference)
    finally:
        shutil.rmtree(folder)
    sys.stdout.flush()
    os._exit(0)  # endless streams have threads that wait


if __name__ == "__main__":
    main()
