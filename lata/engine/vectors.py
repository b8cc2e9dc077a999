"""What a method may learn of the task vectors before it makes a direction: statistics, each from streaming passes.

A method is written against this class, so the same few lines of it merge tensors in memory and checkpoints of any
size on disk. A statistic that was taken before (in an earlier, interrupted run) comes from the journal.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from lata.engine.layers import layer_map
from lata.engine.stream import Block, Piece, Scratch, Stream
from lata.numerics.dtypes import Float

if TYPE_CHECKING:
    from lata.engine.layers import Blocks
    from lata.engine.similarities import LayerVectors, Similarity

    #: (granularity, outside, tasks) → what was measured of layers.
    Measured = dict[tuple[str, str, tuple[str, ...]], LayerVectors]

#: What a method makes: D of one block, or None where nothing is added to the start.
Direction = Callable[[Block], "Float | None"]
#: One task's vector in a block, possibly changed (masked, rescaled).
View = Callable[[Block, str], Float]

Value = TypeVar("Value")


class Journal(Protocol):
    """Where statistics are kept, so that a merge that was interrupted does not take them again."""

    def recall(self, name: str) -> Any | None: ...

    def note(self, name: str, value: Any) -> None: ...


class TaskVectors:
    """The task vectors τ_t = θ_ft,t − θ_pre of one merge.

    Args:
        stream: the checkpoints.
        tasks: names of the experts; sorted here, so that the order given does not matter.
        scales: λ_t of each task, where tasks have one of their own.
        journal: keeps statistics.
        measured: what was measured of layers on the same checkpoints before; what is measured here is added.
    """

    def __init__(
        self,
        stream: Stream,
        tasks: Sequence[str],
        scales: Mapping[str, float] | None = None,
        journal: Journal | None = None,
        measured: Measured | None = None,
    ) -> None:
        self.tasks = tuple(sorted(tasks))
        self.scales = dict(scales or {})
        self._stream = stream
        self._journal = journal
        self.measured = {} if measured is None else measured
        self._names = stream.names
        self._numbers = itertools.count(1)

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that are merged."""
        return self._names

    def inside(self) -> TaskVectors:
        """The same of the parameters inside the decoder's blocks alone, for a method that knows no others.

        Raises:
            ValueError: it is open which the blocks are.
        """
        layer_of = layer_map(self.names, blocks=self.blocks)
        part = copy(self)
        part._names = tuple(name for name in self.names if layer_of[name] is not None)
        return part

    @property
    def blocks(self) -> Blocks:
        """Which of them are those of the decoder's blocks."""
        return self._stream.blocks

    def similarity(self, granularity: str, outside: str) -> Similarity:
        """s_t[l] of every task; one pass, which also reads θ_base. `measured` has what else it tells of layers."""
        from lata.engine.similarities import LayerVectors, measure_each

        key = (granularity, outside, self.tasks)
        if key not in self.measured:
            if "base" not in self._stream.sources:
                raise ValueError("similarity compares layers with θ_base: give the base model")
            numbers = self._once(
                lambda: measure_each(self._stream, self.tasks, (granularity,), outside)[granularity].numbers()
            )
            layer_of = layer_map(self.names, granularity, outside, self.blocks)
            self.measured[key] = LayerVectors.from_numbers(numbers, self.tasks, layer_of, outside, self.blocks)
        return self.measured[key].similarity

    def limits(self, view: View, density: float) -> dict[str, float]:
        """For each task the (d − ⌊d·density⌋)-th smallest magnitude of all d elements together; two passes.

        Magnitudes of fp32 numbers order like their bits, so a histogram of the upper and then one of the lower half
        of the bits give the exact value in bounded memory. The limit is 0 where everything is kept.
        """
        total = sum(map(self._stream.count, self.names))
        rank = total - int(total * density)
        if rank == 0:
            return dict.fromkeys(self.tasks, 0.0)
        return self._once(lambda: self._limits(view, rank))

    def _limits(self, view: View, rank: int) -> dict[str, float]:
        from lata.numerics.kernels import count_high, count_low

        def upper(block: Block, task: str, counts: Counts) -> None:
            count_high(view(block, task).view(np.uint32), counts)

        def lower(block: Block, task: str, counts: Counts) -> None:
            count_low(view(block, task).view(np.uint32), np.uint32(high[task]), counts)

        high: dict[str, int] = {}
        before: dict[str, int] = {}
        for task, counts in self._histograms(upper, 1 << 15).items():
            high[task], before[task] = _bin_of(counts, rank)
        low = {task: _bin_of(c, rank - before[task])[0] for task, c in self._histograms(lower, 1 << 16).items()}
        return {task: _magnitude(high[task] << 16 | low[task]) for task in self.tasks}

    def _histograms(self, count: Callable[[Block, str, Counts], None], bins: int) -> dict[str, Counts]:
        def visit(span: list[Piece], scratch: Scratch, state: dict[str, Counts]) -> None:
            for piece in span:
                block = Block(self._stream, piece, scratch)
                for task in self.tasks:
                    count(block, task, state[task])

        def state() -> dict[str, Counts]:
            return {task: np.zeros(bins, dtype=np.int64) for task in self.tasks}

        _, states = self._stream.run(self._stream.spans(self.names), visit, state)
        return {task: np.sum([state[task] for state in states], axis=0) for task in self.tasks}

    def largest(self, view: View, keep: Callable[[int], int]) -> dict[str, dict[str, tuple[float, int]]]:
        """For each task and parameter, which of its elements are the `keep(count)` largest; equal to three passes.

        Returns:
            task → parameter → (limit, last): kept are the elements whose magnitude is over the limit, and of those
            that equal it the ones with a flat index up to `last`. Limit infinity keeps nothing.
        """
        return self._once(lambda: self._largest(view, keep))

    def _largest(self, view: View, keep: Callable[[int], int]) -> dict[str, dict[str, tuple[float, int]]]:
        def visit(pieces: list[Piece], scratch: Scratch, state: None) -> list[tuple[float, int]]:
            def values(task: str) -> Iterator[tuple[Piece, Bits]]:
                for piece in pieces:
                    yield piece, view(Block(self._stream, piece, scratch), task).view(np.uint32)

            return [_largest_of(partial(values, task), keep) for task in self.tasks]

        # The largest parameter first, so that no thread is left with it at the end.
        names = sorted(self.names, key=self._stream.count, reverse=True)
        found, _ = self._stream.run([self._stream.pieces(name) for name in names], visit, lambda: None)
        by_name = dict(zip(names, found, strict=True))
        return {t: {name: by_name[name][i] for name in self.names} for i, t in enumerate(self.tasks)}

    def majority(self, total: Direction) -> int:
        """Sign of the sum of signs of `total` over all elements; one pass."""

        def visit(block: Block) -> int:
            values = total(block)
            assert values is not None
            return int(np.count_nonzero(values > 0)) - int(np.count_nonzero(values < 0))

        def count() -> int:
            return sum(votes for _, votes in self._stream.each(visit, self.names))

        votes = self._once(count)
        return (votes > 0) - (votes < 0)

    def norm(self, direction: Direction) -> float:
        """‖D‖₂ over all elements, in fp64; one pass."""
        from lata.numerics.kernels import dots

        def visit(block: Block) -> list[float]:
            values = direction(block)
            return [] if values is None else block.sums(dots, values, values)

        def take() -> float:
            return math.sqrt(
                math.fsum(square for _, squares in self._stream.each(visit, self.names) for square in squares)
            )

        return self._once(take)

    def squares(self) -> dict[str, dict[str, float]]:
        """Σ τ_t² in fp64 of each parameter; one pass.

        Returns:
            task → parameter → sum.
        """
        from lata.numerics.kernels import dots

        def visit(block: Block) -> dict[str, list[float]]:
            found = {}
            for task in self.tasks:
                values = block.tau(task)
                found[task] = block.sums(dots, values, values)
            return found

        def take() -> dict[str, dict[str, float]]:
            parts: dict[tuple[str, str], list[float]] = {}
            for piece, sums in self._stream.each(visit, self.names):
                for task, values in sums.items():
                    parts.setdefault((task, piece.name), []).extend(values)
            return {task: {n: math.fsum(parts.get((task, n), ())) for n in self.names} for task in self.tasks}

        return self._once(take)

    def absolute_sums(self, views: Mapping[str, View]) -> dict[str, dict[str, dict[str, float]]]:
        """Σ |v| in fp64 of each parameter, for several views of the task vectors; one pass.

        Returns:
            view → task → parameter → sum.
        """
        from lata.numerics.kernels import absolute_sums

        def visit(block: Block) -> dict[tuple[str, str], list[float]]:
            found = {}
            for task in self.tasks:
                for key, view in views.items():
                    values = view(block, task)
                    found[key, task] = block.sums(absolute_sums, values)
            return found

        def take() -> dict[str, dict[str, dict[str, float]]]:
            parts: dict[tuple[str, str, str], list[float]] = {}
            for piece, sums in self._stream.each(visit, self.names):
                for (key, task), values in sums.items():
                    parts.setdefault((key, task, piece.name), []).extend(values)
            return {
                key: {task: {name: math.fsum(parts[key, task, name]) for name in self.names} for task in self.tasks}
                for key in views
            }

        return self._once(take)

    def _once(self, take: Callable[[], Value]) -> Value:
        """A statistic from the journal, or taken now; methods ask for theirs in a fixed order, which names them."""
        number = next(self._numbers)
        if self._journal is None:
            return take()
        name = f"statistic-{number}"
        value = self._journal.recall(name)
        if value is None:
            value = take()
            self._journal.note(name, value)
        return value


