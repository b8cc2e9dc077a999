"""What methods make D of: weighted sums of task vectors, and sums of what is left of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lata.engine import weighting
from lata.engine.layers import layer_map, layers_in_order

if TYPE_CHECKING:
    from lata.engine.similarities import Similarity
    from lata.engine.stream import Block
    from lata.engine.vectors import Direction, TaskVectors, View
    from lata.numerics.dtypes import Float


def weighted_sum(vectors: TaskVectors, weights: Mapping[str, Mapping[str, float]]) -> WeightedSum:
    """Σ_t λ_t w_t[name] · τ_t with the λ_t of `vectors`.

    Args:
        vectors: the task vectors.
        weights: task → parameter name → w_t; a task that is missing has weight 1 everywhere.
    """
    plain = dict.fromkeys(vectors.names, 1.0)
    factors = {}
    for task in vectors.tasks:
        scale = vectors.scales.get(task, 1.0)
        factors[task] = {name: scale * weight for name, weight in weights.get(task, plain).items()}
    return WeightedSum(factors)


def added(vectors: TaskVectors, view: View) -> Direction:
    """Σ_t λ_t · view(τ_t) with the λ_t of `vectors`, added in sorted order of tasks.

    Args:
        vectors: the task vectors.
        view: what is added of each of them; the arrays that it gives are changed.
    """

    def direction(block: Block) -> Float:
        total = None
        for task in vectors.tasks:
            term = view(block, task)
            if task in vectors.scales:
                term *= vectors.scales[task]
            if total is None:
                total = term
            else:
                total += term
        assert total is not None
        return total

    return direction


def widened(direction: Direction, known: Sequence[str], names: Sequence[str]) -> Direction:
    """`direction`, which knows only some of the parameters, with nothing added to the others.

    Args:
        direction: D of the parameters `known`.
        known: some of `names`.
        names: all parameters.
    """
    if isinstance(direction, WeightedSum):
        return WeightedSum({t: {name: own.get(name, 0.0) for name in names} for t, own in direction.factors.items()})
    some = frozenset(known)
    return lambda block: direction(block) if block.name in some else None


@dataclass(frozen=True)
class WeightedSum:
    """A direction that is a weighted sum of task vectors in fp32, added in sorted order of tasks.

    A weight of 0 leaves the task's vector unread; where every weight is 0 nothing is added at all.

    Attributes:
        factors: task, in sorted order → parameter name → weight.
    """

    factors: Mapping[str, Mapping[str, float]]

    def __call__(self, block: Block) -> Float | None:
        total = None
        for task, factors in self.factors.items():
            factor = factors[block.name]
            if factor == 0:
                continue
            term = block.tau(task)
            if factor != 1:
                term *= factor
            if total is None:
                total = term
            else:
                total += term
        return total


def by_depth(
    vectors: TaskVectors, weigh: Callable[[int], weighting.Vector], outside: float = 1.0
) -> dict[str, float]:
    """Parameter name → weight, from weights of blocks that depend on nothing but depth.

    Args:
        vectors: the task vectors.
        weigh: number of blocks L → their weights w_L, in order of depth.
        outside: weight of the parameters outside all blocks.
    """
    layer_of = layer_map(vectors.names, blocks=vectors.blocks)
    layers = layers_in_order(layer_of)
    weight_of = dict(zip(layers, weigh(len(layers)).tolist(), strict=True))
    return {name: outside if key is None else weight_of[key] for name, key in layer_of.items()}


def layer_weighted_sum(
    vectors: TaskVectors,
    similarity: Similarity,
    schedule: weighting.Schedule,
    floor: float,
    ceiling: float,
) -> Direction:
    """Σ_t w_t ⊙ τ_t with the weights that `schedule` makes of each task's similarities."""
    weights = {
        task: similarity.parameter_weights(weighting.weights(similarity.of(task), schedule, floor, ceiling))
        for task in vectors.tasks
    }
    return weighted_sum(vectors, weights)
