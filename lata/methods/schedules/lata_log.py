"""LATA, Logarithmic-Drop-by-Rank (Chen et al., arXiv 2502.20186): the schedule of task learning on Llama-3-8B.

D = Σ_t w_t[l] · τ_t[l] with w = floor + (ceiling − floor) · log(1+r) / log(L), r the rank of layer l by
similarity to the instruction vector, the most similar first.
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
    order=2,
    paper="https://arxiv.org/abs/2502.20186",
    equation="D = Σ_t w_t ⊙ τ_t, w = log(1+r) / log(L)",
    floor=Interval(0, 1),
    ceiling=Interval(0, 1),
)
def lata_log(vectors: TaskVectors, similarity: Similarity, *, floor: float = 0.0, ceiling: float = 1.0) -> Direction:
    """The sum of the task vectors, each layer weighted by the logarithm of its rank; see `lata_linear`."""
    return layer_weighted_sum(vectors, similarity, weighting.logarithmic, floor, ceiling)
