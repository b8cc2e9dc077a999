"""LATA, Linear-Drop-by-Rank (Chen et al., arXiv 2502.20186): the schedule of task learning on Gemma-2-9b.

D = Σ_t w_t[l] · τ_t[l] with w = floor + (ceiling − floor) · r / (L−1), r the rank of layer l by similarity to
the instruction vector, the most similar first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lata.engine import weighting
from lata.methods import register
from lata.methods.rules import Interval
from lata.methods.sums import layer_weighted_sum

if TYPE_CHECKING:
    from lata.engine.similarities import Similarity
    from lata.engine.vectors import Direction, TaskVectors


@register(
    group="lata",
    order=1,
    paper="https://arxiv.org/abs/2502.20186",
    equation="D = Σ_t w_t ⊙ τ_t, w = r / (L−1)",
    floor=Interval(0, 1),
    ceiling=Interval(0, 1),
)
def lata_linear(
    vectors: TaskVectors, similarity: Similarity, *, floor: float = 0.0, ceiling: float = 1.0
) -> Direction:
    """The sum of the task vectors, each layer weighted linearly by its rank.

    Args:
        vectors: the task vectors.
        similarity: of the same experts.
        floor: weight of the most instruction-like layer.
        ceiling: weight of the least instruction-like layer.
    """
    return layer_weighted_sum(vectors, similarity, weighting.linear, floor, ceiling)
