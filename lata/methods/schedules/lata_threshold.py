"""LATA, Drop-with-Threshold (Chen et al., arXiv 2502.20186): the schedule of forgetting.

D = Σ_t w_t[l] · τ_t[l] with w = 1 where the similarity of layer l is under the threshold, else 0. The paper's
threshold is a cosine of 0.95. On small models every layer can be above it, so a quantile of the layers' own
similarities can be given instead (a choice of this project).
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
    order=3,
    paper="https://arxiv.org/abs/2502.20186",
    equation="D = Σ_t w_t ⊙ τ_t, w = 1 if s < threshold else 0",
    threshold=Interval(-1, 1),
    quantile=Interval(0, 1, optional=True),
    floor=Interval(0, 1),
    ceiling=Interval(0, 1),
)
def lata_threshold(
    vectors: TaskVectors,
    similarity: Similarity,
    *,
    threshold: float = 0.95,
    quantile: float | None = None,
    floor: float = 0.0,
    ceiling: float = 1.0,
) -> Direction:
    """The sum of the task vectors over the layers that look least like instruction following.

    Args:
        vectors: the task vectors.
        similarity: of the same experts.
        threshold: layers with a similarity under it are kept.
        quantile: where given, the share of layers to keep, the least similar first; `threshold` is not used.
        floor: weight of the layers that are dropped.
        ceiling: weight of the layers that are kept.
    """
    schedule = weighting.by_threshold(threshold, quantile)
    return layer_weighted_sum(vectors, similarity, schedule, floor, ceiling)
