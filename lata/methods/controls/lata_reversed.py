"""Control: LATA's weights with the ranks turned round (of this project, not the paper).

The most instruction-like layers take the full weight and the most task-specific ones take none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lata.engine import weighting
from lata.methods import register
from lata.methods.rules import Interval, OneOf
from lata.methods.sums import weighted_sum

if TYPE_CHECKING:
    from lata.engine.similarities import Similarity
    from lata.engine.vectors import Direction, TaskVectors


@register(
    group="control",
    order=4,
    equation="D = Σ_t w_t[r → L−1−r] ⊙ τ_t",
    of=OneOf(tuple(weighting.RANK_SCHEDULES)),
    floor=Interval(0, 1),
    ceiling=Interval(0, 1),
)
def lata_reversed(
    vectors: TaskVectors,
    similarity: Similarity,
    *,
    of: str = "lata_linear",
    floor: float = 0.0,
    ceiling: float = 1.0,
) -> Direction:
    """The sum of the task vectors with the layer weights of `of` in reversed order of similarity."""
    weights = {}
    for task in vectors.tasks:
        # Turned round, the least similar layer comes first and equal ones still share their weight.
        weights_L = weighting.weights(-similarity.of(task), weighting.RANK_SCHEDULES[of], floor, ceiling)
        weights[task] = similarity.parameter_weights(weights_L)
    return weighted_sum(vectors, weights)
