"""Rows of the store become dense matrices on the device where they are used.

On the CPU they are gathered into buffers that are used again, by threads. For a GPU only what is
stored goes there: a step's rows in their compact form, through pinned memory and on a stream of
their own, or all packed cells at once where they fit; they are spread out there. An embedding goes
the same ways; it is dense as it is stored.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from workflow_scripts.cells.store import CellStore
from workflow_scripts.training.stored_cells import MovedStore, StoredCells, spread, torch_type

Rows = Int64[np.ndarray, " rows"]

ROWS_AT_ONCE = 1024
"""Rows that are spread out on a device at once: what that takes beside them stays small."""

BYTES_TO_SPREAD = 60
"""Memory that spreading takes of a device, a stored value: its row, where it stands, column, place
and scale. The kernel (`spread_kernel`) takes none of it."""


class Buffer:
    """Room for the cells of a batch, used again and again.

    Attributes
    ----------
    flat
        Values of the cells, and one place more for what nobody reads [rows * genes + 1].
    indices, values
        Stored columns and values on their way to a GPU, in pinned memory; empty before the first.
    embedding
        Embeddings of cells [embedded, width].
    staged
        Those on their way to a GPU, in pinned memory; empty before the first.
    written, embedded, read
        Moments on the GPU: the cells are there; their embeddings are; the step has done with both.
    """

    def __init__(
        self, store: CellStore, n_rows: int, n_embedded: int, device: torch.device
    ) -> None:
        self.flat = torch.empty(n_rows * store.n_genes + 1, device=device)
        self.indices: Tensor = torch.empty(0)
        self.values: Tensor = torch.empty(0)
        self.embedding = torch.empty(n_embedded, store.embedding_dim or 0, device=device)
        self.staged: Tensor = torch.empty(0)
        self.written = self.embedded = self.read = None
        if device.type == "cuda":
            self.written, self.embedded, self.read = (torch.cuda.Event() for _ in range(3))  # type: ignore[no-untyped-call]


class CellReader(Protocol):
    """Reads rows of a store as dense log1p values.

    One thread reads, another one uses what was read: `hand_over` and `take_back` are called by the
    second, around the use of a batch.
    """

    @property
    def store(self) -> CellStore:
        """The packed cells."""

    def buffer(self, n_rows: int, n_embedded: int = 0) -> Buffer:
        """Return room for the expression of some cells, and the embedding of some."""

    def read(self, rows: Rows, buffer: Buffer) -> Float32[Tensor, "rows genes"]:
        """Read rows into a buffer that nothing uses any more."""

    def read_embedding(self, rows: Rows, buffer: Buffer) -> Float32[Tensor, "rows width"]:
        """Read rows of the embedding, likewise."""

    def on(self, array: np.ndarray) -> Tensor:
        """Return a small array as a tensor beside the cells."""

    def hand_over(self, buffer: Buffer, batch: Iterable[Tensor]) -> None:
        """Let what follows on the device wait for a batch that was read into a buffer."""

    def take_back(self, buffer: Buffer) -> None:
        """Note that what was asked of the device up to now is the last use of a buffer."""

    def settle(self) -> None:
        """Wait for the end of all reading, so that buffers may go."""


class _Threads:
    """Threads that share the rows of a batch: compiled code, outside the interpreter's lock."""

    def __init__(self, number: int) -> None:
        self._number = max(number, 1)
        self._pool = ThreadPoolExecutor(self._number, thread_name_prefix="cells")

    def share(self, n_rows: int, work: Callable[[slice], object]) -> None:
        """Do work on all rows, a part a thread, and wait for its end."""
        edges = np.linspace(0, n_rows, self._number + 1).astype(int)
        parts = [slice(a, b) for a, b in itertools.pairwise(edges) if b > a]
        for done in [self._pool.submit(work, part) for part in parts]:
            done.result()


def _gather_embedding(store: CellStore, rows: Rows, into: Tensor, threads: _Threads) -> None:
    """Copy rows of the embedding into a tensor of as many rows in host memory."""
    out = into.numpy()
    threads.share(len(rows), lambda part: store.embedded(rows[part], out[part]))


