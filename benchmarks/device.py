"""The paths to a GPU, and what a training step waits for its data (`cells.py --gpu`)."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from cells import N_GENES, SET_SIZE, SETS, Stream, medians, pack, seconds
from model_step import FEATURES, Training, wait
from screens import write_screen

from workflow_scripts.training.batches import AHEAD, Batch
from workflow_scripts.training.readers import DeviceReader

PAIRS = SETS * SET_SIZE
TIMED = 20
"""Steps in a timed round."""


def on_device(folder: Path, n_cells: int, n_values: int, name: str) -> None:
    """Measure reading alone and beside training, for counts and log1p values."""
    device = torch.device(name)
    if device.type == "cuda":
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    print(f"\n| {n_values:,} values a cell | pairs/s | GB/s written | of zeroing |")
    print("|---|---|---|---|")
    streams = {}
    for holds in ("counts", "log1p"):
        path = folder / f"{holds}.h5ad"
        write_screen(path, n_cells, n_values, logged=holds == "log1p", n_genes=N_GENES)
        store = pack(path, folder / holds)
        for way in ("copied", "on the device"):
            reader = DeviceReader(store, device, 8, pinned=True)
            if way == "on the device":
                reader.move_in()
            streams[f"{holds}, {way}"] = Stream(reader, AHEAD, FEATURES)
    room = torch.zeros(2 * PAIRS, N_GENES, device=device)

    def zero() -> float:
        def work() -> None:
            for _ in range(TIMED):
                room.zero_()
            wait(device)

        return TIMED * PAIRS / seconds(work)

    def rate_of(stream: Stream) -> Callable[[], float]:
        def measure() -> float:
            def work() -> None:
                for _ in range(TIMED):
                    stream.next()
                wait(device)

            return TIMED * PAIRS / seconds(work)

        return measure

    paths = {"zeroing": zero, **{name: rate_of(stream) for name, stream in streams.items()}}
    rates = medians(paths)
    for name, rate in rates.items():
        written = rate * 2 * N_GENES * 4 / 1e9
        print(f"| {name} | {rate:,.0f} | {written:.0f} | {100 * rate / rates['zeroing']:.0f} % |")

    few = ["model.kwargs.transformer_backbone_kwargs.num_hidden_layers=1"]  # to try the code out
    training = Training(
        device, N_GENES, autocast=torch.bfloat16, overrides=few if device.type == "cpu" else []
    )
    if device.type == "cuda":
        training.compile()  # as engine.compile=auto does
    fixed = Batch(*(part.clone() for part in next(iter(streams.values())).next()))
    steps: dict[str, Callable[[], float]] = {
        "one batch, again and again": lambda: training.seconds_a_step(lambda: fixed, TIMED)
    }
    for name, stream in streams.items():
        steps[name] = lambda s=stream: training.seconds_a_step(s.next, TIMED)
    took = medians(steps)
    least = took["one batch, again and again"]
    print("\n| training, state_sm | ms a step | waiting for data |\n|---|---|---|")
    for name, each in took.items():
        print(f"| {name} | {1e3 * each:.2f} | {100 * (each - least) / each:.1f} % |")
    late = {n: statistics.median(_late(training, s) for _ in range(3)) for n, s in streams.items()}
    print("the host waits, ms a step:", {name: round(1e3 * t, 3) for name, t in late.items()})


def _late(training: Training, stream: Stream) -> float:
    """Return the seconds a step that the trainer's thread waits for a batch to be begun."""
    waited = 0.0
    for _ in range(TIMED):
        training.step(stream.next())
        waited += stream.feeder.waited
    wait(training.device)
    return waited / TIMED
