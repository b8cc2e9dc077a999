"""Control: Task Arithmetic that moves exactly as far from θ_pre as LATA does (of this project, not the paper).

LATA's weights are at most 1, so at one λ its merge usually moves less far than TA's; better perplexity could
come from that alone. Here D = (‖Σ_t w_t ⊙ τ_t‖ / ‖Σ_t τ_t‖) Σ_t τ_t, the norms in fp64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lata.engine.vectors import scaled
from lata.engine.weighting import RANK_SCHEDULES
from lata.methods import register
from lata.methods.baselines.ta import ta
from lata.methods.rules import Interval, OneOf
from lata.methods.sums import layer_weighted_sum

if TYPE_CHECKING:
    from lata.engine.similarities import Similarity
    from lata.engine.vectors import Direction, TaskVectors


@register(
    group="control",
    order=1,
    passes={"": 2},
    equation="D = (‖Σ_t w_t ⊙ τ_t‖ / ‖Σ_t τ_t‖) Σ_t τ_t",
    match=OneOf(tuple(RANK_SCHEDULES)),
    floor=Interval(0, 1),
    ceiling=Interval(0, 1),
)
def ta_norm_matched(
    vectors: TaskVectors,
    similarity: Similarity,
    *,
    match: str = "lata_linear",
    floor: float = 0.0,
    ceiling: float = 1.0,
) -> Direction:
    """The sum of the task vectors, scaled to the norm of the direction of `match` with that `floor` and `ceiling`.

    Raises:
        ValueError: the task vectors add up to zero, so no scale gives them a length.
    """
    plain = ta(vectors)
    length = vectors.norm(plain)
    if length == 0.0:
        raise ValueError("ta_norm_matched: the task vectors add up to zero and cannot be scaled to any length")
    target = vectors.norm(layer_weighted_sum(vectors, similarity, RANK_SCHEDULES[match], floor, ceiling))
    return scaled(plain, target / length)