class HostReader:
    """Gathers cells in host memory."""

    def __init__(self, store: CellStore, threads: int) -> None:
        self.store = store
        self._threads = _Threads(threads)

    def buffer(self, n_rows: int, n_embedded: int = 0) -> Buffer:
        """Return room for the expression of some cells, and the embedding of some."""
        return Buffer(self.store, n_rows, n_embedded, torch.device("cpu"))

    def read(self, rows: Rows, buffer: Buffer) -> Float32[Tensor, "rows genes"]:
        """Read rows into a buffer that nothing uses any more."""
        dense = buffer.flat[: len(rows) * self.store.n_genes].view(len(rows), -1)
        out = dense.numpy()

        def gather(part: slice) -> None:
            self.store.dense(rows[part], out[part])

        self._threads.share(len(rows), gather)
        return dense

    def read_embedding(self, rows: Rows, buffer: Buffer) -> Float32[Tensor, "rows width"]:
        """Read rows of the embedding, likewise."""
        dense = buffer.embedding[: len(rows)]
        _gather_embedding(self.store, rows, dense, self._threads)
        return dense

    def on(self, array: np.ndarray) -> Tensor:
        """Return a small array as a tensor beside the cells."""
        return torch.from_numpy(array)

    def hand_over(self, buffer: Buffer, batch: Iterable[Tensor]) -> None:
        """Do nothing: what was read is there."""

    def take_back(self, buffer: Buffer) -> None:
        """Do nothing: a step has ended when the next one begins."""

    def settle(self) -> None:
        """Do nothing: reading ends before it returns."""


