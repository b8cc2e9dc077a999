"""How much each layer of an expert looks like instruction following (arXiv 2502.20186).

s_t[l] = cos(τ_comp,t[l], τ_instr[l]) with τ_comp,t = θ_ft,t − θ_base and τ_instr = θ_pre − θ_base: differences
in fp32, products and sums in fp64 over chunks of a fixed size, the chunks' sums added by `math.fsum`. The result
depends on neither threads nor blocks nor the order of parameters.

Since τ_comp = τ_instr + τ_t, s is near 1 wherever τ_t is short beside τ_instr, whatever its direction. So
`measure_each` also gives cos(τ_t, τ_instr), the direction of τ_t alone, and each layer's share of ‖τ_t‖².

Shapes: L layers in order of depth, T tasks in sorted order.
"""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from lata.engine.layers import layer_map, layers_in_order
from lata.engine.stream import Block, Piece, Stream, expert
from lata.quantities import MEASURED

if TYPE_CHECKING:
    import pandas as pd

    from lata.engine.layers import Blocks
    from lata.engine.weighting import Vector


@dataclass(frozen=True, eq=False)
class Similarity:
    """Similarity of every layer and task, with the map from parameters to layers that it was measured on.

    Attributes:
        layers: L layer keys in order of depth (`lata.engine.layers.layer_map`).
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

    def parameter_weights(self, weights_L: Vector) -> dict[str, float]:
        """Layer weights → parameter name → weight; 1 or 0 outside the ranked layers, as `outside` says."""
        weight_of = dict(zip(self.layers, weights_L.tolist(), strict=True))
        unranked = 0.0 if self.outside == "drop" else 1.0
        return {name: unranked if key is None else weight_of[key] for name, key in self.layer_of.items()}


@dataclass(frozen=True, eq=False)
class LayerVectors:
    """`Similarity`, and what it leaves open of each layer's task vector.

    Attributes:
        similarity: s_t[l].
        cosine_LT: cos(τ_t[l], τ_instr[l]); NaN where τ_t or τ_instr is all zero.
        share_LT: ‖τ_t[l]‖² / ‖τ_t‖², of the whole model; NaN where τ_t is zero everywhere.
        outside_T: likewise of everything outside the decoder's blocks.
        depths: block of each layer; −1 for a layer outside all blocks.
    """

    similarity: Similarity
    cosine_LT: np.ndarray
    share_LT: np.ndarray
    outside_T: np.ndarray
    depths: tuple[int, ...]

    def numbers(self) -> list[Any]:
        """All that was measured as lists, which `from_numbers` takes."""
        arrays = (self.similarity.values_LT, self.cosine_LT, self.share_LT, self.outside_T)
        return [array.tolist() for array in arrays]

    @classmethod
    def from_numbers(
        cls,
        numbers: Sequence[Any],
        tasks: Sequence[str],
        layer_of: Mapping[str, str | None],
        outside: str,
        blocks: Blocks,
    ) -> LayerVectors:
        """What `numbers` was made of, on the same layers."""
        layers = tuple(layers_in_order(layer_of))
        values_LT, cosine_LT, share_LT = (
            np.array(rows, dtype=np.float64).reshape(-1, len(tasks)) for rows in numbers[:3]
        )
        similarity = Similarity(layers, tuple(tasks), values_LT, layer_of, outside)
        return cls(similarity, cosine_LT, share_LT, np.array(numbers[3]), tuple(map(blocks.depth, layers)))

    def table(self) -> pd.DataFrame:
        """A row a layer; columns (quantity, task): ``similarity``, ``cosine`` and ``share`` of every task.

        ``attrs["depths"]`` has the block of each row, ``attrs["outside"]`` task → share outside the blocks.
        """
        import pandas as pd

        index, tasks = pd.Index(self.similarity.layers, name="layer"), list(self.similarity.tasks)
        values = zip(MEASURED, (self.similarity.values_LT, self.cosine_LT, self.share_LT), strict=True)
        frames = {name: pd.DataFrame(value_LT, index=index, columns=tasks) for name, value_LT in values}
        table = pd.concat(frames, axis="columns")
        table.attrs = {
            "depths": list(self.depths),
            "outside": dict(zip(tasks, self.outside_T.tolist(), strict=True)),
        }
        return table


def measure_each(
    stream: Stream, tasks: Sequence[str], granularities: Sequence[str], outside: str = "keep"
) -> dict[str, LayerVectors]:
    """Measure `LayerVectors` of the stream's checkpoints, ``base`` among them, in one pass over all parameters.

    A layer whose τ_t is zero bit for bit has similarity exactly 1. A layer whose τ_instr or τ_comp,t is all zero
    has no cosine; it is NaN here and named in a warning.

    Returns:
        granularity → what was measured; the similarities of one do not depend on which others are asked for.
    """
    layer_of = layer_map(stream.names, "tensor", outside, stream.blocks)

    def visit(block: Block) -> dict[str, _Sums]:
        ranked = layer_of[block.name] is not None
        found = _complex_sums(block, tasks) if ranked else {task: _Sums() for task in tasks}
        return _with_task_sums(block, found, ranked)

    sums = _gathered(stream.each(visit))
    return {name: _layer_vectors(stream, tasks, sums, name, outside) for name in granularities}


def _gathered(found: Iterable[tuple[Piece, dict[str, _Sums]]]) -> Found:
    """The sums of blocks as those of parameters."""
    sums: Found = defaultdict(_Sums)
    for piece, by_task in found:
        for task, part in by_task.items():
            sums[piece.name, task].add(part)
    return sums


def _layer_vectors(
    stream: Stream, tasks: Sequence[str], found: Found, granularity: str, outside: str
) -> LayerVectors:
    """Sums of parameters → all that is measured of layers."""
    similarity = _similarity(stream, tasks, found, granularity, outside)
    sums = _by_layer(tasks, found, similarity.layer_of)

    def squares(task: str, where: Callable[[str], bool]) -> float:
        return math.fsum(x for (name, t), own in found.items() if t == task and where(name) for x in own.task_squares)

    total = {task: squares(task, lambda name: True) for task in tasks}

    def share(part: float, task: str) -> float:
        return part / total[task] if total[task] else math.nan

    return LayerVectors(
        similarity,
        _matrix(similarity.layers, tasks, lambda layer, task: sums[layer, task].task_cosine()),
        _matrix(similarity.layers, tasks, lambda layer, task: share(math.fsum(sums[layer, task].task_squares), task)),
        np.array([share(squares(task, lambda name: stream.blocks.of(name) is None), task) for task in tasks]),
        tuple(stream.blocks.depth(layer) for layer in similarity.layers),
    )


def _matrix(layers: Sequence[str], tasks: Sequence[str], value: Callable[[str, str], float]) -> np.ndarray:
    return np.array([[value(layer, task) for task in tasks] for layer in layers]).reshape(-1, len(tasks))


def _by_layer(tasks: Sequence[str], found: Found, layer_of: Mapping[str, str | None]) -> Found:
    """Sums of parameters → of layers; `math.fsum` rounds once, so how they are grouped does not matter."""
    sums: Found = defaultdict(_Sums)
    for (name, task), part in found.items():
        if (layer := layer_of[name]) is not None:
            sums[layer, task].add(part)
    return sums


def _similarity(stream: Stream, tasks: Sequence[str], found: Found, granularity: str, outside: str) -> Similarity:
    """Sums of parameters → cosines of layers."""
    layer_of = layer_map(stream.names, granularity, outside, stream.blocks)
    layers = layers_in_order(layer_of)
    sums = _by_layer(tasks, found, layer_of)
    values_LT = _matrix(layers, tasks, lambda layer, task: sums[layer, task].cosine())
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
    """Chunk sums of one layer and task, and whether τ is zero there.

    Attributes:
        products: τ_comp·τ_instr.
        complex_squares: τ_comp².
        instruction_squares: τ_instr².
        task_products: τ·τ_instr.
        task_squares: τ².
        unchanged: whether every τ is zero.
    """

    products: list[float] = field(default_factory=list)
    complex_squares: list[float] = field(default_factory=list)
    instruction_squares: list[float] = field(default_factory=list)
    task_products: list[float] = field(default_factory=list)
    task_squares: list[float] = field(default_factory=list)
    unchanged: bool = True

    def add(self, other: _Sums) -> None:
        self.products += other.products
        self.complex_squares += other.complex_squares
        self.instruction_squares += other.instruction_squares
        self.task_products += other.task_products
        self.task_squares += other.task_squares
        self.unchanged = self.unchanged and other.unchanged

    def cosine(self) -> float:
        """cos(τ_comp, τ_instr), 1 where τ is zero."""
        found = _cosine(self.products, self.complex_squares, self.instruction_squares)
        return 1.0 if self.unchanged and not math.isnan(found) else found

    def task_cosine(self) -> float:
        """cos(τ, τ_instr)."""
        return _cosine(self.task_products, self.task_squares, self.instruction_squares)


#: (parameter or layer, task) → its sums.
Found: TypeAlias = dict[tuple[str, str], _Sums]


def _cosine(products: list[float], squares: list[float], others: list[float]) -> float:
    """A cosine from chunk sums, in [−1, 1]; NaN where a vector is all zero."""
    norms = math.sqrt(math.fsum(squares)) * math.sqrt(math.fsum(others))
    return min(1.0, max(-1.0, math.fsum(products) / norms)) if norms else math.nan


def _complex_sums(block: Block, tasks: Sequence[str]) -> dict[str, _Sums]:
    """The sums that similarities are made of, of every task."""
    from lata.numerics.kernels import dots

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
            unchanged=unchanged,
        )
    return found


def _with_task_sums(block: Block, found: dict[str, _Sums], ranked: bool) -> dict[str, _Sums]:
    """`found` with the sums of every τ_t; where layers are `ranked`, `_complex_sums` left τ_instr in its buffer."""
    from lata.numerics.kernels import dots

    instruction = block.scratch.floats("instruction", block.count)
    for task, sums in found.items():
        task_vector = block.tau(task)
        sums.task_squares = block.sums(dots, task_vector, task_vector)
        if ranked:
            sums.task_products = block.sums(dots, task_vector, instruction)
    return found
