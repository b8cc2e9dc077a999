"""How much each layer of an expert looks like instruction following (arXiv 2502.20186).

s_t[l] = cos(τ_comp,t[l], τ_instr[l]) with τ_comp,t = θ_ft,t − θ_base and τ_instr = θ_pre − θ_base: differences
in fp32, products and sums in fp64 over chunks of a fixed size, the chunks' sums added by `math.fsum`. The result
depends on neither threads nor blocks nor the order of parameters.

Shapes: L layers in order of depth, T tasks in sorted order.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lata.layers import layer_map, layers_in_order
from lata.stream import Block, Stream, expert

if TYPE_CHECKING:
    import pandas as pd

    from lata.weighting import Vector


@dataclass(frozen=True, eq=False)
class Similarity:
    """Similarity of every layer and task, with the map from parameters to layers that it was measured on.

    Attributes:
        layers: L layer keys in order of depth (`lata.layers.layer_map`).
        tasks: T task names, sorted.
        values_LT: cosines in [−1, 1]; NaN where a layer has none because τ_instr or τ_comp is all zero.
        layer_of: parameter name → layer key, None for a parameter that is not ranked.
        outside: what happens to parameters that are not ranked, ``keep`` or ``drop``.
    """

    layers: tuple[str, ...]
    tasks: tuple[str, ...]
    values_LT: np.ndarray
    layer_of: Mapping[str, str | None]
    outside: str

    def of(self, task: str) -> Vector:
        """The L similarities of one task."""
        return np.asarray(self.values_LT[:, self.tasks.index(task)], dtype=np.float64)

    def table(self) -> pd.DataFrame:
        """The similarities as a data frame, layers × tasks."""
        import pandas as pd

        return pd.DataFrame(self.values_LT, index=pd.Index(self.layers, name="layer"), columns=list(self.tasks))

    def parameter_weights(self, weights_L: Vector) -> dict[str, float]:
        """Layer weights → parameter name → weight; 1 or 0 outside the ranked layers, as `outside` says."""
        weight_of = dict(zip(self.layers, weights_L.tolist(), strict=True))
        unranked = 0.0 if self.outside == "drop" else 1.0
        return {name: unranked if key is None else weight_of[key] for name, key in self.layer_of.items()}


def measure(stream: Stream, tasks: Sequence[str], granularity: str = "block", outside: str = "keep") -> Similarity:
    """Measure `Similarity` of the stream's checkpoints, ``base`` among them, in one pass.

    A layer whose τ_t is zero bit for bit has similarity exactly 1. A layer whose τ_instr or τ_comp,t is all zero
    has no cosine; it is NaN here and named in a warning.
    """
    return measure_each(stream, tasks, (granularity,), outside)[granularity]


def measure_each(
    stream: Stream, tasks: Sequence[str], granularities: Sequence[str], outside: str = "keep"
) -> dict[str, Similarity]:
    """As `measure` for several granularities, in one pass for all of them; each is what `measure` alone gives.

    Returns:
        granularity → similarity.
    """
    # Which parameters are ranked depends on `outside` alone.
    layer_of = layer_map(stream.names, "tensor", outside, stream.blocks)
    ranked = [name for name in stream.names if layer_of[name] is not None]
    sums = {(name, task): _Sums() for name in ranked for task in tasks}
    for piece, found in stream.each(lambda block: _products(block, tasks), ranked):
        for task, part in found.items():
            sums[piece.name, task].add(part)
    return {granularity: _similarity(stream, tasks, sums, granularity, outside) for granularity in granularities}


def _similarity(
    stream: Stream, tasks: Sequence[str], found: Mapping[tuple[str, str], _Sums], granularity: str, outside: str
) -> Similarity:
    """Sums of parameters → cosines of layers; `math.fsum` rounds once, so how they are grouped does not matter."""
    layer_of = layer_map(stream.names, granularity, outside, stream.blocks)
    layers = layers_in_order(layer_of)
    sums = {(layer, task): _Sums() for layer in layers for task in tasks}
    for (name, task), part in found.items():
        sums[str(layer_of[name]), task].add(part)
    values_LT = np.array([[sums[layer, task].cosine() for task in tasks] for layer in layers]).reshape(-1, len(tasks))
    for column, task in enumerate(tasks):
        missing = [layers[row] for row in np.flatnonzero(np.isnan(values_LT[:, column]))]
        if missing:
            warnings.warn(
                f"task {task!r}: layers {', '.join(missing)} have no cosine (their instruction vector or complex "
                "vector is all zero); they are not ranked and keep the full weight",
                stacklevel=2,
            )
    return Similarity(tuple(layers), tuple(tasks), values_LT, layer_of, outside)


@dataclass
class _Sums:
    """Chunk sums of one layer and task: Σ τ_comp·τ_instr, Σ τ_comp², Σ τ_instr²; and whether τ is zero."""

    products: list[float] = field(default_factory=list)
    complex_squares: list[float] = field(default_factory=list)
    instruction_squares: list[float] = field(default_factory=list)
    unchanged: bool = True

    def add(self, other: _Sums) -> None:
        self.products += other.products
        self.complex_squares += other.complex_squares
        self.instruction_squares += other.instruction_squares
        self.unchanged = self.unchanged and other.unchanged

    def cosine(self) -> float:
        norms = math.sqrt(math.fsum(self.complex_squares)) * math.sqrt(math.fsum(self.instruction_squares))
        if norms == 0.0:
            return math.nan
        if self.unchanged:
            return 1.0
        return min(1.0, max(-1.0, math.fsum(self.products) / norms))


def _products(block: Block, tasks: Sequence[str]) -> dict[str, _Sums]:
    from lata.kernels import dots

    base = block.read("base")
    instruction = block.scratch.floats("instruction", block.count)
    np.subtract(block.pre, base, out=instruction)
    instruction_squares = block.sums(dots, instruction, instruction)
    found = {}
    for task in tasks:
        weights = block.read(expert(task))
        unchanged = bool(np.array_equal(weights, block.pre))
        complex_vector = np.subtract(weights, base, out=weights)
        found[task] = _Sums(
            block.sums(dots, complex_vector, instruction),
            block.sums(dots, complex_vector, complex_vector),
            instruction_squares,
            unchanged,
        )
    return found