def tau(block: Block, task: str) -> Float:
    """The plain view: τ_t."""
    return block.tau(task)


def scaled(direction: Direction, factor: float) -> Direction:
    """`direction` times a number, in fp32."""

    def product(block: Block) -> Float | None:
        values = direction(block)
        if values is not None:
            values *= factor
        return values

    return product


Counts = np.ndarray[Any, np.dtype[np.int64]]
Bits = np.ndarray[Any, np.dtype[np.uint32]]


def _bin_of(counts: Counts, rank: int) -> tuple[int, int]:
    """The bin that holds the `rank`-th smallest value (from 1), and how many values lie in bins before it."""
    sums = np.cumsum(counts)
    found = int(np.searchsorted(sums, rank))
    return found, int(sums[found] - counts[found])


def _magnitude(bits: int) -> float:
    return float(np.uint32(bits).view(np.float32))


def _largest_of(values: Callable[[], Iterator[tuple[Piece, Bits]]], keep: Callable[[int], int]) -> tuple[float, int]:
    """The limit of one parameter's `keep(count)` largest magnitudes, and the last flat index that may equal it.

    Args:
        values: gives the parameter's pieces with their values (fp32 as words), each time it is called.
        keep: number of elements → how many are kept.
    """
    from lata.numerics.kernels import count_high, count_low, nth_equal

    counts = np.zeros(1 << 15, dtype=np.int64)
    for _, words in values():
        count_high(words, counts)
    total = int(counts.sum())
    kept = keep(total)
    if kept >= total:
        return 0.0, total
    if kept <= 0:
        return math.inf, -1
    rank = total - kept + 1
    high, before = _bin_of(counts, rank)
    counts = np.zeros(1 << 16, dtype=np.int64)
    for _, words in values():
        count_low(words, np.uint32(high), counts)
    low, lower = _bin_of(counts, rank - before)
    bits = high << 16 | low
    equal = int(counts[low])
    allowed = kept - (total - before - lower - equal)
    if allowed == equal:
        return _magnitude(bits), total
    for piece, words in values():
        position, found = nth_equal(words, np.uint32(bits), allowed - 1)
        if position >= 0:
            return _magnitude(bits), piece.start + position
        allowed -= found
    raise AssertionError("the histogram counted more equal magnitudes than there are")
