"""Control: LATA's weights on the wrong layers, by one seeded permutation a task (of this project, not the paper).

If LATA gains because it finds the right layers, the same weights elsewhere must do worse.
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
    order=3,
    equation="D = Σ_t w_t[π_t(l)] ⊙ τ_t[l]",
    of=OneOf(tuple(weighting.RANK_SCHEDULES)),
    floor=Interval(0, 1),
    ceiling=Interval(0, 1),
)
def lata_shuffled(
    vectors: TaskVectors,
    similarity: Similarity,
    *,
    seed: int = 0,
    of: str = "lata_linear",
    floor: float = 0.0,
    ceiling: float = 1.0,
) -> Direction:
    """The sum of the task vectors with the layer weights of `of`, permuted over layers."""
    weights = {}
    for task in vectors.tasks:
        similarity_L = similarity.of(task)
        weights_L = weighting.weights(similarity_L, weighting.RANK_SCHEDULES[of], floor, ceiling)
        weights[task] = similarity.parameter_weights(weighting.shuffled(weights_L, similarity_L, seed, task))
    return weighted_sum(vectors, weights)
