"""A training step of state_sm beside the reference's and beside its floor.

Example:

    python benchmarks/train.py --reference PYTHON

Both take the same sets (4 of 128 cells, features 5,120 wide) in float32 on the CPU, each in a
process of its own, in turns; the floor is a third one: the step's matrix products on tensors that
are there, and the optimizer. A step is forward, loss, backward, clipping by the norm and update.
The reference (arc-state, in an environment of its own with the interpreter PYTHON) takes its
own ``training_step`` and optimizer. Ours is measured as it is and compiled (``engine.compile``).
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from model_step import FEATURES, ROOT

from workflow_scripts.command import command_parser

SETS, CELLS = 4, 128
N_GENES = 18_080
STEPS = {N_GENES: 1, 2_000: 3}
"""Genes of the comparison, and steps in a turn."""


class Side:
    """A process that takes steps when it is told to (`step_peer`)."""

    def __init__(self, name: str, python: str, data: Path) -> None:
        peer = Path(__file__).with_name("step_peer.py")
        paths = [str(ROOT)] if name != "reference" else []
        self._process = subprocess.Popen(
            [python, str(peer), name, str(data)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        self.n_parameters = int(self._answer())

    def seconds(self, part: str, times: int) -> float:
        """Return the median seconds of a part of a step, taken so often."""
        assert self._process.stdin is not None
        print(part, times, file=self._process.stdin, flush=True)
        return statistics.median(json.loads(self._answer()))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise SystemExit(f"{self._process.args}: ended with {self._process.wait()}")
        return line


def compare(n_genes: int, reference: str | None, rounds: int, folder: Path) -> None:
    """Take turns and print a row for each side."""
    data = folder / f"{n_genes}.pt"
    torch.save(cells(n_genes), data)
    sides = {name: Side(name, sys.executable, data) for name in ("ours", "compiled", "floor")}
    parts = [("ours", "step"), ("compiled", "step"), ("floor", "products"), ("floor", "update")]
    if reference:
        sides["reference"] = Side("reference", reference, data)
        parts.insert(0, ("reference", "step"))
    counts = {name: side.n_parameters for name, side in sides.items()}
    assert len(set(counts.values())) == 1, counts
    took: dict[str, list[float]] = {f"{side} {part}": [] for side, part in parts}
    for turn in range(rounds + 1):
        for side, part in parts if turn % 2 else reversed(parts):
            each = sides[side].seconds(part, STEPS.get(n_genes, 1))
            if turn:  # the first one warms up
                took[f"{side} {part}"].append(each)
    for side in sides.values():
        side.close()
    both = zip(took["floor products"], took["floor update"], strict=True)
    took["floor"] = [a + b for a, b in both]
    print(f"\n| {n_genes:,} genes, {counts['ours']:,} parameters | ms a step ", end="")
    print("| ours / it | compiled / it |\n|---|---|---|---|")
    for name, rows in took.items():
        ratios = [
            statistics.median(a / b for a, b in zip(took[f"{side} step"], rows, strict=True))
            for side in ("ours", "compiled")
        ]
        print(f"| {name} | {1e3 * statistics.median(rows):,.0f} | {ratios[0]:.2f} ", end="")
        print(f"| {ratios[1]:.2f} |")


def cells(n_genes: int) -> dict[str, torch.Tensor]:
    """Draw a step's cells: log1p values, four fifths of them zero, and features."""
    draws = torch.Generator().manual_seed(0)
    there = torch.rand(2, SETS, CELLS, n_genes, generator=draws)
    control, observed = torch.where(there < 0.2, 10 * there + 0.5, 0.0)
    features = torch.randn(SETS, FEATURES, generator=draws)
    return {"control": control.clone(), "observed": observed.clone(), "features": features}


def main() -> None:
    """Measure, print tables."""
    parser = command_parser("python benchmarks/train.py", __doc__)
    parser.add_argument(
        "--reference",
        metavar="PYTHON",
        help="python of an environment with arc-state 0.11; left out if not given",
    )
    parser.add_argument("--genes", type=int, nargs="+", default=list(STEPS), help="genes of a cell")
    parser.add_argument("--rounds", type=int, default=7, help="rounds in which all take turns")
    parser.add_argument(
        "--checkpoint",
        action="store_true",
        help="size and times of a checkpoint of the real trainer, beside a plain copy",
    )
    parser.add_argument(
        "--gpu",
        action="store_true",
        help="the seed's step (16 sets, 18,080 genes, bf16-mixed), fed from a packed store",
    )
    parser.add_argument(
        "--device", default="cuda", help="device of --gpu; cpu tries the code out, small"
    )
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="train-"))
    try:
        if given.gpu:
            from seed_step import measure_step

            measure_step(folder, torch.device(given.device))
        elif given.checkpoint:
            from checkpoints import measure_checkpoint

            measure_checkpoint(folder, N_GENES)
        else:
            for n_genes in given.genes:
                compare(n_genes, given.reference, given.rounds, folder)
    finally:
        shutil.rmtree(folder)
    sys.stdout.flush()
    os._exit(0)  # endless streams have threads that wait


if __name__ == "__main__":
    main()
