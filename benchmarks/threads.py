"""Training steps as small as the demo's, with several threads, beside busy processes.

Example:

    python benchmarks/threads.py --rounds 7

A process for each number of threads and each way to wait (OpenMP's own, which spins for long, a
short spin, as the commands here do, and passive)
takes steps in turns, while none, one, two or eight processes compute in an endless loop. A table
shows steps a second, and the ratio to one passive thread in the same round. Other work disturbs the
figures: the last column says how many cores it took, as a median and at most.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
SETS, CELLS, N_GENES = 8, 32, 1_200
"""Of a step of the demo."""

THREADS = (1, 2, 4)
WAITING = {
    "own": {},
    "short": {"GOMP_SPINCOUNT": "1000"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
}
"""How threads of OpenMP wait, and the variables that say so."""

BASE = ("passive", 1)
"""The side that the others are compared with."""

LOOP = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(10_000))"
"""What a busy process does, as long as this one lives."""

SETTLE = 0.3
"""Seconds after which busy processes have begun, and spinning threads sleep."""

Side = tuple[str, int]


class Peer:
    """A process that takes steps when it is told to."""

    def __init__(self, waiting: str, threads: int) -> None:
        given = {name for variables in WAITING.values() for name in variables}
        own = {name: value for name, value in os.environ.items() if name not in given}
        self.process = psutil.Popen(
            [sys.executable, __file__, "--peer", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**own, **WAITING[waiting], "PYTHONPATH": str(ROOT)},
        )

    def steps_a_second(self, seconds: float) -> float:
        """Take steps for so long, three at least."""
        assert self.process.stdin is not None
        print(seconds, file=self.process.stdin, flush=True)
        steps, took = json.loads(self._answer())
        return float(steps / took)

    def wait(self) -> None:
        """Wait until it is ready."""
        self._answer()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline()):
            raise SystemExit(f"a peer ended with {self.process.wait()}")
        return str(line)


def be_peer(threads: int) -> None:
    """Take steps for as long as each line of the input says, until it ends."""
    import torch
    from model_step import FEATURES, Training

    from workflow_scripts.settings.compose import compose
    from workflow_scripts.training.batches import Batch

    torch.set_num_threads(threads)
    kwargs = compose(ROOT / "config", "config", [], ["+runs=demo"])["model"]["kwargs"]
    backbone = kwargs["transformer_backbone_kwargs"]
    names = ("cell_set_len", "hidden_dim", "n_encoder_layers", "n_decoder_layers")
    sizes = ("intermediate_size", "num_hidden_layers", "num_attention_heads")
    sizes += ("num_key_value_heads", "head_dim")
    training = Training(
        torch.device("cpu"),
        N_GENES,
        overrides=[
            *(f"model.kwargs.{name}={kwargs[name]}" for name in names),
            *(f"model.kwargs.transformer_backbone_kwargs.{s}={backbone[s]}" for s in sizes),
        ],
    )
    control, observed = torch.rand(2, SETS, CELLS, N_GENES)
    codes = torch.zeros((SETS, CELLS), dtype=torch.int64)
    features = torch.randn(SETS, FEATURES)
    batch = Batch(control, observed, features, codes, torch.arange(SETS), observed)
    training.step(batch)
    print("ready", flush=True)
    for line in sys.stdin:
        start, steps = time.perf_counter(), 0
        while steps < 3 or time.perf_counter() - start < float(line):
            training.step(batch)
            steps += 1
        print(json.dumps([steps, time.perf_counter() - start]), flush=True)


@contextmanager
def busy(number: int) -> Iterator[list[psutil.Process]]:
    """Run so many endless loops."""
    loop = [sys.executable, "-c", LOOP]
    loops = [psutil.Popen(loop) for _ in range(number)]
    try:
        yield loops
    finally:
        for process in loops:
            process.kill()
            process.wait()


def cpu_seconds(processes: list[psutil.Process]) -> tuple[float, float]:
    """Return the CPU time that was used in all, and that of these processes."""
    everything = psutil.cpu_times()
    own = [process.cpu_times() for process in processes]
    used = sum(everything) - everything.idle - everything.iowait
    return used, sum(times.user + times.system for times in own)


def measure(beside: Sequence[int], rounds: int, seconds: float) -> None:
    """Take turns and print the table."""
    sides = [(waiting, threads) for waiting in WAITING for threads in THREADS]
    peers = {side: Peer(*side) for side in sides}
    for peer in peers.values():
        peer.wait()
    rates: dict[tuple[int, Side], list[float]] = {}
    others: dict[int, list[float]] = {number: [] for number in beside}
    for turn in range(rounds):
        for number in beside:
            with busy(number) as loops:
                for side in sides if turn % 2 else reversed(sides):
                    time.sleep(SETTLE)
                    watched = [*loops, peers[side].process]
                    start, (used, own) = time.monotonic(), cpu_seconds(watched)
                    rates.setdefault((number, side), []).append(peers[side].steps_a_second(seconds))
                    used_then, own_then = cpu_seconds(watched)
                    foreign = used_then - used - (own_then - own)
                    others[number].append(foreign / (time.monotonic() - start))
    for peer in peers.values():
        peer.process.kill()
    head = [f"{waiting}, {threads}" for waiting, threads in sides]
    print(f"| busy processes | {' | '.join(head)} | cores of others |")
    print("|---" * (len(head) + 2) + "|")
    for number in beside:
        cells = []
        for side in sides:
            pairs = zip(rates[number, side], rates[number, BASE], strict=True)
            ratio = statistics.median(own / base for own, base in pairs)
            cells.append(f"{statistics.median(rates[number, side]):.1f} ({ratio:.2f})")
        beside = f"{statistics.median(others[number]):.1f}, {max(others[number]):.1f}"
        print(f"| {number} | {' | '.join(cells)} | {beside} |", flush=True)


def main() -> None:
    """Measure, or be a peer."""
    from workflow_scripts.command import command_parser

    parser = command_parser("python benchmarks/threads.py", __doc__)
    parser.add_argument("--rounds", type=int, default=7, help="rounds in which all take turns")
    parser.add_argument(
        "--busy", type=int, nargs="+", default=[0, 1, 2, 8], help="busy processes beside the steps"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a turn")
    parser.add_argument("--peer", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peer:
        be_peer(given.peer)
    else:
        measure(given.busy, given.rounds, given.seconds)


if __name__ == "__main__":
    main()
