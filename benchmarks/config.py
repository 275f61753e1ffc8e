"""Composing the first run's config: here and with Hydra, in one process and as processes.

Example:

    python benchmarks/config.py --repeats 30

Both sides compose the same tree, run file and overrides, and must print the same bytes; rounds
alternate, so that a busy machine slows both. Three comparisons: files already parsed (what a second
run of one invocation costs), files parsed anew each time, and whole processes.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import hydra
from omegaconf import OmegaConf

from workflow_scripts.command import command_parser
from workflow_scripts.settings import compose as composing
from workflow_scripts.settings import yaml_files
from workflow_scripts.settings.compose import compose
from workflow_scripts.settings.dump import to_yaml
from workflow_scripts.settings.runs import resolve_run

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "config"
RUN_FILE = CONFIG / "runs" / "first_run.yaml"
OVERRIDES = ["training.max_steps=100", "training.lr=3e-4"]
HYDRA = """
import sys, hydra
from omegaconf import OmegaConf
with hydra.initialize_config_dir(config_dir=sys.argv[1], version_base=None):
    config = hydra.compose("config", sys.argv[2:])
sys.stdout.write(OmegaConf.to_yaml(config, resolve=True))
"""


def ours() -> str:
    return to_yaml(compose(CONFIG, "config", [RUN_FILE], OVERRIDES))


def ours_parsing() -> str:
    yaml_files._parsed.cache_clear()
    composing._merged.cache_clear()
    return ours()


def hydras() -> str:
    with hydra.initialize_config_dir(config_dir=str(CONFIG), version_base=None):
        config = hydra.compose("config", ["+runs=first_run", *OVERRIDES])
    return OmegaConf.to_yaml(config, resolve=True)


def process(*arguments: str) -> Callable[[], str]:
    command = [sys.executable, *arguments]
    return lambda: (
        subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    )


def race(repeats: int, **sides: Callable[[], str]) -> dict[str, float]:
    """Return the median seconds of each side, over rounds in which each runs once."""
    texts = {side() for side in sides.values()}  # warms up, and compares
    assert len(texts) == 1, "the sides print different configs"
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def show(what: str, found: dict[str, float]) -> None:
    parts = "  ".join(f"{name} {value * 1e3:7.1f} ms" for name, value in found.items())
    ratio = found["hydra"] / found["ours"]
    print(f"{what:34} {parts}  ratio 1/{ratio:.1f}", flush=True)


def main() -> None:
    parser = command_parser("python benchmarks/config.py", __doc__)
    parser.add_argument("--repeats", type=int, default=30, help="rounds of each comparison")
    repeats = parser.parse_args().repeats

    show("composing, files known", race(repeats, ours=ours, hydra=hydras))
    show("composing, files parsed anew", race(repeats, ours=ours_parsing, hydra=hydras))
    freeze = ["-m", "workflow_scripts.config", "show", str(RUN_FILE), *OVERRIDES]
    processes = race(
        max(5, repeats // 3),
        ours=process(*freeze),
        hydra=process("-c", HYDRA, str(CONFIG), "+runs=first_run", *OVERRIDES),
    )
    show("as a process", processes)
    python = race(max(5, repeats // 3), python=process("-c", ""))["python"]
    print(f"{'  of which Python starts':34} both {python * 1e3:7.1f} ms", flush=True)

    start = time.perf_counter()
    for number in range(200):
        resolve_run(CONFIG, "first_run", [f"training.train_seed={number}", f"name=run{number}"])
    print(f"{'200 runs, checked and traced':34} {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
