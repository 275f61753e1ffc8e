"""The seed's training step on a GPU (`train.py --gpu`): its time, its floor, what lies between.

16 sets of 128 cells, 18,080 genes, state_sm, features 5,120 wide, bf16-mixed, from a packed store.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from cells import N_GENES, SET_SIZE, SETS, Stream, medians, pack
from floor import Floor
from model_step import FEATURES, Training, wait
from screens import write_screen
from torch.profiler import ProfilerActivity, profile

from workflow_scripts.training.batches import AHEAD, Batch
from workflow_scripts.training.readers import DeviceReader

ASKED = 10.0
"""Milliseconds that the step may take on an H100."""

NOMINAL = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12}
"""Dense bfloat16 operations a second, as NVIDIA's data sheets state them (the SXM cards)."""

KINDS = {
    "products": ("gemm", "cutlass", "xmma", "cublas", "nvjet", "::mm", "::addmm", "bmm"),
    "attention": ("flash", "fmha", "attention"),
    "optimizer": ("adam",),
    "reading cells": ("scatter", "index_put", "copy_stored"),
    "sums and norms": ("reduce", "norm", "::sum", "::mean"),
}
"""What a kernel is for, by a part of its name; the first that fits."""


def measure_step(folder: Path, device: torch.device) -> None:
    """Measure on a GPU; on the CPU, small, to try the code out."""
    small = device.type == "cpu"
    n_genes, sets, steps = (2_000, 2, 2) if small else (N_GENES, SETS, 20)
    overrides = ["model.kwargs.transformer_backbone_kwargs.num_hidden_layers=1"] if small else []
    name = "the CPU" if small else torch.cuda.get_device_name(device)
    print(f"{name}, torch {torch.__version__}")
    write_screen(
        folder / "screen.h5ad",
        4_000 if small else 20_000,
        n_genes * 4_000 // N_GENES,
        logged=True,
        n_genes=n_genes,
    )
    store = pack(folder / "screen.h5ad", folder / "store")
    streams = {}
    for way in ("copied", "on the device"):
        reader = DeviceReader(store, device, 8, pinned=True)
        if way == "on the device":
            reader.move_in()
        streams[way] = Stream(reader, AHEAD, FEATURES, sets)
    training = Training(device, n_genes, autocast=torch.bfloat16, overrides=overrides)
    fixed = Batch(*(part.clone() for part in streams["copied"].next()))

    training.seconds_a_step(lambda: fixed, steps)  # the optimizer's moments are there from now on
    if not small:
        torch.cuda.reset_peak_memory_stats(device)
    of_step = training.seconds_a_step
    plain = partial(of_step, streams["on the device"].next, steps)
    as_it_is = medians({"cells on the device, not compiled": plain})
    training.compile()
    training.seconds_a_step(lambda: fixed, steps)
    took = as_it_is | medians(
        {
            "cells copied to the device": partial(of_step, streams["copied"].next, steps),
            "cells on the device": partial(of_step, streams["on the device"].next, steps),
            "one batch, again and again": partial(of_step, lambda: fixed, steps),
            "the same, nothing read or clipped": partial(of_step, lambda: fixed, steps, read=False),
        }
    )
    peak = 0 if small else torch.cuda.max_memory_allocated(device)
    busy = _profile(training, streams["on the device"].next, steps)
    floor = Floor(training, sets, SET_SIZE)
    took |= medians(
        {
            "floor: matrix products": partial(_seconds, _recorded(floor), device, steps),
            "floor: fused AdamW": partial(_seconds, floor.update, device, steps),
        }
    )
    took["floor"] = took["floor: matrix products"] + took["floor: fused AdamW"]
    _print_steps(took, busy)
    _print_use(took["cells on the device"], floor.flop, device, name)
    print(f"\npeak memory {peak / 1e9:.1f} GB, {training.n_parameters:,} parameters")


def _recorded(floor: Floor) -> Callable[[], None]:
    """Return what does the products, on a GPU without what starting each takes of the host."""
    if floor.device.type == "cpu":
        return floor.multiply
    floor.multiply()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        floor.multiply()
    return graph.replay


def _print_steps(took: dict[str, float], busy: float) -> None:
    print(f"\n| a step ({ASKED:.0f} ms are asked for) | ms | × the floor |\n|---|---|---|")
    for name, each in took.items():
        print(f"| {name} | {1e3 * each:.2f} | {each / took['floor']:.2f} |")
    whole = took["cells on the device"]
    print(f"\nthe device computes for {1e3 * busy:.2f} ms of {1e3 * whole:.2f}")


def _print_use(step: float, flop: int, device: torch.device, name: str) -> None:
    """Print the model FLOP utilization: the products' operations, by time and rate."""
    side = 512 if device.type == "cpu" else 8_192
    a, b = (torch.randn(side, side, dtype=torch.bfloat16, device=device) for _ in range(2))
    out = torch.empty_like(a)
    multiply = partial(torch.matmul, a, b, out=out)
    rate = 2 * side**3 / medians({"": partial(_seconds, multiply, device, 20)})[""]
    print(f"\n| bfloat16 | TFLOP/s | MFU of {flop / 1e12:.2f} TFLOP a step |\n|---|---|---|")
    rates = {f"{side:,}² matmul, measured": rate}
    rates |= {f"{card}, nominal": it for card, it in NOMINAL.items() if card in name}
    for which, each in rates.items():
        print(f"| {which} | {each / 1e12:.0f} | {100 * flop / step / each:.0f} % |")


def _profile(training: Training, next_batch: Callable[[], Batch], steps: int) -> float:
    """Print where the device's time goes; return the seconds a step that it computes."""
    gpu = training.device.type == "cuda"
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    with profile(activities=kinds) as seen:
        training.seconds_a_step(next_batch, steps)
    events = [
        (event.key, event.self_device_time_total if gpu else event.self_cpu_time_total, event.count)
        for event in seen.key_averages()
        if not event.is_user_annotation
        and (not gpu or event.device_type == torch.autograd.DeviceType.CUDA)
    ]
    events.sort(key=lambda event: -event[1])
    whole = sum(microseconds for _, microseconds, _ in events)
    shares: dict[str, float] = defaultdict(float)
    for key, microseconds, _ in events:
        shares[_kind(key)] += microseconds
    print("\n| what the device does | ms a step | share |\n|---|---|---|")
    for kind, microseconds in sorted(shares.items(), key=lambda share: -share[1]):
        print(f"| {kind} | {microseconds / steps / 1e3:.3f} | {100 * microseconds / whole:.1f} % |")
    print("\n| kernel | ms a step | calls a step |\n|---|---|---|")
    for key, microseconds, count in events[:25]:
        print(f"| `{key[:100]}` | {microseconds / steps / 1e3:.3f} | {count / steps:.0f} |")
    return whole / steps / 1e6


def _kind(kernel: str) -> str:
    lower = kernel.lower()
    fitting = (kind for kind, parts in KINDS.items() if any(part in lower for part in parts))
    return next(fitting, "element by element, copies")


def _seconds(work: Callable[[], None], device: torch.device, times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        work()
    wait(device)
    return (time.perf_counter() - start) / times
