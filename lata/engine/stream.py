"""Reading several checkpoints side by side, in blocks that fit a processor's cache, with every core.

A pass visits every merged parameter once. Memory does not depend on the size of the model or of its largest tensor:
each thread holds one block of each checkpoint. Where a visit adds numbers up, it does so over chunks of `CHUNK`
elements of one tensor, and the chunks' sums are added by `math.fsum`, so that results depend on neither threads
nor block size.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np

from lata.engine.inspector import Inspector
from lata.engine.layers import Blocks, find_blocks
from lata.numerics.dtypes import Float, from_float32, to_float32, to_float32_minus
from lata.numerics.masks import threshold, words
from lata.numerics.pages import aligned
from lata.numerics.tensors import CHUNK, ITEM_SIZE, Checkpoint, InMemoryCheckpoint, Raw

#: Elements that are converted, combined and rounded at a time; a multiple of `CHUNK`.
BLOCK = 1 << 18
#: Elements that one thread takes on, and writes, at a time.
SPAN = 1 << 21

#: Each thread has buffers of its own; more of them would not read a disk faster.
MOST_THREADS = 16

State = TypeVar("State")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Piece:
    """A range of one tensor: `count` elements from `start` on, row-major."""

    name: str
    start: int
    count: int


class Scratch:
    """Buffers of one thread, made once and used for block after block."""

    def __init__(self) -> None:
        self._buffers: dict[str, Raw] = {}

    def raw(self, key: str, nbytes: int) -> Raw:
        """`nbytes` bytes of the buffer `key`; what it held before is lost."""
        buffer = self._buffers.get(key)
        if buffer is None or buffer.size < nbytes:
            buffer = self._buffers[key] = np.empty(nbytes, dtype=np.uint8)
        return buffer[:nbytes]

    def aligned(self, key: str, nbytes: int) -> Raw:
        """As `raw`, in memory that begins on a page (see `lata.output.direct_io.aligned`)."""
        buffer = self._buffers.get(key)
        if buffer is None or buffer.size < nbytes:
            buffer = self._buffers[key] = aligned(nbytes)
        return buffer[:nbytes]

    def floats(self, key: str, count: int) -> Float:
        """`count` fp32 numbers of the buffer `key`."""
        return self.raw(key, 4 * count).view(np.float32)


class Block:
    """One piece of the merged model, as a method sees it: τ of every task there, in fp32.

    Attributes:
        name: parameter name.
        start: index of the first element in it.
        count: number of elements.
    """

    def __init__(self, stream: Stream, piece: Piece, scratch: Scratch) -> None:
        self.name, self.start, self.count = piece.name, piece.start, piece.count
        self.scratch = scratch
        self._stream = stream
        self._pre: Float | None = None
        self._raw: dict[str, Raw] = {}
        # Elements past the rows that all models share have no task vector.
        self._shared = max(0, min(self.count, stream.shared.get(piece.name, piece.start + piece.count) - piece.start))

    @property
    def pre(self) -> Float:
        """θ_pre; do not change it."""
        if self._pre is None:
            self._pre = self.read("pre")
        return self._pre

    @property
    def origin(self) -> Float:
        """The model that the merge starts from; do not change it."""
        if self._stream.sources["start"] is self._stream.sources["pre"] and self._shared == self.count:
            return self.pre
        return self.read("start")

    def tau(self, task: str) -> Float:
        """τ_t = θ_ft,t − θ_pre: the caller may change the array, and asking again makes it anew."""
        return self.read(expert(task), minus=self.pre)

    def buffer(self, key: str, value: float | Float) -> Float:
        """An array of the caller's own, filled with `value`; asking for the same key again overwrites it."""
        values = self.scratch.floats(f"own {key}", self.count)
        values[:] = value
        return values

    def drop(self, values: Float, seed: int, task: str, drop_rate: float) -> Float:
        """Set to zero, in place, what DARE's mask (`lata.numerics.masks`) drops of `task`."""
        from lata.numerics.kernels import drop

        drop(
            values.view(np.uint32),
            words(seed, task, self.name, self.start, self.count),
            np.uint32(threshold(drop_rate)),
        )
        return values

    def trim(self, values: Float, limit: float, last: int | None = None) -> Float:
        """Set to zero, in place, magnitudes under `limit`; those that equal it past flat index `last` as well."""
        from lata.numerics.kernels import trim

        bits = np.float32(limit).view(np.uint32)
        cut = self.count if last is None else min(max(last + 1 - self.start, 0), self.count)
        trim(values[:cut].view(np.uint32), bits)
        trim(values[cut:].view(np.uint32), bits + np.uint32(1))
        return values

    def add_agreeing(
        self,
        values: Float,
        votes: Float,
        positive_zero: bool,
        *,
        factor: float,
        unit: float,
        merged: Float,
        divisor: Float,
    ) -> None:
        """Where `values` have the sign of `votes`, add `factor` · values to `merged` and `unit` to `divisor`."""
        from lata.numerics.kernels import add_agreeing

        add_agreeing(values, votes, positive_zero, np.float32(factor), np.float32(unit), merged, divisor)

    def divide(self, values: Float, divisor: Float) -> None:
        """Divide `values` in place, where the divisor is not zero."""
        from lata.numerics.kernels import divide

        divide(values, divisor)

    def read(self, role: str, minus: Float | None = None) -> Float:
        """A model's weights in fp32, in a buffer of that role; zero where the model has no such row.

        Args:
            role: the model.
            minus: what is subtracted, in fp32.
        """
        dtype, raw = self.dtype(role), self.raw(role)
        values, count = self.scratch.floats(role, self.count), raw.size // ITEM_SIZE[dtype]
        if minus is None:
            to_float32(raw, dtype, values[:count])
        else:
            to_float32_minus(raw, dtype, minus[:count], values[:count])
        values[count:] = 0
        return values

    def dtype(self, role: str) -> str:
        """How a model stores this parameter."""
        return self._stream.sources[role].tensors[self.name].dtype

    def raw(self, role: str) -> Raw:
        """A model's bytes here, as far as it has such rows; do not change them. Read once a block, or not copied at
        all where they lie in memory."""
        stream = self._stream
        source = stream.sources[role]
        if role == "start" and source is stream.sources["pre"] and self._shared == self.count:
            role = "pre"
        if role not in self._raw:
            count = self.count if role == "start" else self._shared
            if isinstance(source, InMemoryCheckpoint):
                raw = source.view(self.name, self.start, count)
            else:
                raw = self.scratch.raw(f"raw {role}", count * ITEM_SIZE[self.dtype(role)])
                source.read(self.name, self.start, raw)
            if stream.inspector.wants(role, self.name):
                stream.inspector.look(role, self.name, self.start, raw)
            self._raw[role] = raw
        return self._raw[role]

    def copy(self, role: str, dtype: str, out: Raw) -> None:
        """Fill `out` with a model's weights in `dtype`: its own bytes where that is how they are stored."""
        if self.dtype(role) == dtype:
            self._stream.sources[role].read(self.name, self.start, out)
        else:
            from_float32(self.read(role), dtype, out)

    def sums(self, kernel: Callable[..., None], *values: Float) -> list[float]:
        """What a kernel of `lata.numerics.kernels` adds up over each chunk of the block."""
        out = np.empty(-(-self.count // CHUNK))
        kernel(*values, CHUNK, out)
        return out.tolist()


def expert(task: str) -> str:
    """The role of a task's model."""
    return f"experts.{task}"


class Stream:
    """The checkpoints of a merge, and passes over them.

    Args:
        sources: role → checkpoint: ``pre``, ``start`` (what the merge starts from, often the same object), the
            experts (`expert`), and ``base`` where there is one.
        names: the parameters that are merged, in the order in which they are written.
        shared: parameter → number of leading elements that all models share, where shapes differ.
        threads: None for one more than there are cores, so that reading and computing overlap.
        block: elements of a block, a multiple of `CHUNK`.
        progress: called with the number of elements that were visited.
        blocks: which parameters are those of the decoder's blocks; None for what their names alone tell.
    """

    def __init__(
        self,
        sources: Mapping[str, Checkpoint],
        names: Sequence[str],
        *,
        shared: Mapping[str, int] | None = None,
        threads: int | None = None,
        block: int | None = None,
        progress: Callable[[int], None] | None = None,
        blocks: Blocks | None = None,
    ) -> None:
        self.sources, self.names, self.shared, self.block = sources, tuple(names), shared or {}, block or BLOCK
        assert self.block % CHUNK == 0
        self.threads = threads or min(cores() + 1, MOST_THREADS)
        self._progress = progress
        self._tasks = ThreadPoolExecutor(self.threads) if self.threads > 1 else None
        self._scratch = [Scratch() for _ in range(self.threads)]
        self.inspector = Inspector(sources)
        self._blocks = blocks

    @cached_property
    def blocks(self) -> Blocks:
        """Which parameters are those of the decoder's blocks."""
        return find_blocks(self.names) if self._blocks is None else self._blocks

    def count(self, name: str) -> int:
        """Number of elements of one merged parameter."""
        return self.sources["start"].tensors[name].count

    def held(self) -> dict[str, list[Raw]]:
        """Parameter → its bytes in every source that lies in memory."""
        sources = {id(source): source for source in self.sources.values() if isinstance(source, InMemoryCheckpoint)}
        return {name: [source.whole(name) for source in sources.values()] for name in self.names}

    def pieces(self, name: str) -> list[Piece]:
        """One parameter in blocks."""
        total = self.count(name)
        return [Piece(name, start, min(self.block, total - start)) for start in range(0, total, self.block)]

    def spans(self, names: Sequence[str] | None = None) -> list[list[Piece]]:
        """Parameters (all, where none are named) in blocks, in groups of neighbours for one thread each."""
        groups: list[list[Piece]] = [[]]
        size = 0
        for name in self.names if names is None else names:
            for piece in self.pieces(name):
                if size + piece.count > SPAN and groups[-1]:
                    groups.append([])
                    size = 0
                groups[-1].append(piece)
                size += piece.count
        return groups if groups[-1] else groups[:-1]

    def each(
        self, visit: Callable[[Block], Result], names: Sequence[str] | None = None
    ) -> list[tuple[Piece, Result]]:
        """Visit every block; results in order."""

        def visit_all(span: list[Piece], scratch: Scratch, state: None) -> list[tuple[Piece, Result]]:
            return [(piece, visit(Block(self, piece, scratch))) for piece in span]

        found, _ = self.run(self.spans(names), visit_all, lambda: None)
        return [pair for group in found for pair in group]

    def run(
        self,
        spans: Sequence[list[Piece]],
        visit: Callable[[list[Piece], Scratch, State], Result],
        state: Callable[[], State],
    ) -> tuple[list[Result], list[State]]:
        """Visit every span once, on all threads; the first error ends the pass.

        Args:
            spans: what is visited.
            visit: called with a span, buffers of the thread, and the thread's state.
            state: makes the state of one thread.

        Returns:
            The visits' results in the order of `spans`, and the threads' states.
        """
        work = _Work(spans, visit, self._progress)
        if self._tasks is None:
            return work.results([work.go_on(self._scratch[0], state())])
        threads = min(self.threads, max(1, len(spans)))
        futures = [self._tasks.submit(work.go_on, self._scratch[i], state()) for i in range(threads)]
        try:
            return work.results([future.result() for future in futures])
        except BaseException:
            # Ctrl-C comes to this thread alone.
            work.stop()
            raise

    def close(self) -> None:
        """End the threads."""
        if self._tasks is not None:
            self._tasks.shutdown()


class _Work(Generic[State, Result]):
    """Spans that threads take one after another."""

    def __init__(
        self,
        spans: Sequence[list[Piece]],
        visit: Callable[[list[Piece], Scratch, State], Result],
        progress: Callable[[int], None] | None,
    ) -> None:
        self._spans, self._visit, self._progress = spans, visit, progress
        self._results: dict[int, Result] = {}
        self._next = 0
        self._stopped = False
        self._lock = threading.Lock()

    def go_on(self, scratch: Scratch, state: State) -> State:
        while True:
            with self._lock:
                index = self._next
                self._next += 1
            if self._stopped or index >= len(self._spans):
                return state
            try:
                result = self._visit(self._spans[index], scratch, state)
            except BaseException:
                self.stop()
                raise
            with self._lock:
                self._results[index] = result
                if self._progress is not None:
                    self._progress(sum(piece.count for piece in self._spans[index]))

    def stop(self) -> None:
        """Let no thread take another span."""
        self._stopped = True

    def results(self, states: list[State]) -> tuple[list[Result], list[State]]:
        return [self._results[index] for index in range(len(self._spans))], states


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