class DeviceReader:
    """Brings stored cells to a device and spreads them out there."""

    def __init__(
        self, store: CellStore, device: torch.device, threads: int, *, pinned: bool
    ) -> None:
        self.store = store
        self._threads = _Threads(threads)
        self._device = device
        self._pinned = pinned and device.type == "cuda"
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._columns = None
        if store.columns is not None:
            self._columns = torch.from_numpy(store.columns.astype(np.int64)).to(device)
        self._moved: MovedStore | None = None
        self._in_one_pass: Callable[[StoredCells, Tensor | None, Tensor], None] | None = None
        if device.type == "cuda" and importlib.util.find_spec("triton") is not None:
            from workflow_scripts.training.spread_kernel import spread_in_one_pass

            self._in_one_pass = spread_in_one_pass

    @property
    def bytes_to_move_in(self) -> int:
        """Bytes of the device's memory that all packed cells take."""
        return MovedStore.size(self.store)

    def move_in(self) -> None:
        """Keep all packed cells on the device; from then on nothing is copied."""
        self._moved = MovedStore.of(self.store, self._device)

    def buffer(self, n_rows: int, n_embedded: int = 0) -> Buffer:
        """Return room for the expression of some cells, and the embedding of some."""
        buffer = Buffer(self.store, n_rows, n_embedded, self._device)
        # Its memory may have been another tensor's, which work that was asked for still reads.
        self.take_back(buffer)
        return buffer

    def read(self, rows: Rows, buffer: Buffer) -> Float32[Tensor, "rows genes"]:
        """Read rows into a buffer that nothing uses any more.

        On a GPU the work is only begun: `hand_over` makes what follows wait for its end.
        """
        moved, n_genes = self._moved, self.store.n_genes
        ends = np.concatenate([[0], np.cumsum(self.store.lengths(rows))])
        if moved is None:
            self._stage(rows, ends, buffer)
        with self._own_stream():
            if buffer.read is not None:
                torch.cuda.current_stream(self._device).wait_event(buffer.read)
            dense = buffer.flat[: len(rows) * n_genes].view(len(rows), n_genes)
            at_once = ROWS_AT_ONCE if self._in_one_pass is None else len(rows)
            for start in range(0, len(rows), at_once):
                part = slice(start, min(start + at_once, len(rows)))
                span = slice(int(ends[part.start]), int(ends[part.stop]))
                if moved is None:
                    stored = self._copy(rows[part], span, buffer)
                else:
                    stored = moved.take(self.on(rows[part]))
                if self._in_one_pass is not None:
                    self._in_one_pass(stored, self._columns, dense)
                else:
                    # The place that nobody reads is the first one of the next part.
                    flat = buffer.flat[part.start * n_genes : part.stop * n_genes + 1]
                    spread(stored, span.stop - span.start, self._columns, flat, n_genes)
            if buffer.written is not None:
                buffer.written.record()
        return dense

    def read_embedding(self, rows: Rows, buffer: Buffer) -> Float32[Tensor, "rows width"]:
        """Read rows of the embedding, likewise."""
        moved, dense = self._moved, buffer.embedding[: len(rows)]
        if moved is None:
            self._stage_embedding(rows, buffer)
        with self._own_stream():
            if buffer.read is not None:
                torch.cuda.current_stream(self._device).wait_event(buffer.read)
            if moved is None:
                dense.copy_(buffer.staged[: len(rows)], non_blocking=True)
            else:
                moved.take_embedding(self.on(rows), dense)
            if buffer.embedded is not None:
                buffer.embedded.record()
        return dense

    def on(self, array: np.ndarray) -> Tensor:
        """Return a small array as a tensor beside the cells."""
        with self._own_stream():
            return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    def hand_over(self, buffer: Buffer, batch: Iterable[Tensor]) -> None:
        """Let what follows on the device wait for a batch that was read into a buffer."""
        if buffer.written is not None and buffer.embedded is not None:
            stream = torch.cuda.current_stream(self._device)
            stream.wait_event(buffer.written)
            stream.wait_event(buffer.embedded)
            for tensor in batch:
                tensor.record_stream(stream)

    def take_back(self, buffer: Buffer) -> None:
        """Note that what was asked of the device up to now is the last use of a buffer."""
        if buffer.read is not None:
            buffer.read.record(torch.cuda.current_stream(self._device))

    def settle(self) -> None:
        """Wait for the end of all reading, so that buffers may go."""
        if self._stream is not None:
            self._stream.synchronize()

    def _own_stream(self) -> AbstractContextManager[object]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def _stage(self, rows: Rows, ends: Int64[np.ndarray, " edges"], buffer: Buffer) -> None:
        """Gather what is stored of some rows in pinned memory."""
        total = int(ends[-1])
        if buffer.written is not None:
            buffer.written.synchronize()  # the copy before has left the pinned memory
        if len(buffer.indices) < total:
            buffer.indices, buffer.values = (
                torch.empty(total + total // 8, dtype=kind, pin_memory=self._pinned)
                for kind in (torch_type(self.store.indices), torch_type(self.store.values))
            )
        indices = buffer.indices.numpy().view(self.store.indices.dtype)
        values = buffer.values.numpy().view(self.store.values.dtype)

        def gather(part: slice) -> None:
            self.store.copy_stored(rows[part], ends[part], indices, values)

        self._threads.share(len(rows), gather)

    def _stage_embedding(self, rows: Rows, buffer: Buffer) -> None:
        """Gather the embedding of some rows in pinned memory."""
        if buffer.embedded is not None:
            buffer.embedded.synchronize()  # the copy before has left the pinned memory
        if not len(buffer.staged):
            buffer.staged = torch.empty(buffer.embedding.shape, pin_memory=self._pinned)
        _gather_embedding(self.store, rows, buffer.staged[: len(rows)], self._threads)

    def _copy(self, rows: Rows, span: slice, buffer: Buffer) -> StoredCells:
        """Bring what was staged of some rows to the device."""
        indices, values = (
            staged[span].to(self._device, non_blocking=True)
            for staged in (buffer.indices, buffer.values)
        )
        scales = None if self.store.scales is None else self.on(self.store.scales[rows])
        lengths = self.store.lengths(rows)
        starts = np.cumsum(lengths) - lengths
        return StoredCells(self.on(starts), self.on(lengths), indices, values, scales)
