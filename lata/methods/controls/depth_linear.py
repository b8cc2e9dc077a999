"""Control: weights that grow linearly with depth (of this project, not the paper).

Is it similarity that matters, or only depth? By default w runs from 0 to 1 and parameters outside blocks keep 1, as
LATA's weights do, so that nothing but the order of layers differs. `lines` is the published method that scales by
depth, with constants and a treatment of parameters outside blocks of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lata.engine import weighting
from lata.methods import register
from lata.methods.rules import Interval
from lata.methods.sums import by_depth, weighted_sum

if TYPE_CHECKING:
    from lata.engine.vectors import Direction, TaskVectors


@register(
    group="control",
    order=5,
    equation="D = Σ_t w ⊙ τ_t, w = l / (L−1)",
    floor=Interval(0, 1),
    ceiling=Interval(0, 1),
)
def depth_linear(vectors: TaskVectors, *, floor: float = 0.0, ceiling: float = 1.0) -> Direction:
    """The sum of the task vectors, each block weighted by its depth; parameters outside blocks keep weight 1."""
    by_name = by_depth(vectors, lambda count: weighting.linear_in_depth(count, floor, ceiling))
    return weighted_sum(vectors, dict.fromkeys(vectors.tasks, by_name))
