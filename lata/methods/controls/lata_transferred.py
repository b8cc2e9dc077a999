"""Control: LATA's weights as measured on another family, at the same relative depth (of this project, not the paper).

Does what LATA finds carry over to another architecture? The schedule makes weights of the other family's own blocks;
they are read off at l / (L−1) by straight lines between blocks. On a family of as many blocks these are the other
family's weights. θ_base is not needed, and parameters outside blocks keep weight 1.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lata.engine import weighting
from lata.methods import register
from lata.methods.rules import Cosines, Interval, OneOf
from lata.methods.sums import by_depth, weighted_sum

if TYPE_CHECKING:
    from lata.engine.vectors import Direction, TaskVectors
    from lata.methods.rules import Profile


@register(
    group="control",
    order=6,
    equation="D = Σ_t w_t ⊙ τ_t, w_t of another family at the same l / (L−1)",
    profile=Cosines(),
    schedule=OneOf(tuple(weighting.RANK_SCHEDULES)),
    floor=Interval(0, 1),
    ceiling=Interval(0, 1),
)
def lata_transferred(
    vectors: TaskVectors,
    *,
    profile: Profile | None = None,
    schedule: str = "lata_linear",
    floor: float = 0.0,
    ceiling: float = 1.0,
) -> Direction:
    """The sum of the task vectors with the layer weights of `schedule` on another family.

    Args:
        vectors: the task vectors.
        profile: similarities of the other family's blocks for every merged task, see `lata.methods.rules`.
        schedule: the method whose weights are carried over.
        floor: weight of the other family's most instruction-like block.
        ceiling: weight of its least instruction-like block, and of a block that has no cosine.
    """
    similarity = {task: np.array(values, dtype=np.float64) for task, values in profile or ()}
    weights = {}
    for task in vectors.tasks:
        weights_L = weighting.weights(similarity[task], weighting.RANK_SCHEDULES[schedule], floor, ceiling)
        weights[task] = by_depth(vectors, partial(weighting.at_depths, weights_L))
    return weighted_sum(vectors, weights)
